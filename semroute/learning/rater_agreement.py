"""How far two raters agree on what is good. Pure.

Source: Cohen 1960, A coefficient of agreement for nominal scales. The interval is that of the posterior of the four
counts under Jeffreys' prior, so it also holds where there are few of them and where all agree.
"""

from __future__ import annotations

import numpy as np

from semroute.bases import Frozen
from semroute.learning.weighted_share import WeightedShare
from semroute.routing.scoring import Doubles

DRAWS = 4000


class Agreement(Frozen, frozen=True, kw_only=True):
    """How far a judge agrees with people."""

    n: int
    """Answers that both rated."""
    both_good: int
    both_bad: int
    judge_good: int
    """The judge alone calls them good."""
    people_good: int
    """People alone call them good."""
    observed: float | None
    """The share on which they agree. None: there is no such answer."""
    kappa: float | None
    """Cohen's kappa: 1 if they always agree, 0 if as often as by chance. None: not defined, because both call all
    answers good, or both call all bad."""
    low: float | None
    """The interval of 95%. None: kappa is not defined."""
    high: float | None


class Raters:
    """Takes the ratings of a judge and of people, one answer after another."""

    def __init__(self) -> None:
        self._counts = {(judge, people): 0 for judge in (True, False) for people in (True, False)}
        self._agreed = WeightedShare()

    def add(self, judge: bool, people: bool, unit: str = "") -> None:
        """Add an answer: whether each calls it good. `unit`: whose request it was. Empty: not known."""
        self._counts[judge, people] += 1
        self._agreed.add(float(judge == people), unit=unit)

    def agreement(self) -> Agreement:
        """Return how far they agree."""
        counts, agreed = np.array(list(self._counts.values()), np.float64), self._agreed.estimate()
        kappa = low = high = None
        if agreed is not None and not np.isnan(found := float(_kappas(counts[None])[0])):
            rng = np.random.default_rng(0)
            drawn = _kappas(rng.dirichlet(counts * min(1.0, agreed.worth / agreed.n) + 0.5, DRAWS))
            ends = np.nanpercentile(drawn, [2.5, 97.5])
            kappa, low, high = found, min(found, float(ends[0])), max(found, float(ends[1]))
        return Agreement(
            n=self._agreed.n,
            both_good=self._counts[True, True],
            both_bad=self._counts[False, False],
            judge_good=self._counts[True, False],
            people_good=self._counts[False, True],
            observed=None if agreed is None else agreed.mean,
            kappa=kappa,
            low=low,
            high=high,
        )


def _kappas(counts: Doubles) -> Doubles:
    """Return Cohen's kappa for rows of four counts, in the order of `Raters`. NaN: it is not defined."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    both_good, judge_good, people_good, both_bad = shares.T
    judge, people = both_good + judge_good, both_good + people_good
    by_chance = judge * people + (1 - judge) * (1 - people)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance < 1 - 1e-12, (both_good + both_bad - by_chance) / (1 - by_chance), np.nan)
