"""Estimate a share or a mean score of all traffic from samples that were drawn with known probabilities. Pure.

Each sample counts for 1/probability requests (Hájek's estimate). The interval is that of Wilson 1927 for a share, at as
many samples as these are worth. They are worth less if their weights differ (Kish 1965), and if the samples of one user
are alike (the linearised variance over units). Wilson's interval also holds where all samples say the same.
"""

from __future__ import annotations

import math

from semroute.bases import Frozen

Z95 = 1.959964
"""Of the normal distribution: 95% lie within so many standard deviations."""
MIN_UNITS = 10
"""With fewer users than this, it cannot be told how alike their requests are. Then each request counts alone."""


class Estimate(Frozen, frozen=True, kw_only=True):
    """A mean of values from 0 to 1, with the interval that holds it with a probability of 95%."""

    n: int
    """How many samples there are."""
    units: int
    """How many users they come from."""
    worth: float
    """As many samples of a simple share, each from another user, would say as much."""
    mean: float
    low: float
    high: float


class WeightedShare:
    """Takes samples one by one. It keeps two numbers for each unit, and none for a sample."""

    def __init__(self) -> None:
        self.n = 0
        self._weight = self._sum = self._squares = 0.0
        self._all = _Deviations()
        self._alone = _Deviations()
        self._lonely = 0
        self._units: dict[str, tuple[float, float]] = {}

    def add(self, value: float, probability: float = 1.0, unit: str = "") -> None:
        """Add a sample of 0 to 1. `probability`: that it was drawn with. `unit`: whose it is. Empty: not known."""
        weight = 1 / probability
        self.n += 1
        self._weight += weight
        self._sum += weight * value
        self._squares += weight * value * value
        self._all.add(weight, value)
        if unit:
            weights, sums = self._units.get(unit, (0.0, 0.0))
            self._units[unit] = weights + weight, sums + weight * value
        else:
            self._lonely += 1
            self._alone.add(weight, value)

    def estimate(self) -> Estimate | None:
        """Return what the samples say of all. None: there are none."""
        if not self.n:
            return None
        mean = min(1.0, max(0.0, self._sum / self._weight))
        kish = self._weight**2 / self._all.weights
        binary = mean * (1 - mean)
        spread = max(0.0, self._squares / self._weight - mean * mean)
        spread = (kish * spread + binary) / (kish + 1)  # a few equal scores do not prove that all are equal
        alone, together = self._all.about(mean), self._between(mean)
        worth = kish * (alone / together if together > alone > 0 else 1.0)
        worth *= binary / spread if binary > 0 and spread > 0 else 1.0
        low, high = wilson(mean, worth)
        units = len(self._units) + self._lonely
        return Estimate(n=self.n, units=units, worth=worth, mean=mean, low=low, high=high)

    def _between(self, mean: float) -> float:
        """Return the sum of the squared deviations of the units."""
        units = len(self._units) + self._lonely
        if units < MIN_UNITS or not self._units:
            return 0.0
        squares = sum((sums - mean * weights) ** 2 for weights, sums in self._units.values())
        return (squares + self._alone.about(mean)) * units / (units - 1)


class _Deviations:
    """The sum of (weight x (value - mean))², for a mean that is only known later."""

    def __init__(self) -> None:
        self.weights = self._products = self._squares = 0.0

    def add(self, weight: float, value: float) -> None:
        self.weights += weight * weight
        self._products += weight * weight * value
        self._squares += (weight * value) ** 2

    def about(self, mean: float) -> float:
        return max(0.0, self._squares - 2 * mean * self._products + mean * mean * self.weights)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the interval of a share of n samples, at 95%."""
    z2 = Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))
