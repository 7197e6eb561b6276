from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import DeploymentSettings
from semroute.config.schema.policies import Difficulty, Learn, Policy
from semroute.decision import Belief, Signals
from semroute.messages import new_id
from semroute.routing.decide import choose_static, decide
from semroute.routing.difficulty import Standing
from semroute.routing.policy import Plan, Terms, make_plan
from tests.routing.build import ALL, LARGE, MIDDLE, SMALL, config, facts, model, request, route

NEAR = {"small": Belief(good=30, bad=10), "middle": Belief(good=31, bad=9), "large": Belief(good=32, bad=8)}
"""Three models of which any may be the best."""
CLEAR = {"small": Belief(good=900, bad=100), "middle": Belief(good=400, bad=600), "large": Belief(good=100, bad=900)}
TIMES = 1000


def plan(
    policy: Policy, beliefs: dict[str, Belief], *, room: float | None = 1.0, seed: str = "r1", **given: Any
) -> Plan:
    models = given.pop("models", ALL)
    signals = Signals(beliefs=beliefs, explore_usd=room, **given.pop("signals", {}))
    fields: dict[str, Any] = {"policy": policy, "facts": facts(), "signals": signals, "seed": seed}
    terms = Terms(**fields | given)
    return make_plan(models, {one.id: one for one in models}, terms)


def learn(
    select: Any = "best", *, cost_quality: float = 0.5, min_quality: float | None = None, **fields: Any
) -> Policy:
    learning = Learn(**{"equal_within": 0.0, "caution": 1.0} | fields)
    return Policy(select=select, cost_quality=cost_quality, min_quality=min_quality, learn=learning)


def firsts(policy: Policy, beliefs: dict[str, Belief], **given: Any) -> tuple[Counter[str], dict[str, float | None]]:
    """How often each model comes first in many requests, and the probability that its decisions tell."""
    counts: Counter[str] = Counter()
    told: dict[str, float | None] = {}
    for number in range(TIMES):
        found = plan(policy, beliefs, seed=f"{number:012x}{number * 7919 % 10**6:016x}", **given)
        counts[found.models[0].id] += 1
        assert told.setdefault(found.models[0].id, found.propensity) == found.propensity
    return counts, told


@pytest.mark.parametrize(
    ("policy", "beliefs"),
    [
        (learn(), NEAR),
        (learn(equal_within=0.05), NEAR),
        (learn("balanced", cost_quality=0.8), NEAR),
        (learn(), CLEAR),
        (learn(), {"small": Belief(good=0.3, bad=0.7), "large": Belief(good=50, bad=50)}),
    ],
)
def test_the_propensity_is_how_often_a_model_comes_first(policy: Policy, beliefs: dict[str, Belief]) -> None:
    counts, told = firsts(policy, beliefs)
    assert sum(value or 0 for value in told.values()) == pytest.approx(1, abs=0.01)
    for name, times in counts.items():
        chance = told[name]
        assert chance is not None
        spread = (chance * (1 - chance) / TIMES) ** 0.5
        assert times / TIMES == pytest.approx(chance, abs=4 * spread + 1e-9), name


def test_ids_as_the_service_makes_them_pick_every_draw_as_often() -> None:
    counts = Counter(plan(learn(), NEAR, seed=new_id()).models[0].id for _ in range(TIMES))
    chances = firsts(learn(), NEAR)[1]
    for name, chance in chances.items():
        assert counts[name] / TIMES == pytest.approx(chance, abs=0.04)


def test_what_is_known_well_is_hardly_ever_left() -> None:
    counts, _ = firsts(learn(), CLEAR)
    assert counts == {"small": TIMES}


def test_a_model_that_is_hardly_known_is_tried() -> None:
    unknown = CLEAR | {"large": Belief(good=0.5, bad=0.5)}
    counts, _ = firsts(learn(), unknown)
    assert counts.keys() == {"small", "large"} and 0.02 < counts["large"] / TIMES < 0.5


def test_the_same_request_is_decided_the_same_again() -> None:
    each = [plan(learn(), NEAR, seed=f"r{number}") for number in range(50)]
    assert each == [plan(learn(), NEAR, seed=f"r{number}") for number in range(50)]
    assert len({one.models[0].id for one in each}) > 1


def test_the_best_known_model_follows_the_one_that_is_tried() -> None:
    tried = next(one for n in range(200) if (one := plan(learn(), NEAR, seed=f"r{n}")).instead_of)
    assert tried.instead_of == tried.models[1].id == "large"
    assert "tried to learn its quality, with probability" in tried.entries[0].why
    assert sorted(one.id for one in tried.models) == ["large", "middle", "small"]


def test_what_is_nearly_as_good_counts_as_equal_and_the_cheapest_comes_first() -> None:
    qualities = {"small": 0.5, "middle": 0.8, "large": 0.82}
    firm = {name: Belief(good=1000 * quality, bad=1000 * (1 - quality)) for name, quality in qualities.items()}
    assert plan(learn(equal_within=0.03), firm, room=None).models[0].id == "middle"
    assert plan(learn(equal_within=0.01), firm, room=None).models[0].id == "large"
    assert [one.id for one in plan(learn(equal_within=0.5), firm, room=None).models] == ["small", "large", "middle"]


def test_caution_tries_models_less_often() -> None:
    textbook, careful = (firsts(learn(caution=times), NEAR)[0]["large"] / TIMES for times in (1, 9))
    assert 0.4 < textbook < careful - 0.15


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_without_a_budget_nothing_is_tried() -> None:
    for number in range(50):
        found = plan(learn(), NEAR, room=None, seed=f"r{number}")
        assert (found.models[0].id, found.propensity, found.instead_of) == ("large", None, None)


def test_a_dearer_model_is_tried_only_while_there_is_room_for_what_it_costs_more() -> None:
    beliefs = {"small": Belief(good=32, bad=8), "middle": Belief(good=31, bad=9), "large": Belief(good=30, bad=10)}
    costs = {entry.model: float(entry.cost_usd) for entry in plan(learn(), beliefs).entries}
    room = (costs["middle"] - costs["small"]) * 1.01
    counts, told = firsts(learn(), beliefs, room=room)
    assert counts.keys() == {"small", "middle"}
    assert counts["small"] / TIMES == pytest.approx(told["small"], abs=0.05), "it takes over the draws of `large`"
    assert firsts(learn(), beliefs, room=0.0) == (Counter({"small": TIMES}), {"small": 1.0})


def test_a_cheaper_model_is_tried_without_a_budget() -> None:
    assert firsts(learn(), NEAR, room=0.0)[0].keys() == {"small", "middle", "large"}


def test_a_model_that_is_surely_below_the_floor_is_not_tried() -> None:
    beliefs = NEAR | {"small": Belief(good=5, bad=5)}
    assert "small" in firsts(learn(), beliefs)[0]
    assert "small" in firsts(learn(floor=0.6), beliefs)[0], "five grades of ten are not sure to be below 0.6"
    assert "small" not in firsts(learn(floor=0.8), beliefs)[0]


def test_the_best_model_serves_even_below_the_floor() -> None:
    low = {name: Belief(good=10, bad=90) for name in NEAR}
    assert plan(learn(floor=0.9), low).models[0].id == "small"


def test_a_model_below_the_least_quality_is_never_in_the_plan() -> None:
    beliefs = NEAR | {"small": Belief(good=69, bad=31)}
    for number in range(200):
        found = plan(learn(min_quality=0.7), beliefs, seed=f"r{number}")
        assert "small" not in [one.id for one in found.models]
    assert found.rejected["small"] == "quality 0.69, the policy wants 0.70"


def test_grades_can_let_a_model_in_whose_stated_quality_is_too_low() -> None:
    found = plan(learn("cheapest", min_quality=0.75), {"small": Belief(good=80, bad=20)})
    assert found.models[0].id == "small" and found.entries[0].quality == 0.8


def test_bad_grades_never_leave_a_request_without_a_model() -> None:
    bad = {name: Belief(good=1, bad=99) for name in NEAR}
    found = plan(learn(min_quality=0.75), bad)
    assert [one.id for one in found.models] == ["large", "middle"], "the stated quality counts"
    assert found.propensity is None


def test_a_quality_that_nobody_stated_is_known_only_after_a_grade() -> None:
    unrated = model("unrated", tier="complex", input_price=1, output_price=1)
    prior = Learn().prior_weight
    policy = learn("cheapest", min_quality=0.5)
    ungraded = Belief(good=0.9 * prior, bad=0.1 * prior)
    found = plan(policy, {"unrated": ungraded}, models=(unrated, LARGE))
    assert found.rejected["unrated"] == "quality is not stated, the policy wants 0.50"
    graded = replace(ungraded, good=ungraded.good + 1)
    assert plan(policy, {"unrated": graded}, models=(unrated, LARGE)).models[0].id == "unrated"


# --- what else decides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "given"),
    [
        (learn("ordered"), {}),
        (learn("cheapest"), {}),
        (learn("fastest"), {}),
        (learn(), {"signals": {"thrift": 0.8}}),
        (learn(), {"facts": facts(metadata={"cost_quality": 1.0})}),
        (learn(), {"stays_on": "small"}),
        (learn(), {"standing": Standing(rule=Difficulty(by="learned"), unsure=True)}),
        (replace(learn(), learn=None), {}),
    ],
)
def test_nothing_is_left_to_chance_where_something_else_decides(policy: Policy, given: dict[str, Any]) -> None:
    each = [plan(policy, NEAR, seed=f"r{number}", **given) for number in range(30)]
    assert {one.models[0].id for one in each} == {each[0].models[0].id}
    assert {(one.propensity, one.instead_of) for one in each} == {(None, None)}


def test_a_tried_model_suits_the_difficulty_as_well_as_the_best_known_one() -> None:
    second = replace(MIDDLE, id="second", name="second")
    beliefs = NEAR | {"second": Belief(good=31, bad=9)}
    standing = Standing(rule=Difficulty(), wants="moderate", difficulty=0.4)
    counts = Counter(
        plan(learn(), beliefs, models=(*ALL, second), standing=standing, seed=f"r{n}").models[0].id for n in range(300)
    )
    assert counts.keys() == {"middle", "second"}


def test_a_model_without_room_is_not_tried() -> None:
    full = {"exhausted": {"middle": "its limit of 5 requests a minute leaves no room"}}
    assert firsts(learn(), NEAR, signals=full)[0].keys() == {"small", "large"}


def test_the_deployments_of_a_tried_model_stand_beside_it() -> None:
    main = replace(SMALL, deployments=(DeploymentSettings(provider="q"),))
    other = replace(SMALL, id="small@q", group="small")
    models = {one.id: one for one in (main, other, LARGE)}
    for number in range(60):
        signals = Signals(beliefs=NEAR, explore_usd=1.0)
        terms = Terms(policy=learn(), facts=facts(), signals=signals, seed=f"r{number}")
        found = make_plan((main, LARGE), models, terms)
        if found.instead_of is not None:
            assert {one.id for one in found.models[:2]} == {"small", "small@q"} and found.models[2].id == "large"
            return
    raise AssertionError("nothing was tried")


# --- the decision -----------------------------------------------------------------------------------------------------


def test_a_decision_says_what_is_tried_and_how_likely_that_was() -> None:
    routes = config(*ALL, routes=(route(models=("small", "middle", "large"), policy=learn()),))
    told = set()
    for number in range(100):
        asked = request(id=f"r{number}", model="auto:billing")
        choice = choose_static(routes, asked, facts())
        assert choice is not None
        decision = decide(routes, asked, facts(), choice, Signals(beliefs=NEAR, explore_usd=1.0))
        assert decision.propensity is not None and 0 < decision.propensity <= 1
        assert decision.explored == (decision.instead_of is not None) == ("is tried instead of" in decision.explanation)
        assert decision.explored == (decision.model != "large")
        told.add(decision.explored)
    assert told == {True, False}
