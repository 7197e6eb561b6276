from __future__ import annotations

from decimal import Decimal

import pytest

from semroute.config.schema import Config, Default
from semroute.routing.decide import Choice, choose_semantic
from semroute.routing.sticky import CLEAR_MARGIN, Remembered, stick
from semroute.types import Candidate, Match, Model, Policy, Reason, Route


def model(id_: str) -> Model:
    return Model(id=id_, provider="p", name=id_, input_price=Decimal(1))


CONFIG = Config(
    providers={},
    models={name: model(name) for name in ("small", "large", "other")},
    default=Default(models=("large", "small")),
    routes={
        "billing": Route(name="billing", utterances=("x",), models=("small", "large")),
        "coding": Route(name="coding", utterances=("y",), models=("large",)),
    },
)


def semantic(**confidences: float) -> Choice:
    ranked = sorted(confidences.items(), key=lambda item: -item[1])
    candidates = tuple(
        Candidate(route=route, confidence=value, threshold=0.5, threshold_from="abstain") for route, value in ranked
    )
    return choose_semantic(CONFIG, Match(candidates=candidates))


def test_without_a_past_nothing_changes() -> None:
    choice = semantic(billing=0.9, coding=0.1)
    assert stick(CONFIG, choice, None) is choice


def test_the_conversations_model_comes_first_on_the_same_route() -> None:
    kept = stick(CONFIG, semantic(billing=0.9, coding=0.1), Remembered(route="billing", model="large"))
    assert (kept.reason, kept.route, kept.models) == ("sticky", "billing", ("large", "small"))
    assert "the session stays on billing with large" in kept.explanation


def test_a_turn_that_says_nothing_stays() -> None:
    kept = stick(CONFIG, semantic(coding=0.3, billing=0.2), Remembered(route="billing", model="small"))
    assert (kept.reason, kept.route, kept.models) == ("sticky", "billing", ("small", "large"))
    assert kept.compared.confidence == 0.3


def test_a_close_call_stays_and_a_clear_change_goes() -> None:
    past = Remembered(route="billing", model="small")
    close = semantic(coding=0.55, billing=0.55 - CLEAR_MARGIN + 0.01)
    clear = semantic(coding=0.55, billing=0.55 - CLEAR_MARGIN - 0.01)
    assert stick(CONFIG, close, past).reason == "sticky"
    assert stick(CONFIG, clear, past) is clear


def test_from_the_default_a_confident_match_goes() -> None:
    past = Remembered(route=None, model="small")
    assert stick(CONFIG, semantic(billing=0.9, coding=0.1), past).route == "billing"
    kept = stick(CONFIG, semantic(billing=0.55, coding=0.1), past)
    assert (kept.reason, kept.route, kept.models) == ("sticky", None, ("small", "large"))


@pytest.mark.parametrize("reason", ["rule", "pinned"])
def test_what_was_set_on_purpose_is_kept(reason: Reason) -> None:
    choice = Choice(reason=reason, explanation="", models=("other",), policy=Policy())
    assert stick(CONFIG, choice, Remembered(route="billing", model="small")) is choice


@pytest.mark.parametrize("past", [Remembered(route="gone", model="small"), Remembered(route="coding", model="other")])
def test_a_past_that_the_files_do_not_know_any_more_is_forgotten(past: Remembered) -> None:
    choice = semantic(billing=0.4, coding=0.3)
    assert stick(CONFIG, choice, past) is choice
