"""Shares and means that are estimated from samples with known probabilities."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from semroute.learning.weighted_share import Estimate, WeightedShare, wilson


def estimate(*samples: tuple[float, float, str]) -> Estimate:
    share = WeightedShare()
    for sample in samples:
        share.add(*sample)
    found = share.estimate()
    assert found is not None
    return found


def test_without_samples_nothing_is_said() -> None:
    assert WeightedShare().estimate() is None


def test_a_sample_counts_for_as_many_requests_as_it_was_drawn_from() -> None:
    found = estimate((1.0, 0.1, ""), (0.0, 0.5, ""))
    assert found.mean == pytest.approx(10 / 12)
    assert found.n == 2


def test_equal_weights_give_the_interval_of_wilson() -> None:
    """Newcombe 1998, table I: 81 of 263 has the interval .2553 to .3662, and 0 of 20 that of 0 to .1611."""
    found = estimate(*[(float(i < 81), 0.2, "") for i in range(263)])
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_few_samples_that_all_say_the_same_prove_little() -> None:
    assert estimate(*[(1.0, 1.0, "")] * 3).low == pytest.approx(0.4385, abs=1e-3)
    scores = estimate(*[(0.9, 1.0, "")] * 3)
    assert scores.low < 0.75 < 0.95 < scores.high


def test_users_whose_requests_are_alike_count_for_less() -> None:
    alike = estimate(*[(float(user % 2), 1.0, f"u{user}") for user in range(20) for _ in range(50)])
    mixed = estimate(*[(float(i % 2), 1.0, f"u{user}") for user in range(20) for i in range(50)])
    assert alike.worth == pytest.approx(19, abs=0.1)
    assert mixed.worth == pytest.approx(1000)
    assert (alike.n, alike.units) == (1000, 20)


def test_with_few_users_each_request_counts() -> None:
    assert estimate(*[(float(i % 2), 1.0, f"k{i % 3}") for i in range(300)]).worth == pytest.approx(300)


def test_scores_that_lie_close_together_are_worth_more_than_a_share() -> None:
    close = estimate(*[(0.6 + 0.01 * (i % 5), 1.0, "") for i in range(200)])
    assert close.high - close.low < 0.03


def simulate(world: Callable[[random.Random], tuple[WeightedShare, float]], runs: int = 400) -> float:
    """How often the interval holds the truth."""
    rng, held = random.Random(11), 0
    for _ in range(runs):
        share, truth = world(rng)
        found = share.estimate()
        assert found is not None
        held += found.low <= truth <= found.high
    return held / runs


def test_the_interval_holds_the_truth_for_strata_with_different_shares() -> None:
    def world(rng: random.Random) -> tuple[WeightedShare, float]:
        share = WeightedShare()
        for size, probability, truth in ((2000, 0.05, 0.9), (100, 0.5, 0.2)):
            for i in range(size):
                if rng.random() < probability:
                    share.add(float(rng.random() < truth), probability, f"u{i}")
        return share, (2000 * 0.9 + 100 * 0.2) / 2100

    assert simulate(world) >= 0.92


def test_the_interval_holds_the_truth_for_users_who_differ() -> None:
    def world(rng: random.Random) -> tuple[WeightedShare, float]:
        share = WeightedShare()
        for user in range(40):
            likes = rng.random()
            for _ in range(rng.randrange(1, 12)):
                share.add(float(rng.random() < likes), 0.1, f"u{user}")
        return share, 0.5

    assert simulate(world) >= 0.92
