"""Samples are drawn so that rare routes and tiers get some."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.trials.strata import REMEMBERED, Strata, chances


@given(
    st.dictionaries(st.integers(), st.floats(1, 1e6), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_all_strata_together_get_the_share(counts: dict[int, float], share: float) -> None:
    found = chances(counts, share)
    assert all(0 <= chance <= 1 for chance in found.values())
    expected = sum(chance * counts[stratum] for stratum, chance in found.items())
    assert expected == pytest.approx(share * sum(counts.values()), rel=1e-6, abs=1e-6)


@given(st.dictionaries(st.integers(), st.floats(1, 1e6), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_a_rarer_stratum_is_drawn_more_but_gets_no_more_samples(counts: dict[int, float], share: float) -> None:
    found = chances(counts, share)
    ordered = sorted(counts, key=lambda stratum: counts[stratum])
    for rarer, commoner in itertools.pairwise(ordered):
        assert found[rarer] >= found[commoner] * (1 - 1e-9)
        assert found[rarer] * counts[rarer] <= found[commoner] * counts[commoner] * (1 + 1e-6)


def test_samples_grow_with_the_root_of_the_requests() -> None:
    found = chances({"common": 9900.0, "rare": 100.0}, 0.05)
    samples = found["common"] * 9900, found["rare"] * 100
    assert samples[0] / samples[1] == pytest.approx(99**0.5)
    assert sum(samples) == pytest.approx(500)


def test_one_stratum_is_drawn_with_the_share() -> None:
    strata: Strata[str] = Strata()
    found = [strata.chance("only", 0.1) for _ in range(5000)]
    assert found == pytest.approx([0.1] * 5000)


def test_a_stream_gives_the_share_and_samples_of_rare_strata() -> None:
    rng, strata = random.Random(7), Strata[str]()
    drawn: Counter[str] = Counter()
    expected = 0.0
    for _ in range(50_000):
        stratum = "rare" if rng.random() < 0.01 else "some" if rng.random() < 0.1 else "common"
        chance = strata.chance(stratum, 0.05)
        expected += chance
        drawn[stratum] += rng.random() < chance
    assert expected == pytest.approx(2500, rel=0.03)
    assert drawn["rare"] > 150 > 0.05 * 500
    assert drawn["common"] > drawn["some"] > drawn["rare"]


def test_estimates_with_the_logged_chances_are_right() -> None:
    """The sum of 1/chance over the samples of a stratum is how many requests it had, on average."""
    rng, strata = random.Random(3), Strata[int]()
    counts: Counter[int] = Counter()
    estimated: Counter[int] = Counter()
    for _ in range(40_000):
        stratum = min(3, int(rng.expovariate(1.5)))
        counts[stratum] += 1
        if rng.random() < (chance := strata.chance(stratum, 0.1)):
            estimated[stratum] += 1 / chance  # type: ignore[assignment]
    assert {s: estimated[s] / n for s, n in counts.items()} == pytest.approx(dict.fromkeys(counts, 1.0), rel=0.15)


def test_a_stratum_that_became_common_is_drawn_less() -> None:
    strata: Strata[str] = Strata()
    for _ in range(int(REMEMBERED)):
        strata.chance("old", 0.05)
    first = strata.chance("new", 0.05)
    for _ in range(int(REMEMBERED)):
        last = strata.chance("new", 0.05)
    assert first == 1.0
    assert last < 0.06


def test_a_changed_share_counts_at_once() -> None:
    strata: Strata[str] = Strata()
    for _ in range(1000):
        strata.chance("only", 0.1)
    assert strata.chance("only", 0.0) == 0.0
    assert strata.chance("only", 1.0) == 1.0
