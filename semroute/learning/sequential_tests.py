"""Intervals and tests that stay valid however often somebody looks at them. Pure functions on numpy arrays.

A usual 95% interval holds for one look. Whoever looks every day and stops at the first difference is wrong far more
often. The intervals here are confidence sequences: with the stated probability they hold at all looks together.

- `half_width`: the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
  central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, theorem 2.2.
- `quantile`: the same sequence for the share of values below a quantile, turned into an interval of values (Woodruff,
  "Confidence intervals for medians and other position measures", JASA 1952; for sequences Howard and Ramdas,
  "Sequential estimation of quantiles", Bernoulli 2022).
- `mismatch`: the Bayes factor of Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.

The requests of one user are alike. So all variances are those of sums by cluster of users, not of single requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

TUNED_FOR = 5000.0
"""The number of requests at which intervals are narrowest, compared with those for a single look. It must not depend on
the data. The intervals are valid at all other numbers, too."""
LEAST_CLUSTERS = 20
"""With fewer groups of users, variances are not known well enough to say anything."""
PRIOR_UNITS = 100.0
"""How many units the prior of `mismatch` counts as: with more, it is more sensitive to small differences."""


class Estimate(NamedTuple):
    """Estimates of one figure, one for each leading index of the arrays that they were made from."""

    value: Numbers
    """NaN: there are no requests."""
    error: Numbers
    """The standard error. NaN: there are too few clusters."""
    n: Numbers
    """How many requests count."""
    clusters: Numbers
    """How many clusters of users these are from."""


def ratio(amounts: Numbers, counts: Numbers, *, is_bounded: bool = False) -> Estimate:
    """Estimate the amount for each request: the sum of amounts, divided by the sum of counts.

    `amounts`, `counts`: (…, clusters), the sums of each cluster of users. `is_bounded`: each request has an amount from
    0 to 1. The variance then counts one more request with each of the two, so that it is never 0. A cluster that is
    a large part of all pulls the estimate toward itself, and so looks closer to it than it is; its distance counts more
    for that (the jackknife, or HC3: MacKinnon and White, Journal of Econometrics 29, 1985).
    """
    n, clusters = counts.sum(-1), np.asarray((counts > 0).sum(-1), np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = amounts.sum(-1) / n
        part = np.minimum(counts / n[..., None], 0.99)
        rest = (amounts - value[..., None] * counts) / (1 - part)
        squares = np.square(rest).sum(-1)
        if is_bounded:
            squares = squares + np.square(value) + np.square(1 - value)
        variance = squares / np.square(n)
    error = np.where(clusters >= LEAST_CLUSTERS, np.sqrt(variance), np.nan)
    return Estimate(value, error, n, clusters)


def half_width(error: Numbers, n: Numbers, freedom: Numbers, alpha: float, tuned_for: float = TUNED_FOR) -> Numbers:
    """Return half the width of an interval that holds at all looks together with probability 1 - alpha.

    `error`: the standard error at this look. `n`: how many requests it is made from. `freedom`: the degrees of freedom
    of the standard error. The fewer they are, the wider is the interval, by the first term of Fisher's expansion of
    Student's t. `tuned_for`: see `TUNED_FOR`.
    """
    spent = -2 * math.log(alpha)
    scaled = np.maximum(n, 1.0) * (spent + math.log(spent + 1)) / tuned_for
    squared = (1 + 1 / scaled) * (np.log1p(scaled) + spent)
    found: Numbers = error * np.sqrt(squared) * (1 + (squared + 1) / (4 * np.maximum(freedom, 1.0)))
    return found


class Contrast(NamedTuple):
    """An arm compared with the control arm."""

    difference: Numbers
    half_width: Numbers
    """NaN: nothing can be said yet."""

    @property
    def low(self) -> Numbers:
        """Return the lower end of the interval."""
        return self.difference - self.half_width

    @property
    def high(self) -> Numbers:
        """Return the upper end of the interval."""
        return self.difference + self.half_width

    @property
    def is_real(self) -> NDArray[np.bool_]:
        """Return whether the interval excludes 0."""
        return np.abs(self.difference) > self.half_width


def contrast(
    arm: Estimate, control: Estimate, alpha: float, *, times: float = 1.0, tuned_for: float = TUNED_FOR
) -> Contrast:
    """Compare an arm with `times` the control arm. The degrees of freedom are Welch's.

    Two arms of unequal size count as two equal ones that say as much.
    """
    of_arm, of_control = np.square(arm.error), np.square(times * control.error)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.square(of_arm + of_control) / (
            np.square(of_arm) / (arm.clusters - 1) + np.square(of_control) / (control.clusters - 1)
        )
        n = 4 * arm.n * control.n / (arm.n + control.n)
    # All requests of an arm may cost the same.
    freedom = np.where(np.isnan(freedom), np.minimum(arm.clusters, control.clusters) - 1, freedom)
    wide = half_width(np.sqrt(of_arm + of_control), n, freedom, alpha, tuned_for)
    return Contrast(arm.value - times * control.value, wide)


class Quantile(NamedTuple):
    """A quantile of the values of one arm, and its interval."""

    value: float
    low: float
    high: float
    """Infinite: there are too few values."""

    def relative_to(self, control: Quantile) -> Quantile:
        """Return how much larger this is than the quantile of the control arm, as a part of that: 0.1 is 10% more."""
        return Quantile(
            self.value / control.value - 1,
            self.low / control.high - 1,
            self.high / control.low - 1 if control.low > 0 else math.inf,
        )


def quantile_of(edges: Numbers, counts: Numbers, share: float) -> float:
    """Return a quantile of values that are counted in buckets. `edges`: the upper bound of each bucket."""
    if share >= 1:
        return math.inf
    place = int(np.searchsorted(np.cumsum(counts), max(share, 0.0) * counts.sum()))
    return float(edges[min(place, len(edges) - 1)])


def quantile(
    edges: Numbers, counts: Numbers, above: Estimate, share: float, alpha: float, tuned_for: float = TUNED_FOR
) -> Quantile:
    """Return a quantile and the interval that holds at all looks together.

    `above`: the share of values above the quantile, as estimated by `ratio`.
    """
    wide = float(half_width(above.error, above.n, above.clusters - 1, alpha, tuned_for))
    if math.isnan(wide):
        return Quantile(quantile_of(edges, counts, share), 0.0, math.inf)
    values = [quantile_of(edges, counts, at) for at in (share, share - wide, share + wide)]
    return Quantile(*values)


def mismatch(units: Sequence[int], weights: Sequence[float]) -> float:
    """Return the logarithm of how much more likely the counts of units are if the arms do not get their shares.

    If they do get them, it reaches log(1 / p) at any time with probability p at most. `weights`: above 0.
    """
    total, all_units = sum(weights), sum(units)
    found = math.lgamma(PRIOR_UNITS) - math.lgamma(PRIOR_UNITS + all_units)
    for n, weight in zip(units, weights, strict=True):
        share = weight / total
        found += math.lgamma(PRIOR_UNITS * share + n) - math.lgamma(PRIOR_UNITS * share) - n * math.log(share)
    return found
