from __future__ import annotations

from typing import Any

import msgspec
import pytest

from semroute.config.schema.matching import EmbedderSettings
from semroute.config.schema.policies import Difficulty, Policy
from semroute.config.schema.routes import JsonContract
from semroute.config.schema.rules import Only, Rule
from semroute.decision import Candidate, Decision, Match, Nearest, Signals
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.messages import ChatRequest
from semroute.routing.decide import (
    Choice,
    choose_classified,
    choose_semantic,
    choose_static,
    decide,
    needs_reading,
    strong_share,
)
from semroute.routing.facts import read_facts
from tests.routing.build import ALL, config, facts, model, request, route, rule

CONFIG = config(*ALL, routes=(route(), route("coding", threshold=0.9, policy=Policy(select="best"))))


def static(made: Any = CONFIG, **fields: Any) -> Choice | None:
    asked = request(**fields)
    return choose_static(made, asked, read_facts(asked))


def decided(choice: Choice | None, made: Any = CONFIG, asked: ChatRequest | None = None) -> Decision:
    assert choice is not None
    asked = asked or request()
    return decide(made, asked, read_facts(asked), choice, Signals())


def with_rule(one: Rule) -> Any:
    return config(*ALL, routes=(route(),), rules=(one,))


# --- static -----------------------------------------------------------------------------------------------------------


def test_without_pin_or_rule_the_prompt_must_be_matched() -> None:
    assert static() is None


def test_a_rule_takes_models_a_route_or_a_tier() -> None:
    assert decided(static(with_rule(rule(models=("large",))))).plan == ("large",)
    on_route = decided(static(with_rule(rule(route="billing"))))
    assert (on_route.route, on_route.reason, on_route.rule) == ("billing", "rule", "r")
    assert decided(static(with_rule(rule(tier="moderate")))).plan == ("middle",)


def test_a_tier_takes_each_group_of_deployments_once() -> None:
    made = config(model("m"), model("m@q", group="m"), rules=(rule(tier="moderate"),))
    assert static(made) is not None
    assert static(made).models == ("m",)  # type: ignore[union-attr]  # just checked


def test_no_text_goes_to_the_default() -> None:
    choice = static(text="")
    assert choice is not None
    assert (choice.reason, choice.compared.confidence) == ("default", 0.0)


@pytest.mark.parametrize("fields", [{"model": "large"}, {"text": ""}, {"model": "auto:billing"}])
def test_narrowing_holds_whatever_else_decides(fields: dict[str, Any]) -> None:
    made = with_rule(rule(only=Only(tiers=("simple",))))
    decision = decided(static(made, **fields), made)
    assert "large" not in decision.plan
    assert decision.narrowed_by == ("r",)


def test_narrowing_holds_for_the_semantic_choice() -> None:
    made = with_rule(rule(only=Only(tiers=("simple",))))
    assert decided(choose_semantic(made, Match(), facts()), made).narrowed_by == ("r",)


# --- pinned -----------------------------------------------------------------------------------------------------------


def test_a_model_is_pinned_by_id_or_by_the_providers_name() -> None:
    made = config(*ALL, model("other", name="gpt-x"))
    assert decided(static(made, model="gpt-x"), made).plan == ("other",)
    assert decided(static(made, model="small", models=("large",)), made).plan == ("small", "large")
    assert decided(static(made, models=("large",)), made).plan == ("large",)


def test_names_that_lead_nowhere() -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean small\? With auto, semroute chooses"):
        static(model="smal")
    with pytest.raises(UnknownModelError, match="known: auto"):
        static(model="zzzzzz")
    with pytest.raises(UnknownRouteError, match="did you mean billing"):
        static(model="auto:biling")
    with pytest.raises(RequestError, match="is ambiguous: it could be any of a, b"):
        static(config(model("a", name="x"), model("b", name="x")), model="x")
    with pytest.raises(RequestError, match="got 'auto:billing' in a list of models"):
        static(model="small", models=("auto:billing",))


# --- semantic ---------------------------------------------------------------------------------------------------------


def candidate(name: str, confidence: float) -> Candidate:
    threshold = 0.9 if name == "coding" else 0.5
    return Candidate(route=name, confidence=confidence, threshold=threshold, threshold_from="route")


@pytest.mark.parametrize(
    ("candidates", "taken", "margin"),
    [
        ((candidate("billing", 0.6), candidate("coding", 0.1)), "billing", 0.5),
        ((candidate("billing", 0.4),), None, 0.4),
        ((candidate("coding", 0.8),), None, 0.8),
        ((candidate("coding", 0.95),), "coding", 0.95),
        ((), None, 0.0),
    ],
)
def test_the_best_candidate_is_taken_from_its_threshold_on(
    candidates: tuple[Candidate, ...], taken: str | None, margin: float
) -> None:
    choice = choose_semantic(CONFIG, Match(candidates=candidates))
    assert choice.route == taken
    assert choice.compared.margin == pytest.approx(margin)
    assert decided(choice).reason == ("semantic" if taken else "default")


def test_figures_that_decided_are_told_apart() -> None:
    close = Candidate(route="billing", confidence=0.4996, threshold=0.5001, threshold_from="route")
    said = choose_semantic(CONFIG, Match(candidates=(close,))).explanation
    assert "confidence 0.4996, below its threshold (0.5001" in said


GERMAN = "wie kann ich bitte meine Rechnung bezahlen, wenn die Karte nicht geht?"


@pytest.mark.parametrize(
    ("text", "encoder", "similarity", "taken"),
    [
        (GERMAN, "bundled", 0.6, None),
        (GERMAN, "bundled-2026-11", 0.6, None),
        (GERMAN, "bundled", 0.8, "billing"),
        (GERMAN, "some/multilingual-model", 0.6, "billing"),
        ("how can I pay my bill when the card does not work?", "bundled", 0.6, "billing"),
    ],
)
def test_a_language_that_the_encoder_does_not_read_goes_to_the_default(
    text: str, encoder: str, similarity: float, taken: str | None
) -> None:
    made = config(*ALL, routes=(route(),), embedder=EmbedderSettings(model=encoder))
    near = msgspec.structs.replace(candidate("billing", 0.9), nearest=Nearest(utterance="pay", similarity=similarity))
    choice = choose_semantic(made, Match(candidates=(near,)), facts(text))
    assert choice.route == taken
    assert ("not in English" in choice.explanation) == (taken is None)


def test_a_classifiers_label_replaces_the_semantic_choice_and_keeps_its_match() -> None:
    semantic = choose_semantic(CONFIG, Match(candidates=(candidate("billing", 0.6),)))
    choice = choose_classified(CONFIG, "coding", semantic)
    assert (choice.reason, choice.route, choice.compared) == ("classifier", "coding", semantic.compared)


# --- difficulty -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "share"),
    [("auto", None), ("large", None), ("auto:billing", None), ("auto:difficulty-0.3", 0.3), ("auto:difficulty-1", 1.0)],
)
def test_a_request_may_ask_for_a_share_of_strong_answers(name: str, share: float | None) -> None:
    assert strong_share(CONFIG, request(model=name)) == share


@pytest.mark.parametrize("said", ["", "x", "1.5", "nan"])
def test_what_is_no_share_is_an_error(said: str) -> None:
    with pytest.raises(RequestError, match="expected the share of strong answers"):
        strong_share(CONFIG, request(model=f"auto:difficulty-{said}"))


def test_a_route_of_that_name_comes_first() -> None:
    made = config(*ALL, routes=(route("difficulty-0.3"),))
    assert decided(static(made, model="auto:difficulty-0.3"), made).route == "difficulty-0.3"


def test_a_share_is_matched_as_any_prompt_and_planned_by_what_was_learned() -> None:
    asked = request(model="auto:difficulty-0.3")
    assert static(model="auto:difficulty-0.3") is None
    choice = choose_semantic(CONFIG, Match(candidates=(candidate("billing", 0.9),)))
    assert needs_reading(CONFIG, asked, read_facts(asked), choice)
    decision = decided(choice, asked=asked)
    assert decision.plan == ("large", "small")  # nothing was learned: the stronger model first
    assert decision.plan_details[0].why.startswith("strongest first, because the difficulty is unknown")


def test_an_embedding_is_needed_for_what_the_policy_reads_from_it() -> None:
    learned = config(*ALL, routes=(route(policy=Policy(difficulty=Difficulty(by="exemplars"))),))
    simple = config(*ALL, routes=(route(policy=Policy(difficulty=Difficulty())),))
    for made, asked_for, text, needed in (
        (learned, "auto:billing", "hi", True),
        (learned, "auto:billing", "", False),
        (CONFIG, "small", "hi", False),
        (simple, "auto:billing", "hi", False),
    ):
        choice = static(made, model=asked_for)
        assert choice is not None
        assert needs_reading(made, request(text=text), facts(text), choice) == needed


def test_the_decision_shows_the_difficulty_and_its_parts() -> None:
    made = config(*ALL, policy=Policy(difficulty=Difficulty()), routes=(route(models=("small", "middle", "large")),))
    asked = request("Prove that the plan must be optimal: derive it step by step, then compare it versus the other.")
    decision = decided(choose_semantic(made, Match(candidates=(candidate("billing", 0.9),))), made, asked)
    assert decision.wants == "complex"
    assert decision.model == "large"
    assert sum(decision.contributions.values()) == pytest.approx(decision.difficulty, abs=1e-3)


def test_an_output_contract_with_a_schema_counts_as_structure() -> None:
    made = config(
        *ALL,
        policy=Policy(difficulty=Difficulty()),
        routes=(route(output=JsonContract(json_schema={"type": "object"})), route("plain")),
    )
    assert "structure" in decided(static(made, model="auto:billing"), made).contributions
    assert "structure" not in decided(static(made, model="auto:plain"), made).contributions
    assert decided(static(made, model="small"), made).plan == ("small",)


def test_an_empty_plan_tells_why() -> None:
    made = config(*ALL, policy=Policy(min_quality=0.99))
    decision = decided(static(made, text=""), made)
    assert (decision.model, decision.plan) == (None, ())
    assert decision.rejected.keys() == {"small", "middle", "large"}
