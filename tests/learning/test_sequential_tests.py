"""Intervals that stay valid however often somebody looks: how often they are wrong, and what they find."""

from __future__ import annotations

import math
import sys

import numpy as np

from semroute.learning.experiment_figures import ALPHA, FIGURES, NAMES, RATIO_ALPHA
from semroute.learning.sequential_tests import (
    Contrast,
    Estimate,
    Numbers,
    contrast,
    mismatch,
    quantile,
    ratio,
)

LEAST = 100
"""Requests that each arm needs before anything is concluded, in these simulations."""


class Looks:
    """Experiments that are looked at each day. Users differ, come again, and stay in their arm."""

    def __init__(self, seed: int, experiments: int, users: int, *, effect: float = 0.0) -> None:
        """`effect`: what the arm adds to the error rate. It has half of the users in every other experiment, and 20%
        in the rest.
        """
        self.rng = np.random.default_rng(seed)
        shape = (experiments, users)
        shares = np.where(np.arange(experiments) % 2, 0.2, 0.5)[:, None]
        self.arm = (self.rng.random(shape) < shares).astype(float)
        self.visits = self.rng.gamma(1.0, 1.0, shape)
        self.fails = np.clip(self.rng.beta(1.0, 19.0, shape) + effect * self.arm, 0.0, 1.0)
        self.abstains = self.rng.beta(2.0, 8.0, shape)
        self.likes = self.rng.beta(4.0, 2.0, shape)
        self.costs, self.waits = self.rng.lognormal(0.0, 1.0, shape), self.rng.lognormal(6.0, 0.5, shape)
        self.counts = np.zeros(shape)
        self.scored = np.zeros(shape)
        self.amounts = {figure.name: np.zeros(shape) for figure in FIGURES}

    def day(self) -> None:
        """Let a day's requests come."""
        rng, n = self.rng, self.rng.poisson(self.visits)
        scored = rng.binomial(n, 0.3)
        self.counts += n
        self.scored += scored
        amounts = self.amounts
        amounts["quality"] += rng.binomial(scored, self.likes)
        amounts["judged"] += rng.normal(self.likes * scored, 0.1 * np.sqrt(scored))
        amounts["cost_usd"] += self.costs * np.where(n > 0, rng.gamma(np.maximum(n, 1)), 0.0)
        amounts["latency_ms"] += self.waits * np.where(n > 0, rng.gamma(np.maximum(n, 1)), 0.0)
        amounts["error_rate"] += rng.binomial(n, self.fails)
        amounts["abstention_rate"] += rng.binomial(n, self.abstains)

    def compare(self, name: str, alpha: float) -> tuple[Contrast, Numbers]:
        """Return one figure of all experiments, and the usual statistic, which holds for one look."""
        counts = self.scored if name in ("quality", "judged") else self.counts
        is_bounded = next(figure.is_bounded for figure in FIGURES if figure.name == name)

        def of(members: Numbers) -> Estimate:
            return ratio(self.amounts[name] * members, counts * members, is_bounded=is_bounded)

        arm, control = of(self.arm), of(1 - self.arm)
        found = contrast(arm, control, alpha)
        return found, np.abs(found.difference) / np.sqrt(arm.error**2 + control.error**2)

    @property
    def enough(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return which experiments have enough requests in each arm."""
        smaller: Numbers = np.minimum((self.counts * self.arm).sum(-1), (self.counts * (1 - self.arm)).sum(-1))
        return smaller >= LEAST


def test_of_1000_experiments_without_a_difference_at_most_5_percent_call_one() -> None:
    looks = Looks(seed=20261130, experiments=1000, users=120)
    called, naive = np.zeros(1000, bool), np.zeros(1000, bool)
    for _ in range(14):
        looks.day()
        for figure in FIGURES:
            found, usual = looks.compare(figure.name, ALPHA / len(NAMES))
            called |= found.is_real & looks.enough
            naive |= (usual > 1.96) & looks.enough
    sys.stdout.write(f"{called.mean():.1%} call a difference; usual 95% intervals: {naive.mean():.1%}\n")
    assert called.mean() <= ALPHA
    assert naive.mean() > 0.3  # so the simulation does tempt


def test_a_real_difference_is_found() -> None:
    looks = Looks(seed=7, experiments=60, users=600, effect=0.06)
    found_by_day = []
    for _ in range(14):
        looks.day()
        found, _ = looks.compare("error_rate", ALPHA / len(NAMES))
        found_by_day.append(float((found.is_real & looks.enough).mean()))
        assert not (found.high[looks.enough] < 0).any()
    sys.stdout.write(f"an error rate of 11% instead of 5%, 600 requests a day, is found by day: {found_by_day}\n")
    assert found_by_day[-1] >= 0.95


def test_few_users_and_no_requests_say_nothing() -> None:
    counts = np.zeros((2, 100))
    counts[0, :10] = 50
    found = ratio(counts * 0.5, counts)
    assert math.isnan(found.error[0])
    assert math.isnan(found.value[1])
    few, none = (Estimate(*(each[place] for each in found)) for place in (0, 1))
    assert not contrast(few, none, ALPHA).is_real


def test_requests_of_one_user_count_as_one_witness() -> None:
    rng = np.random.default_rng(1)
    many = rng.binomial(1, 0.5, 2000).astype(float)
    alone = ratio(many, np.ones(2000))
    alike = ratio(np.repeat(many[:100], 20).reshape(100, 20).sum(1), np.full(100, 20.0))
    assert alike.error > 3 * alone.error


def test_an_arm_without_any_error_is_not_sure_to_have_none() -> None:
    spotless = ratio(np.zeros(100), np.ones(100), is_bounded=True)
    assert 0.005 < spotless.error < 0.02


def test_a_quantile_has_an_interval_that_holds_it() -> None:
    rng = np.random.default_rng(3)
    edges = np.arange(1.0, 2001.0)
    held = 0
    for _ in range(200):
        values = np.clip(rng.lognormal(5.0, 0.5, 2000).round(), 1, 2000)
        counts = np.bincount(values.astype(int), minlength=2001)[1:].astype(float)
        clusters = (values > np.quantile(values, 0.95)).reshape(100, 20).sum(1).astype(float)
        found = quantile(edges, counts, ratio(clusters, np.full(100, 20.0), is_bounded=True), 0.95, ALPHA)
        held += found.low <= math.exp(5.0 + 0.5 * 1.6449) <= found.high
    assert held >= 198
    assert found.low < found.value < found.high < 1500


def test_the_check_of_shares_does_not_shout_without_reason_and_hears_a_small_loss() -> None:
    rng = np.random.default_rng(11)
    shouted = 0
    for _ in range(1000):
        counts = np.zeros(3, int)
        for _ in range(20):
            counts += rng.multinomial(100, [0.8, 0.15, 0.05])
            if mismatch(counts.tolist(), [80, 15, 5]) >= math.log(1 / RATIO_ALPHA):
                shouted += 1
                break
    assert shouted <= 3
    assert mismatch([5000, 4700], [1, 1]) > math.log(1 / RATIO_ALPHA) - 5
    assert mismatch([5000, 4500], [1, 1]) > math.log(1 / RATIO_ALPHA)
