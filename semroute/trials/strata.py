"""Draw a share of the requests so that rare ones are drawn too. Pure.

Requests are grouped into strata, such as by route and tier. A stratum of n requests gets samples in proportion to the
square root of n, which lies between "in proportion to n" (rare strata get nothing) and "the same number for each"
(common strata get little). Source: power allocation, Bankier 1988, with the power 1/2. All strata together get the
share that was asked for. Whoever estimates something from samples divides by the probability with which each was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

EVERY = 256
"""The probabilities are worked out anew at least after so many requests. At the beginning that is more often."""
REMEMBERED = 20_000.0
"""When so many requests are counted, all counts are halved. So strata that became rare are drawn more again."""
Stratum = TypeVar("Stratum", bound=Hashable)


class Strata(Generic[Stratum]):
    """Knows how common each stratum is, and with what probability its requests are drawn."""

    def __init__(self) -> None:
        self._counts: dict[Stratum, float] = {}
        self._chances: dict[Stratum, float] = {}
        self._share = -1.0
        self._left = 0

    def chance(self, stratum: Stratum, share: float) -> float:
        """Count one request, and return the probability with which it is to be drawn. `share`: that of all requests."""
        counts = self._counts
        counts[stratum] = counts.get(stratum, 0.0) + 1.0
        self._left -= 1
        if self._left <= 0 or stratum not in self._chances or share != self._share:
            self._work_out(share)
        return self._chances[stratum]

    def _work_out(self, share: float) -> None:
        counted = sum(self._counts.values())
        self._share, self._left = share, min(EVERY, int(counted / 16))
        self._chances = chances(self._counts, share)
        if counted >= REMEMBERED:
            self._counts = {stratum: n / 2 for stratum, n in self._counts.items() if n >= 1}


def chances(counts: dict[Stratum, float], share: float) -> dict[Stratum, float]:
    """Return the probability for each stratum. `counts`: its requests; all are more than 0.

    The expected number of samples is `share` of all requests. A stratum that would get more samples than it has
    requests is drawn as a whole, and the other strata share what it leaves.
    """
    found: dict[Stratum, float] = {}
    wanted = share * sum(counts.values())
    roots = sum(map(math.sqrt, counts.values()))
    for stratum, n in sorted(counts.items(), key=lambda item: item[1]):  # those that are drawn as a whole come first
        found[stratum] = min(1.0, max(0.0, wanted) / (roots * math.sqrt(n)))
        wanted -= found[stratum] * n
        roots -= math.sqrt(n)
    return found
