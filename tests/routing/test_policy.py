from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import DeploymentSettings, Model
from semroute.config.schema.policies import Difficulty, Policy
from semroute.config.schema.rules import Only
from semroute.decision import Signals
from semroute.messages import JsonSchema, Params, Tool
from semroute.routing.difficulty import Standing
from semroute.routing.policy import Plan, Terms, make_plan, pinned_plan, resolve, with_deployments
from tests.routing.build import ALL, DEFAULT_POLICY, LARGE, MIDDLE, SMALL, facts, model, rule

REGISTRY = {one.id: one for one in ALL}


def plan(*models: Model, policy: Policy = DEFAULT_POLICY, signals: Signals = Signals(), **terms: Any) -> Plan:
    terms = {"facts": facts(), **terms}
    return make_plan(models or ALL, REGISTRY, Terms(policy=policy, signals=signals, **terms))


def ids(made: Plan) -> list[str]:
    return [entry.model for entry in made.entries]


@pytest.mark.parametrize(
    ("select", "order"),
    [
        ("ordered", ["middle", "large", "small"]),
        ("cheapest", ["small", "middle", "large"]),
        ("fastest", ["small", "middle", "large"]),
        ("best", ["large", "middle", "small"]),
    ],
)
def test_select_orders_the_plan_and_says_by_what(select: Any, order: list[str]) -> None:
    made = plan(MIDDLE, LARGE, SMALL, policy=Policy(select=select))
    assert ids(made) == order
    assert made.entries[0].why.startswith("first by")
    assert made.entries[1].why.startswith("next by")


def test_fastest_goes_by_what_was_measured_and_the_unknown_comes_last() -> None:
    unknown = model("unknown")
    made = plan(unknown, *ALL, policy=Policy(select="fastest"), signals=Signals(latency_ms={"large": 5}))
    assert ids(made) == ["large", "small", "middle", "unknown"]
    assert made.entries[0].latency_ms == 5


def test_an_entry_tells_what_is_expected() -> None:
    entry = plan(LARGE).entries[0]
    assert (entry.tier, entry.quality, entry.latency_ms) == ("complex", 0.95, 2000)
    assert entry.cost_usd == (Decimal(7) * 3 + Decimal(300) * 15) / 1_000_000


def test_quality_of_the_route_comes_before_the_general_and_the_tier_stands_in() -> None:
    special = model("special", quality=0.5, quality_by_route={"billing": 0.99})
    bare = model("bare", tier="simple")
    qualities = {entry.model: entry.quality for entry in plan(special, bare, route="billing").entries}
    assert qualities == {"special": 0.99, "bare": 0.6}
    assert plan(special, route="other").entries[0].quality == 0.5


# --- hard constraints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "policy", "request_fields", "reason"),
    [
        ({"features": ()}, Policy(), {"tools": (Tool(name="t"),)}, "lacks tools"),
        ({"context_tokens": 5}, Policy(), {}, "the request needs about 7 tokens, its window holds 5"),
        (
            {"context_tokens": 1000},
            Policy(),
            {"params": Params(max_tokens=32_000)},
            "the request needs about 1031 tokens, its window holds 1000",
        ),
        ({}, Policy(requires=("vision",)), {}, "lacks vision, which the policy requires"),
        ({}, Policy(regions=("eu",)), {}, "in no region, the policy allows eu"),
        ({"regions": ("us",)}, Policy(regions=("eu", "ch")), {}, "in us, the policy allows eu, ch"),
        ({}, Policy(min_quality=0.5), {}, "quality is not stated, the policy wants 0.50"),
        ({"quality_by_route": {"a": 0.9}}, Policy(min_quality=0.5), {}, "quality is not stated, the policy wants 0.50"),
        ({"quality": 0.4}, Policy(min_quality=0.5), {}, "quality 0.40, the policy wants 0.50"),
        (
            {"output_price": 10},
            Policy(max_cost_usd=Decimal("0.001")),
            {},
            "would cost about 0.003000 USD, the policy allows 0.001",
        ),
        ({"latency_ms": 900}, Policy(max_latency_ms=500), {}, "takes about 900 ms, the policy allows 500"),
    ],
)
def test_a_broken_constraint_leaves_a_model_out_and_says_why(
    fields: dict[str, Any], policy: Policy, request_fields: dict[str, Any], reason: str
) -> None:
    made = plan(model("x", **fields), policy=policy, facts=facts(**request_fields))
    assert (ids(made), made.rejected) == ([], {"x": reason})


@pytest.mark.parametrize(
    "policy",
    [
        Policy(requires=("tools",)),
        Policy(regions=("eu",)),
        Policy(min_quality=0.7),
        Policy(max_cost_usd=Decimal(1)),
        Policy(max_latency_ms=500),
    ],
)
def test_a_kept_constraint_leaves_a_model_in(policy: Policy) -> None:
    good = model("x", regions=("eu", "us"), quality=0.7)
    assert ids(plan(good, policy=policy)) == ["x"]


@pytest.mark.parametrize("terms", [{"route": "a"}, {"standing": Standing(quality={"x": 0.9})}])
def test_a_quality_of_the_route_or_one_that_was_learned_is_stated(terms: dict[str, Any]) -> None:
    assert ids(plan(model("x", quality_by_route={"a": 0.9}), policy=Policy(min_quality=0.5), **terms)) == ["x"]


def test_what_fits_is_kept() -> None:
    roomy = model("x", context_tokens=1000, max_output_tokens=50)
    assert ids(plan(roomy, facts=facts(params=Params(max_tokens=50)))) == ["x"]


def test_a_limit_on_the_answer_is_a_ceiling_that_leaves_no_model_out() -> None:
    """Claude Code always allows 32,000 tokens, others what their own list of models says."""
    for fields in ({"max_output_tokens": 8192}, {"context_tokens": 128_000}, {"context_tokens": 2000}):
        assert ids(plan(model("x", **fields), facts=facts(params=Params(max_tokens=128_000)))) == ["x"]


@pytest.mark.parametrize(
    ("select", "short", "full", "expected"),
    [
        ("ordered", {}, {}, ["full", "short"]),
        ("ordered", {"quality": 0.7}, {"quality": 0.7}, ["full", "short"]),
        ("ordered", {"quality": 0.7}, {"quality": 0.9}, ["short", "full"]),
        ("cheapest", {"output_price": 1}, {"output_price": 1}, ["full", "short"]),
        ("cheapest", {"output_price": 1}, {"output_price": 2}, ["short", "full"]),
        ("best", {"quality": 0.7}, {"quality": 0.7}, ["full", "short"]),
        ("best", {"quality": 0.8}, {"quality": 0.7}, ["short", "full"]),
        ("fastest", {"latency_ms": 10}, {"latency_ms": 10}, ["full", "short"]),
        ("fastest", {"latency_ms": 10}, {"latency_ms": 20}, ["short", "full"]),
        ("balanced", {"quality": 0.7}, {"quality": 0.7}, ["full", "short"]),
    ],
)
def test_a_model_that_gives_all_comes_first_where_it_is_as_good(
    select: Any, short: dict[str, Any], full: dict[str, Any], expected: list[str]
) -> None:
    models = (model("short", max_output_tokens=8192, **short), model("full", max_output_tokens=64_000, **full))
    policy = Policy(select=select)
    assert ids(plan(*models, policy=policy, facts=facts(params=Params(max_tokens=32_000)))) == expected
    if expected == ["full", "short"]:  # where both give all, the list decides
        assert ids(plan(*models, policy=policy, facts=facts(params=Params(max_tokens=4000)))) == ["short", "full"]


def test_what_cannot_be_called_is_left_out_first() -> None:
    made = plan(SMALL, signals=Signals(unavailable={"small": "KEY is not set"}))
    assert made.rejected == {"small": "KEY is not set"}


def test_a_narrowing_rule_leaves_models_out() -> None:
    made = plan(narrowing=(rule("eu", only=Only(tiers=("simple",))),))
    assert ids(made) == ["small"]
    assert made.rejected["large"] == "rule eu allows only tiers simple"


# --- the dial ---------------------------------------------------------------------------------------------------------


def test_the_dial_goes_from_the_cheapest_to_the_best() -> None:
    def first(dial: float) -> str:
        return ids(plan(policy=Policy(select="balanced", cost_quality=dial)))[0]

    assert first(0.0) == "small"
    assert first(1.0) == "large"


def test_the_requests_dial_comes_before_the_policy() -> None:
    made = plan(policy=Policy(select="cheapest"), facts=facts(metadata={"cost_quality": 1}))
    assert (ids(made)[0], made.cost_quality) == ("large", 1.0)
    assert made.entries[0].why == "first by quality against cost at 1.00"


def test_thrift_turns_the_dial_toward_cheap() -> None:
    balanced = Policy(select="balanced", cost_quality=1.0)
    assert ids(plan(policy=balanced, signals=Signals(thrift=1.0)))[0] == "small"
    assert plan(policy=balanced, signals=Signals(thrift=0.25)).cost_quality == 0.75
    assert ids(plan(policy=Policy(select="best"), signals=Signals(thrift=0.5)))[0] == "small"
    assert ids(plan(policy=Policy(select="best"), signals=Signals(thrift=0.4)))[0] == "large"


def test_thrift_comes_before_difficulty() -> None:
    hard = Standing(rule=Difficulty(), wants="complex", difficulty=0.9)
    for thrift, first in ((0.4, "large"), (0.5, "small")):
        assert ids(plan(signals=Signals(thrift=thrift), standing=hard, policy=Policy(select="cheapest")))[0] == first


def test_equal_models_keep_their_order() -> None:
    twins = (model("a"), model("b"))
    assert ids(plan(*twins, policy=Policy(select="balanced"))) == ["a", "b"]


# --- deployments ------------------------------------------------------------------------------------------------------


def test_deployments_stand_side_by_side_and_are_drawn_by_the_requests_id() -> None:
    main = model(
        "m",
        deployments=(DeploymentSettings(provider="q"), DeploymentSettings(provider="q")),
        balance="weighted",
        weight=1,
    )
    others = [replace(main, id=id_, group="m", deployments=()) for id_ in ("m@q", "m@q#2")]
    registry = {one.id: one for one in (main, *others)} | REGISTRY
    assert [one.id for one in with_deployments(main, registry)] == ["m", "m@q", "m@q#2"]

    def made(seed: str) -> Plan:
        return make_plan((main, LARGE), registry, Terms(policy=Policy(), facts=facts(), signals=Signals(), seed=seed))

    assert {ids(made(str(seed)))[0] for seed in range(30)} == {"m", "m@q", "m@q#2"}
    assert ids(made("1")) == ids(made("1"))
    assert ids(made("1"))[3] == "large"
    assert made("1").entries[1].why == "another deployment of m"
    only_one = Terms(policy=Policy(), facts=facts(), signals=Signals(unavailable={"m": "down", "m@q": "down"}))
    assert ids(make_plan((main,), registry, only_one)) == ["m@q#2"]
    assert ids(pinned_plan((main,), registry, only_one)) == ["m@q#2"]
    assert ids(pinned_plan((others[0],), registry, only_one)) == []


@pytest.mark.parametrize("full", [("m",), ("m@q",)])
def test_a_deployment_with_room_comes_first_and_a_model_without_any_last(full: tuple[str, ...]) -> None:
    main = model("m", deployments=(DeploymentSettings(provider="q"),), balance="weighted")
    registry = {one.id: one for one in (main, replace(main, id="m@q", group="m", deployments=()))} | REGISTRY
    for seed in range(10):
        signals = Signals(exhausted=dict.fromkeys((*full, "small"), "it is full"))
        terms = Terms(policy=Policy(), facts=facts(), signals=signals, seed=str(seed))
        made = make_plan((SMALL, main, LARGE), registry, terms)
        assert ids(made) == [*sorted({"m", "m@q"} - {*full}), *full, "large", "small"]
        assert made.entries[-1].why == "after the others, because it is full; first by the order of the list"
        assert ids(pinned_plan((main,), registry, terms))[1:] == [*full]


# --- pinned -----------------------------------------------------------------------------------------------------------


def test_a_pinned_plan_only_has_to_be_callable_and_allowed() -> None:
    terms = Terms(
        policy=Policy(min_quality=1.0),
        facts=facts(tools=(Tool(name="t"),)),
        signals=Signals(unavailable={"middle": "down"}),
        narrowing=(rule("eu", only=Only(models=("small", "middle", "large"))),),
    )
    made = pinned_plan((LARGE, MIDDLE, SMALL), REGISTRY, terms)
    assert ids(made) == ["large", "small"]
    assert [entry.why for entry in made.entries] == ["the request asks for it", "the request names it next"]
    assert made.rejected == {"middle": "down"}
    barred = replace(terms, narrowing=(rule("eu", only=Only(regions=("eu",))),))
    assert pinned_plan((SMALL,), REGISTRY, barred).rejected == {"small": "rule eu allows only regions eu"}


def test_resolve_names_each_once() -> None:
    assert resolve(("small", "large", "small"), REGISTRY) == (SMALL, LARGE)


def test_a_schema_counts_as_structure() -> None:
    assert facts(params=Params(json_output=True, json_schema=JsonSchema(document={}))).json_schema


def test_learned_quality_comes_first_for_deployments_too() -> None:
    twin = model("large@q", group="large", quality=0.2)
    made = plan(twin, LARGE, standing=Standing(quality={"large": 0.5}))
    assert [entry.quality for entry in made.entries] == [0.5, 0.5]
