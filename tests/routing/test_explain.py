from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from semroute.decision import Candidate, Decision, Estimate, Match, Reason
from semroute.routing.explain import MAX_PIECES, explain, pieces, smallest_flip


def candidates(**confidences: float) -> tuple[Candidate, ...]:
    ranked = sorted(confidences.items(), key=lambda item: -item[1])
    return tuple(Candidate(route=route, confidence=confidence) for route, confidence in ranked)


def decided(route: str | None, reason: Reason, threshold: float, found: tuple[Candidate, ...]) -> Decision:
    return Decision(
        id="x",
        route=route,
        reason=reason,
        explanation="",
        confidence=found[0].confidence if found else 1.0,
        threshold=threshold,
        margin=found[0].confidence - found[1].confidence if len(found) > 1 else 1.0,
        model=None,
        plan=(),
        rejected={},
        candidates=found,
        estimate=Estimate(input_tokens=0, output_tokens=0, cost_usd=Decimal(0)),
        config_version="",
    )


def match(texts: Sequence[str]) -> list[Match]:
    """Billing is in the word "refund", a little in "please"; travel in "flight"."""
    return [
        Match(
            candidates=candidates(
                billing=0.6 * ("refund" in text) + 0.1 * ("please" in text), travel=0.3 * ("flight" in text)
            )
        )
        for text in texts
    ]


def choose(found: Match) -> str | None:
    best = found.candidates[0]
    return best.route if best.confidence >= 0.5 else None


def test_each_word_weighs_what_its_absence_costs() -> None:
    text = "please  refund my flight"
    details = explain(text, decided("billing", "semantic", 0.5, match([text])[0].candidates), match, choose)
    assert [(word.text, word.effect, word.route_without) for word in details.words] == [
        ("please", 0.1, "billing"),
        ("refund", 0.6, None),
        ("my", 0.0, "billing"),
        ("flight", 0.0, "billing"),
    ]


def test_long_prompts_leave_out_several_words_at_once() -> None:
    text = " ".join(f"w{i}" for i in range(1000))
    spans = pieces(text)
    assert len(spans) <= MAX_PIECES
    assert text[slice(*spans[0])] == " ".join(f"w{i}" for i in range(32))
    assert spans[-1][1] == len(text)
    assert pieces("  ") == []


def test_one_word_cannot_be_left_out() -> None:
    details = explain("refund", decided("billing", "semantic", 0.5, match(["refund"])[0].candidates), match, choose)
    assert details.words == ()
    assert details.flip is not None


def test_what_was_not_compared_has_no_details() -> None:
    details = explain("refund", decided("billing", "rule", 0.0, ()), match, choose)
    assert (details.words, details.flip) == ((), None)


@pytest.mark.parametrize(
    ("decision", "route", "gap"),
    [
        (decided(None, "default", 0.5, candidates(a=0.4, b=0.3)), "a", 0.1),
        (decided("a", "semantic", 0.5, candidates(a=0.9, b=0.8)), "b", 0.1),
        (decided("a", "semantic", 0.5, candidates(a=0.6, b=0.1)), None, 0.1),
        (decided("a", "semantic", 0.5, candidates(a=0.7)), None, 0.2),
    ],
    ids=["reach the threshold", "be overtaken", "fall below", "alone"],
)
def test_the_smallest_change_is_told(decision: Decision, route: str | None, gap: float) -> None:
    flip = smallest_flip(decision, choose)
    assert flip is not None
    assert flip.route == route
    assert flip.gap == gap
    assert "would have taken" not in flip.explanation


def by_hand(**figures: tuple[float, float]) -> tuple[Candidate, ...]:
    """Candidates with (confidence, threshold)."""
    return tuple(
        Candidate(route=route, confidence=confidence, threshold=threshold, threshold_from="route")
        for route, (confidence, threshold) in figures.items()
    )


@pytest.mark.parametrize(
    ("decision", "route", "gap"),
    [
        (decided("a", "semantic", 0.1, by_hand(a=(0.8, 0.1), b=(0.7, 0.95))), None, 0.1),
        (decided("a", "semantic", 0.1, by_hand(a=(0.8, 0.1), b=(0.5, 0.95), c=(0.4, 0.3))), None, 0.3),
        (decided("a", "semantic", 0.4, by_hand(a=(0.8, 0.4), b=(0.45, 0.3))), "b", 0.35),
        (decided(None, "default", 0.95, by_hand(a=(0.587, 0.95), b=(0.406, 0.1))), "b", 0.181),
        (decided(None, "default", 0.6, by_hand(a=(0.5, 0.6), b=(0.45, 0.7))), "a", 0.1),
        (decided(None, "default", 0.9, by_hand(a=(0.5, 0.9), b=(0.45, 0.7))), "b", 0.25),
    ],
)
def test_each_candidate_has_its_own_threshold(decision: Decision, route: str | None, gap: float) -> None:
    flip = smallest_flip(decision, lambda found: _above_its_own(found.candidates[0]))
    assert flip is not None
    assert flip.route == route
    assert flip.gap == gap
    assert ("no route" in flip.explanation) == (route is None)


def _above_its_own(best: Candidate) -> str | None:
    return best.route if best.confidence >= best.threshold else None


def test_a_calibrated_threshold_grows_with_the_confidence() -> None:
    """It stands for how likely a prompt is in scope, which does not change when another route is likelier."""
    sure = Candidate(route="a", confidence=0.6, threshold=0.5)
    for threshold, route in ((0.15, "b"), (0.25, None)):
        found = (sure, Candidate(route="b", confidence=0.2, threshold=threshold))
        flip = smallest_flip(decided("a", "semantic", 0.05, found), lambda found: _above_its_own(found.candidates[0]))
        assert flip is not None
        assert flip.route == route
        assert flip.gap == pytest.approx(0.4)


def test_no_confidence_would_have_changed_what_something_else_decided() -> None:
    assert smallest_flip(decided("a", "sticky", 0.5, candidates(a=0.9)), choose) is None
    assert smallest_flip(decided(None, "default", 0.5, candidates(a=0.4)), lambda found: None) is None
