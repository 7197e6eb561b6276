"""What none of the models meant for a request can take goes to the default's, or to the cheapest that can."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.schema.policies import Policy
from semroute.config.schema.routes import Default
from semroute.config.schema.rules import Only
from semroute.decision import Candidate, Decision, Match, Signals
from semroute.messages import ChatRequest, Image, Message, Text, Tool
from semroute.routing.decide import choose_semantic, choose_static, decide
from semroute.routing.facts import read_facts
from tests.routing.build import config, model, request, route, rule

BLIND = model("blind", input_price=1, quality=0.7, features=("json",), context_tokens=1000, regions=("us",))
STRONG = model(
    "strong",
    tier="complex",
    input_price=9,
    quality=0.9,
    features=("json", "tools"),
    context_tokens=5000,
    regions=("us",),
)
SEEING = model("seeing", input_price=5, features=("json", "vision"), context_tokens=1000, regions=("eu",))
CHEAP = model("cheap", input_price=2, features=("json", "vision", "tools"), context_tokens=9000, regions=("eu",))
IMAGE = Message(role="user", parts=(Text(text="what is this"), Image(url="https://example.com/a.png")))
BILLING = Match(candidates=(Candidate(route="billing", confidence=1.0),))


def build(*default: str, **fields: Any) -> Config:
    routes = (route(models=("blind",), **fields.pop("route", {})),)
    return config(BLIND, STRONG, SEEING, CHEAP, routes=routes, default=Default(models=default), **fields)


def decided(made: Config, asked: ChatRequest, signals: Signals = Signals()) -> Decision:
    facts = read_facts(asked)
    choice = choose_static(made, asked, facts) or choose_semantic(made, BILLING, facts)
    return decide(made, asked, facts, choice, signals)


LONG = request("word " * 4000)
TOOLS = request(tools=(Tool(name="t"),))
SEES = request(messages=(IMAGE,))


@pytest.mark.parametrize(
    ("default", "asked", "plan", "because"),
    [
        (("seeing",), SEES, ("seeing",), "blind: lacks vision), so it goes to the default's: seeing"),
        (("strong",), SEES, ("cheap", "seeing"), "blind: lacks vision), so it goes to the cheapest that can: cheap"),
        (("strong",), TOOLS, ("strong",), "blind: lacks tools), so it goes to the default's: strong"),
        (("seeing",), TOOLS, ("cheap", "strong"), "so it goes to the cheapest that can: cheap"),
        (("blind",), LONG, ("cheap",), "its window holds 1000), so it goes to the cheapest that can: cheap"),
    ],
)
def test_another_model_takes_what_the_routes_cannot(
    default: tuple[str, ...], asked: ChatRequest, plan: tuple[str, ...], because: str
) -> None:
    decision = decided(build(*default), asked)
    assert (decision.route, decision.plan) == ("billing", plan)
    assert because in decision.explanation
    assert decision.rejected["blind"]
    assert "no model of the route can take the request" in decision.plan_details[0].why


def test_the_default_has_substitutes_too() -> None:
    decision = decided(build("strong"), replace(SEES, messages=(replace(IMAGE, parts=IMAGE.parts[1:]),)))
    assert (decision.reason, decision.plan) == ("default", ("cheap", "seeing"))


def test_so_has_a_tier_that_a_rule_names_and_a_route_that_is_asked_for() -> None:
    by_rule = decided(build("strong", rules=(rule(tier="complex"),)), SEES)
    assert (by_rule.reason, by_rule.plan) == ("rule", ("cheap", "seeing"))
    by_name = decided(build("strong"), replace(SEES, model="auto:billing"))
    assert (by_name.reason, by_name.route, by_name.plan) == ("pinned", "billing", ("cheap", "seeing"))


def test_what_narrowing_rules_allow_stays_all_that_is_allowed() -> None:
    eu = rule("eu", only=Only(regions=("eu",)))
    decision = decided(build("strong", rules=(eu,)), request())
    assert decision.plan == ("cheap", "seeing")
    assert "blind: rule eu allows only regions eu" in decision.explanation
    nowhere = rule("nowhere", only=Only(providers=("nobody",)))
    assert decided(build("strong", rules=(nowhere,)), request()).plan == ()


def test_what_the_policy_demands_of_a_model_is_demanded_of_substitutes() -> None:
    demanding = {"policy": Policy(min_quality=0.8)}
    assert decided(build("cheap", route=demanding), request()).plan == ("strong",)
    assert decided(build("cheap", route=demanding), SEES).plan == ()


def test_models_that_are_named_have_no_substitutes() -> None:
    us = rule("us", only=Only(regions=("us",)))
    assert decided(build("strong", rules=(us,)), replace(SEES, model="seeing")).plan == ()
    assert decided(build("strong"), replace(SEES, models=("blind",))).plan == ("blind",)
    assert decided(build("strong", rules=(rule(models=("blind",)),)), SEES).plan == ()


def test_what_a_key_may_not_use_is_no_substitute() -> None:
    barred = Signals(unavailable={"seeing": "the key k may not use it", "cheap": "the key k may not use it"})
    decision = decided(build("seeing"), SEES, barred)
    assert (decision.plan, decision.rejected) == ((), {"blind": "lacks vision"})


def test_models_that_are_away_for_a_moment_have_none() -> None:
    away = Signals(open_breakers={"blind": "its circuit breaker is open"})
    assert decided(build("strong"), request(), away).plan == ()


def test_one_that_is_away_and_one_that_cannot_have_some() -> None:
    made = config(BLIND, SEEING, CHEAP, routes=(route(models=("blind", "seeing")),), default=Default(models=("blind",)))
    away = Signals(open_breakers={"seeing": "its circuit breaker is open"})
    assert decided(made, SEES, away).plan == ("cheap",)
