"""What holds of every plan, whatever the configuration and the request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from semroute.config.schema.models import Feature, Model
from semroute.config.schema.policies import Difficulty, Policy
from semroute.config.schema.rules import Only
from semroute.decision import TIERS, Decision, Match, Signals, Tier
from semroute.errors import NoModelError
from semroute.messages import ChatRequest, Image, Message, Params, Text, Tool
from semroute.routing.decide import choose_semantic, choose_static, decide
from semroute.routing.difficulty import Standing
from semroute.routing.facts import read_facts
from semroute.routing.policy import expected_quality, unfit_reason
from semroute.routing.pricing import estimate
from tests.routing.build import config, route, rule

fractions = st.floats(0, 1)
regions = st.lists(st.sampled_from(["eu", "us"]), unique=True).map(tuple)
needs: tuple[Feature, ...] = ("tools", "json", "vision")
features = st.lists(st.sampled_from(needs), unique=True).map(tuple)
prices = st.decimals(0, 100, places=3)
tiers: st.SearchStrategy[Tier] = st.sampled_from(TIERS)


@st.composite
def models(draw: st.DrawFn) -> tuple[Model, ...]:
    count = draw(st.integers(1, 6))
    return tuple(
        Model(
            id=f"m{number}",
            provider=draw(st.sampled_from("pq")),
            name=f"m{number}",
            tier=draw(tiers),
            input_price=draw(prices),
            output_price=draw(prices),
            quality=draw(st.none() | fractions),
            quality_by_route=draw(st.just({}) | st.fixed_dictionaries({"billing": fractions})),
            context_tokens=draw(st.none() | st.integers(1, 5000)),
            features=draw(features),
            regions=draw(regions),
            latency_ms=draw(st.none() | st.floats(1, 10_000)),
        )
        for number in range(count)
    )


policies: st.SearchStrategy[Policy] = st.builds(
    Policy,
    select=st.sampled_from(["ordered", "cheapest", "fastest", "best", "balanced"]),
    cost_quality=fractions,
    min_quality=st.none() | fractions,
    max_cost_usd=st.none() | st.decimals(0, 1, places=4),
    max_latency_ms=st.none() | st.floats(1, 10_000),
    requires=features,
    regions=regions,
    difficulty=st.none() | st.builds(Difficulty, by=st.sampled_from(["complexity", "exemplars", "learned"])),
)
texts = st.sampled_from(["", "hi", "prove that it must hold, then compare both step by step. Why?", "x" * 9000])
signals: st.SearchStrategy[Signals] = st.builds(
    Signals,
    unavailable=st.dictionaries(st.sampled_from(["m0", "m1"]), st.just("down")),
    latency_ms=st.dictionaries(st.sampled_from(["m0", "m2"]), st.floats(1, 9000)),
    thrift=fractions,
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    text = draw(texts)
    parts: list[Any] = [Text(text=text)] if text else []
    if draw(st.booleans()):
        parts.append(Image(url="https://x/y.png"))
    return ChatRequest(
        id=draw(st.uuids()).hex,
        messages=(Message(role="user", parts=tuple(parts)),),
        tools=(Tool(name="t"),) if draw(st.booleans()) else (),
        params=Params(max_tokens=draw(st.none() | st.integers(1, 4000)), json_output=draw(st.booleans())),
        cost_quality=draw(st.none() | fractions),
    )


def decided(
    registry: tuple[Model, ...], policy: Policy, asked: ChatRequest, now: Signals, only: Only | None
) -> Decision:
    made = config(
        *registry,
        routes=(route(models=tuple(one.id for one in registry)),),
        rules=(rule(only=only),) if only is not None else (),
        policy=policy,
    )
    facts = read_facts(asked)
    choice = choose_static(made, asked, facts) or choose_semantic(made, Match(), facts)
    if facts.text:
        asked = replace(asked, model="auto:billing")
        static = choose_static(made, asked, facts)
        assert static is not None
        choice = static
    return decide(made, asked, facts, choice, now)


onlys: st.SearchStrategy[Only | None] = st.none() | st.builds(
    Only, regions=regions, providers=st.lists(st.sampled_from("pq"), unique=True).map(tuple), features=features
)


@settings(max_examples=300, deadline=None)
@given(models(), policies, requests(), signals, onlys)
def test_a_plan_is_non_empty_or_the_error_says_why(
    registry: tuple[Model, ...], policy: Policy, asked: ChatRequest, now: Signals, only: Only | None
) -> None:
    decision = decided(registry, policy, asked, now, only)
    assert {*decision.plan, *decision.rejected} == {one.id for one in registry}
    assert not set(decision.plan) & decision.rejected.keys()
    assert len(set(decision.plan)) == len(decision.plan)
    assert [entry.model for entry in decision.plan_details] == list(decision.plan)
    assert all(entry.why for entry in decision.plan_details)
    if not decision.plan:
        told = str(NoModelError(decision.rejected))
        assert all(f"{one.id}: " in told for one in registry)
        assert all(decision.rejected.values())


@settings(max_examples=300, deadline=None)
@given(models(), policies, requests(), signals, onlys)
def test_no_plan_holds_a_model_that_breaks_a_hard_constraint(
    registry: tuple[Model, ...], policy: Policy, asked: ChatRequest, now: Signals, only: Only | None
) -> None:
    decision = decided(registry, policy, asked, now, only)
    facts = read_facts(asked)
    by_id = {one.id: one for one in registry}
    for id_ in decision.plan:
        one = by_id[id_]
        assert id_ not in now.unavailable
        assert unfit_reason(one, facts) is None
        assert set(policy.requires) <= set(one.features)
        assert not policy.regions or set(policy.regions) & set(one.regions)
        quality = expected_quality(one, decision.route, Standing())
        assert policy.min_quality is None or quality >= policy.min_quality
        cost = estimate(one, policy, facts.input_tokens, facts.max_tokens).cost_usd
        assert policy.max_cost_usd is None or cost <= policy.max_cost_usd
        latency = now.latency_ms.get(id_, one.latency_ms)
        assert policy.max_latency_ms is None or latency is None or latency <= policy.max_latency_ms
        if only is not None:
            assert not only.regions or set(only.regions) & set(one.regions)
            assert not only.providers or one.provider in only.providers
            assert set(only.features) <= set(one.features)


@settings(max_examples=500, deadline=None)
@given(models(), policies, requests(), signals, fractions, fractions)
def test_raising_the_dial_never_lowers_the_planned_quality(
    registry: tuple[Model, ...], policy: Policy, asked: ChatRequest, now: Signals, one: float, other: float
) -> None:
    low, high = (
        decided(registry, policy, replace(asked, cost_quality=dial), now, None) for dial in sorted((one, other))
    )
    if low.plan:
        assert high.plan_details[0].quality >= low.plan_details[0].quality


def test_the_dial_reaches_both_ends() -> None:
    cheap = Model(id="m0", provider="p", name="m0", quality=0.5)
    dear = Model(id="m1", provider="p", name="m1", quality=0.9, output_price=Decimal(50))
    asked = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text="hi"),)),))
    for dial, first in ((0.0, "m0"), (1.0, "m1")):
        made = decided((cheap, dear), Policy(), replace(asked, cost_quality=dial), Signals(), None)
        assert made.model == first
    assert pytest.approx(0.9) == made.plan_details[0].quality
