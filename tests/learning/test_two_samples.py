"""Tests of two samples: known values, and how often they cry wolf."""

from __future__ import annotations

import numpy as np
import pytest

from semroute.learning import two_samples


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [
        ((8, 10), (1, 6), 0.0350),  # Fisher's exact test, two-sided: 0.0350 for the table [[8, 2], [1, 5]]
        ((0, 100), (0, 100), 1.0),
        ((100, 100), (100, 100), 1.0),
        ((3, 10), (3, 10), 1.0),
        ((2, 10), (8, 10), 0.0230),
        ((10_000, 20_000), (10_200, 20_000), 0.0455),  # z = 2
    ],
)
def test_shares_have_the_known_chance(before: tuple[int, int], after: tuple[int, int], p: float) -> None:
    found = two_samples.shares(before, after)
    assert found.p == pytest.approx(p, abs=2e-4)
    assert found.effect == pytest.approx(after[0] / after[1] - before[0] / before[1])
    assert two_samples.shares(after, before).p == pytest.approx(p, abs=2e-4)


def test_distributions_have_the_known_gap() -> None:
    found = two_samples.distributions(np.arange(100.0), np.arange(30.0, 130.0))
    assert found.effect == pytest.approx(0.3)
    assert 1e-4 < found.p < 3e-4  # the exact p is 0.0002
    assert two_samples.distributions(np.ones(50), np.ones(70)) == (0.0, 1.0)


@pytest.mark.parametrize("test", ["distributions", "vectors"])
def test_false_alarms_are_as_rare_as_promised(test: str) -> None:
    random = np.random.default_rng(5)
    chances = []
    for seed in range(100):
        if test == "distributions":
            chances.append(two_samples.distributions(random.normal(size=80), random.normal(size=120)).p)
        else:
            some = random.normal(size=(60, 4)).astype(np.float32)
            chances.append(two_samples.vectors(some[:25], some[25:], seed, 99).p)
    assert sum(p < 0.05 for p in chances) <= 10
    assert sum(p < 0.5 for p in chances) >= 25


def test_vectors_that_moved_are_told_apart_and_the_seed_decides() -> None:
    random = np.random.default_rng(5)
    before = random.normal(size=(100, 8)).astype(np.float32)
    after = random.normal(size=(100, 8)).astype(np.float32)
    after[:20] += 2
    found = two_samples.vectors(before, after, 1)
    assert found.p == 0.001
    assert found == two_samples.vectors(before, after, 1)
    assert two_samples.vectors(before, before + 100, 1).effect > 0.9 > 0.1 > found.effect > 0


def test_holm_corrects_for_the_number_of_tests() -> None:
    assert two_samples.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert two_samples.holm([0.9, 0.9]) == [1.0, 1.0]
    assert two_samples.holm([]) == []


def test_the_change_point_is_where_the_mean_moves() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=1000)
    values[700:] += 2
    assert abs(two_samples.change_point(values) - 700) <= 10
    assert two_samples.change_point(np.array([0.0, 1.0])) == 1
