from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.evaluation.decision_metrics import (
    auroc,
    confusions,
    expected_calibration_error,
    false_positive_rate,
    per_route,
    reliability,
    risk_coverage,
)

scores = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=12)


@given(scores, scores)
def test_auroc_counts_pairs_and_halves_ties(positive: list[float], negative: list[float]) -> None:
    wins = sum((p > n) + (p == n) / 2 for p, n in itertools.product(positive, negative))
    value = auroc(np.array(positive), np.array(negative))
    assert value == pytest.approx(wins / (len(positive) * len(negative)))


def test_auroc_needs_both_sides() -> None:
    assert auroc(np.array([]), np.array([1.0])) is None
    assert auroc(np.array([1.0]), np.array([])) is None


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    confidence = np.array([0.95, 0.95, 0.15, 0.15])
    right = np.array([True, False, False, False])
    assert expected_calibration_error(confidence, right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == pytest.approx(0)
    assert expected_calibration_error(np.array([]), np.array([], dtype=bool)) is None


def test_routes_are_judged_one_by_one() -> None:
    metrics = per_route(["a", "a", "b", None], ["a", "b", "b", "b"])
    assert (metrics["a"].n, metrics["a"].precision, metrics["a"].recall) == (2, 1.0, 0.5)
    assert metrics["b"].precision == pytest.approx(1 / 3)
    assert metrics["b"].f1 == pytest.approx(0.5)
    unseen = per_route(["a"], [None])["a"]
    assert (unseen.precision, unseen.recall, unseen.f1) == (None, 0.0, 0.0)


def test_confusions_come_most_frequent_first_with_an_example() -> None:
    found = confusions(["t1", "t2", "t3", "t4"], ["a", "a", "b", None], ["b", "b", "b", "a"])
    assert [(c.expected, c.decided, c.n, c.example) for c in found] == [("a", "b", 2, "t1"), (None, "a", 1, "t4")]


def test_the_false_positive_rate_is_taken_at_the_recall_asked_for() -> None:
    positive = np.linspace(0.5, 1.0, 100)
    assert false_positive_rate(positive, np.array([0.1, 0.51, 0.53, 0.9])) == 0.5
    assert false_positive_rate(positive, np.array([0.1, 0.51, 0.53, 0.9]), recall=1.0) == 0.75
    assert false_positive_rate(positive, np.array([])) is None


def test_reliability_compares_confidence_with_truth() -> None:
    table = reliability(np.array([0.91, 0.95, 0.12, 1.0]), np.array([True, False, False, True]))
    assert [(row.low, row.n) for row in table] == [(0.1, 1), (0.9, 3)]
    assert table[1].confidence == pytest.approx((0.91 + 0.95 + 1.0) / 3)
    assert table[1].accuracy == pytest.approx(2 / 3)
    assert reliability(np.array([]), np.array([], dtype=bool)) == ()


def test_risk_rises_with_coverage() -> None:
    points = risk_coverage(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    assert [(p.threshold, p.coverage, p.risk) for p in points] == [
        (0.9, 0.25, 0.0),
        (0.8, 0.75, pytest.approx(1 / 3)),
        (0.1, 1.0, 0.5),
    ]
    assert risk_coverage(np.array([]), np.array([], dtype=bool)) == ()


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = risk_coverage(np.linspace(0, 1, 1000), np.ones(1000, dtype=bool), points=50)
    assert len(points) == 50
    assert (points[0].threshold, points[-1].coverage) == (1.0, 1.0)
