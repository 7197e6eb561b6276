from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from semroute.config.config import Config
from semroute.config.schema.models import DeploymentSettings, Model
from semroute.config.schema.policies import Difficulty, Policy
from semroute.config.schema.routes import Default, Route
from semroute.decision import Candidate, Match, Reason, Signals
from semroute.routing.decide import Choice, choose_classified, choose_semantic
from semroute.routing.difficulty import assess
from semroute.routing.policy import Plan, Terms, make_plan
from semroute.routing.sticky import CLEAR_MARGIN, Remembered
from semroute.routing.sticky import stick as stick_at
from tests.routing import build


def model(id_: str, group: str = "") -> Model:
    return Model(id=id_, provider="p", name=id_, group=group, input_price=Decimal(1))


CONFIG = Config(
    providers={},
    models={name: model(name) for name in ("small", "large", "other")} | {"small@eu": model("small@eu", group="small")},
    default=Default(models=("large", "small")),
    routes={
        "billing": Route(name="billing", utterances=("x",), models=("small", "large")),
        "coding": Route(name="coding", utterances=("y",), models=("large",)),
    },
)


CLEAR = "please explain in your own words what you need"


def stick(config: Config, choice: Choice, remembered: Remembered | None, said: str = CLEAR) -> Choice:
    return stick_at(config, choice, remembered, build.facts(said))


def semantic(**confidences: float) -> Choice:
    ranked = sorted(confidences.items(), key=lambda item: -item[1])
    candidates = tuple(
        Candidate(route=route, confidence=value, threshold=0.5, threshold_from="abstain") for route, value in ranked
    )
    return choose_semantic(CONFIG, Match(candidates=candidates))


def test_without_a_past_nothing_changes() -> None:
    choice = semantic(billing=0.9, coding=0.1)
    assert stick(CONFIG, choice, None) is choice


def test_the_conversation_stays_on_its_route_and_model() -> None:
    kept = stick(CONFIG, semantic(billing=0.9, coding=0.1), Remembered(route="billing", model="large"))
    assert (kept.reason, kept.route, kept.stays_on) == ("sticky", "billing", "large")
    assert "the session stays on billing, with large" in kept.explanation


def test_a_turn_that_says_nothing_stays() -> None:
    kept = stick(CONFIG, semantic(coding=0.3, billing=0.2), Remembered(route="billing", model="small"))
    assert (kept.reason, kept.route, kept.models) == ("sticky", "billing", ("small", "large"))
    assert kept.stays_on == "small"
    assert kept.compared.confidence == 0.3


def test_a_close_call_stays_and_a_clear_change_goes() -> None:
    past = Remembered(route="billing", model="small")
    close = semantic(coding=0.55, billing=0.55 - CLEAR_MARGIN + 0.01)
    clear = semantic(coding=0.55, billing=0.55 - CLEAR_MARGIN - 0.01)
    assert stick(CONFIG, close, past).reason == "sticky"
    assert stick(CONFIG, clear, past) is clear


STRENGTHS = msgspec.structs.replace(
    CONFIG,
    models={
        name: msgspec.structs.replace(model(name), quality=quality)
        for name, quality in {"weak": 0.6, "fair": 0.7, "strong": 0.9}.items()
    },
    default=Default(models=("strong",)),
    routes={
        name: Route(name=name, utterances=("x",), models=models)
        for name, models in {"chat": ("weak",), "support": ("weak", "fair"), "coding": ("fair", "strong")}.items()
    },
)


@pytest.mark.parametrize(
    ("home", "on", "said", "best", "goes"),
    [
        ("coding", "strong", "why?", "chat", False),
        ("coding", "strong", "what does that mean", "chat", False),
        ("coding", "strong", "translate this to French: good morning", "support", True),
        ("support", "fair", "ok", "chat", False),
        ("chat", "weak", "fix my bug", "coding", True),
        ("chat", "weak", "where is it?", "support", True),
        (None, "strong", "thanks", "chat", False),
        (None, "strong", "thanks", "coding", False),
        (None, "strong", "where is the parcel that I ordered", "support", True),
    ],
)
def test_a_turn_that_says_little_goes_only_to_better_models(
    home: str | None, on: str, said: str, best: str, goes: bool
) -> None:
    ranked = sorted(STRENGTHS.routes, key=lambda name: name != best)
    candidates = tuple(
        Candidate(route=name, confidence=0.95 if name == best else 0.01, threshold=0.5, threshold_from="abstain")
        for name in ranked
    )
    choice = choose_semantic(STRENGTHS, Match(candidates=candidates))
    assert (stick(STRENGTHS, choice, Remembered(route=home, model=on), said) is choice) == goes


def test_the_explanation_does_not_send_a_session_to_the_default() -> None:
    kept = stick(CONFIG, semantic(coding=0.3, billing=0.2), Remembered(route="billing", model="small"))
    assert kept.explanation.startswith("the session stays on billing, with small if it suits (this turn alone: ")
    assert "default" not in kept.explanation


def test_from_the_default_a_confident_match_goes() -> None:
    past = Remembered(route=None, model="small")
    assert stick(CONFIG, semantic(billing=0.9, coding=0.1), past).route == "billing"
    kept = stick(CONFIG, semantic(billing=0.55, coding=0.1), past)
    assert (kept.reason, kept.route, kept.stays_on) == ("sticky", None, "small")
    assert kept.models == ("large", "small")


@pytest.mark.parametrize("reason", ["rule", "pinned"])
def test_what_was_set_on_purpose_is_kept(reason: Reason) -> None:
    choice = Choice(reason=reason, explanation="", models=("other",), policy=Policy())
    assert stick(CONFIG, choice, Remembered(route="billing", model="small")) is choice


@pytest.mark.parametrize("past", [Remembered(route="gone", model="small"), Remembered(route="coding", model="other")])
def test_a_past_that_the_files_do_not_know_any_more_is_forgotten(past: Remembered) -> None:
    choice = semantic(billing=0.4, coding=0.3)
    assert stick(CONFIG, choice, past) is choice


def test_a_conversation_may_be_on_a_further_deployment() -> None:
    kept = stick(CONFIG, semantic(billing=0.9, coding=0.1), Remembered(route="billing", model="small@eu"))
    assert (kept.models, kept.stays_on) == (("small", "large"), "small@eu")


def test_a_classifiers_label_moves_the_conversation_or_keeps_it() -> None:
    past = Remembered(route="billing", model="large")
    other = choose_classified(CONFIG, "coding", semantic(billing=0.9, coding=0.1))
    same = choose_classified(CONFIG, "billing", semantic(coding=0.9, billing=0.1))
    assert stick(CONFIG, other, past) is other
    assert (stick(CONFIG, same, past).route, stick(CONFIG, same, past).stays_on) == ("billing", "large")


# --- the plan ---------------------------------------------------------------------------------------------------------


def planned(select: Any, stays_on: str | None, text: str = "hello", signals: Signals = Signals(), **more: Any) -> Plan:
    policy = Policy(select=select, **more.pop("policy", {}))
    facts = build.facts(text, **more)
    standing = assess(policy.difficulty, facts, None, None)
    terms = Terms(policy=policy, facts=facts, signals=signals, stays_on=stays_on, standing=standing, seed="r")
    return make_plan(build.ALL, {one.id: one for one in build.ALL}, terms)


@pytest.mark.parametrize("select", ["ordered", "cheapest", "fastest", "best", "balanced"])
@pytest.mark.parametrize("on", ["small", "middle", "large"])
def test_the_conversations_model_comes_first_however_models_are_selected(select: str, on: str) -> None:
    plan, without = planned(select, on), planned(select, None)
    assert plan.models[0].id == on
    assert plan.entries[0].why.startswith("the conversation already uses it; ")
    others = [one.id for one in without.models if one.id != on]
    assert [one.id for one in plan.models[1:]] == others


def test_hard_constraints_come_before_the_conversation() -> None:
    assert [one.id for one in planned("cheapest", "small", policy={"min_quality": 0.75}).models] == ["middle", "large"]
    down = Signals(unavailable={"large": "no key"})
    assert planned("best", "large", signals=down).models[0].id == "middle"


def test_a_requests_own_dial_and_a_low_budget_come_before_the_conversation() -> None:
    assert planned("ordered", "large", cost_quality=0.0).models[0].id == "small"
    assert planned("best", "large", signals=Signals(thrift=0.9)).models[0].id == "small"


def test_a_harder_turn_goes_up_and_an_easier_one_does_not_go_down() -> None:
    hard = "Prove that it must converge, then derive the rate step by step and compare both proofs. Why?"
    policy = {"difficulty": Difficulty(moderate_from=0.2, complex_from=0.4)}
    assert planned("cheapest", None, hard, policy=policy).models[0].id == "large"
    assert planned("cheapest", "small", hard, policy=policy).models[0].id == "large"
    assert planned("cheapest", "large", "thanks!", policy=policy).models[0].id == "large"


def test_a_conversation_stays_on_its_deployment() -> None:
    eu = build.model("m@eu", group="m")
    one = build.model("m", deployments=(DeploymentSettings(provider="eu"),))
    registry = {"m": one, "m@eu": eu}
    for on in registry:
        for seed in "abcdef":
            terms = Terms(policy=Policy(), facts=build.facts(), signals=Signals(), stays_on=on, seed=seed)
            assert make_plan((one,), registry, terms).models[0].id == on


def test_a_model_without_room_comes_last_also_in_a_conversation() -> None:
    assert [one.id for one in planned("ordered", "small", signals=Signals(exhausted={"small": "used up"})).models] == [
        "middle",
        "large",
        "small",
    ]
