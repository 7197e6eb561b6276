"""Tests of whether two samples come from the same distribution. Pure: arrays in, numbers out.

`p` is the chance of a difference at least as large if nothing differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from semroute.routing.scoring import Doubles, Floats

PERMUTATIONS = 999
_BLOCK = 64


class Difference(NamedTuple):
    """The difference of two samples."""

    effect: float
    """How large it is. The scale is that of the test."""
    p: float


def shares(before: tuple[int, int], after: tuple[int, int]) -> Difference:
    """Compare two shares, each given as (how many, of how many). Effect: the difference of the shares.

    Source: Fisher's exact test, two-sided, up to 1,000 hits in both samples together, else the normal approximation.
    """
    (hits, of), (hits_after, of_after) = before, after
    effect = hits_after / of_after - hits / of
    together, all_ = hits + hits_after, of + of_after
    rare = min(together, all_ - together)
    if rare > 1000:
        share = together / all_
        z = abs(effect) / math.sqrt(share * (1 - share) * (1 / of + 1 / of_after))
        return Difference(effect, math.erfc(z / math.sqrt(2)))
    # The chance of k rare ones in the second sample, if `rare` are dealt at random: hypergeometric.
    met = hits_after if rare == together else of_after - hits_after
    low, high = max(0, rare - of), min(rare, of_after)
    logs = np.array([_log_choose(of_after, k) + _log_choose(of, rare - k) for k in range(low, high + 1)])
    logs -= _log_choose(all_, rare)
    likely = logs <= logs[met - low] + 1e-7
    return Difference(effect, min(1.0, float(np.exp(logs[likely]).sum())))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def distributions(before: Doubles, after: Doubles) -> Difference:
    """Compare two samples of numbers by the Kolmogorov-Smirnov test. Effect: the largest gap of their shares, 0 to 1.

    Source: Smirnov 1939 with the correction of Stephens 1970. With many equal numbers, p is too large.
    """
    levels = np.unique(np.concatenate((before, after)))
    below, below_after = (np.searchsorted(np.sort(some), levels, side="right") / len(some) for some in (before, after))
    gap = float(np.abs(below - below_after).max())
    root = math.sqrt(len(before) * len(after) / (len(before) + len(after)))
    scaled = (root + 0.12 + 0.11 / root) * gap
    if scaled < 0.2:
        return Difference(gap, 1.0)
    terms = [2 * (-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101)]
    return Difference(gap, min(1.0, max(0.0, sum(terms))))


def vectors(before: Floats, after: Floats, seed: int = 0, permutations: int = PERMUTATIONS) -> Difference:
    """Compare two samples of vectors by their energy distance, with permutations.

    Effect: the energy distance as a share of the mean distance between the samples, 0 to 1, less what chance alone
    makes of it. `before`, `after`: float32 (n, dim). Memory grows with the square of all rows together: 2,000 take
    16 MB.

    Source: Székely and Rizzo 2004; the effect is the coefficient H of Rizzo and Székely 2016.
    """
    both = np.concatenate((before, after)).astype(np.float32)
    squares = np.square(both).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * both @ both.T, 0))
    np.fill_diagonal(distance, 0)
    weights = np.concatenate((np.full(len(before), 1 / len(before)), np.full(len(after), -1 / len(after))))
    found = float(-(weights @ distance @ weights))
    between = float(distance[: len(before), len(before) :].mean())
    random = np.random.default_rng(seed)
    larger, total = 0, 0.0
    for start in range(0, permutations, _BLOCK):
        count = min(_BLOCK, permutations - start)
        dealt = random.permuted(np.tile(weights, (count, 1)), axis=1).astype(np.float32)
        by_chance = -np.einsum("ij,ij->i", dealt @ distance, dealt)
        larger, total = larger + int((by_chance >= found).sum()), total + float(by_chance.sum())
    effect = (found - total / permutations) / (2 * between) if between else 0.0
    return Difference(effect, (larger + 1) / (permutations + 1))


def holm(chances: Sequence[float]) -> list[float]:
    """Correct the p of several tests, so that the chance of any false alarm among them is kept (Holm 1979)."""
    order = sorted(range(len(chances)), key=lambda row: chances[row])
    corrected, highest = [0.0] * len(chances), 0.0
    for place, row in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - place) * chances[row]))
        corrected[row] = highest
    return corrected


def change_point(values: Doubles) -> int:
    """Return the row from which on the mean differs most from the mean before it, in standard errors.

    `values`: at least two, in the order of time. The first and the last twentieth are not looked at.
    """
    count = len(values)
    edge = max(1, count // 20)
    places = np.arange(edge, max(edge + 1, count - edge + 1))
    sums = np.cumsum(values)[places - 1]
    before, after = sums / places, (float(np.sum(values)) - sums) / np.maximum(count - places, 1)
    errors = np.sqrt(1 / places + 1 / np.maximum(count - places, 1))
    return int(places[int(np.argmax(np.abs(after - before) / errors))])
