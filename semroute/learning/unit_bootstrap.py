"""A bootstrap of units: each draw takes whole units, with all of their requests. Pure.

A unit is who asked. Requests of one unit are alike, so a bootstrap of requests would find intervals that are too short.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Places = NDArray[np.int64]

DRAWS = 1000
MOST_GROUPS = 2000
"""Further units are drawn together, in this many random groups."""


class Interval(NamedTuple):
    """An estimate and its 95% interval."""

    value: float
    low: float
    high: float


class UnitBootstrap:
    """The draws of one table of rows."""

    def __init__(self, units: NDArray[Any], weights: Doubles, *, seed: int = 0, draws: int = DRAWS) -> None:
        """`units`: the unit of each row, as random numbers: uint64 (rows,). `weights`: float64 (rows,)."""
        self.random = np.random.default_rng(seed)
        self.draws = draws
        names, places = np.unique(units, return_inverse=True)
        self.units = len(names)
        self.unit: Places = places.reshape(-1).astype(np.int64)
        """The place of each row's unit: int64 (rows,)."""
        self._groups = min(self.units, MOST_GROUPS)
        self._group = self.unit % self._groups  # the units are sorted by random numbers, so the groups are random
        chances = np.full(self._groups, 1 / self._groups)
        self._drawn = self.random.multinomial(self._groups, chances, size=draws).astype(np.float64)
        self._weights = weights
        self._mass, self._masses = float(weights.sum()), self.sums(np.arange(len(weights)), weights)

    def sums(self, rows: Places, values: Doubles) -> Doubles:
        """Return the sum of some rows' values in each draw: float64 (draws,)."""
        drawn: Doubles = self._drawn @ np.bincount(self._group[rows], values, self._groups)
        return drawn

    def mean(self, rows: Places, values: Doubles, weights: Doubles) -> tuple[float, Doubles]:
        """Return the weighted mean of some rows' values, and the mean in each draw.

        A draw without any of these rows says nothing, so it gets the mean of all.
        """
        mean = float((weights * values).sum() / weights.sum())
        mass = self.sums(rows, weights)
        otherwise = np.full(self.draws, mean)
        return mean, np.divide(self.sums(rows, weights * values), mass, out=otherwise, where=mass > 0)

    def mean_of_all(self, values: Doubles) -> tuple[float, Doubles]:
        """Return the weighted mean of a value of all rows, and the mean in each draw."""
        return self.mean(np.arange(len(values)), values, self._weights)

    def share(self, rows: Places) -> tuple[float, Doubles]:
        """Return the share that some rows have of all, and their share in each draw."""
        weights = self._weights[rows]
        return float(weights.sum()) / self._mass, self.sums(rows, weights) / self._masses

    def count(self, rows: Places) -> int:
        """Return how many units some rows belong to."""
        return len(np.unique(self.unit[rows]))


def interval(value: float, drawn: Doubles, units: int) -> Interval:
    """Return the 95% interval of an estimate. `units`: how many the estimate rests on."""
    tail = expanded_tail(units)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def expanded_tail(units: int) -> float:
    """Return the share of draws to leave out at each end: .025 with many units, and less with few.

    Sources: Hesterberg 2015, "expanded percentiles"; the quantile of t is that of Wallace 1959, inverted.
    """
    units, normal = max(2, units), NormalDist()
    freedom = units - 1
    z = normal.inv_cdf(0.975) * (8 * freedom + 3) / (8 * freedom + 1)
    t = math.sqrt(freedom * math.expm1(z * z / freedom))
    return normal.cdf(-t * math.sqrt(units / (units - 1)))
