"""Which arm of an experiment a unit belongs to: a pure function of names and weights, the same in every process.

Weighted rendezvous hashing: each arm draws a number for the unit, and the smallest number, divided by the weight, wins.
(Thaler & Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 1998; with
weights: Schindelhauer & Schomaker, "Weighted distributed hash tables", SPAA 2005.)

Nothing is stored, and yet few units move when weights change. If one weight changes, or an arm is added or removed,
only units that enter or leave that arm move: exactly the share by which it grows or shrinks. If several weights change
at once and the shares of d of the units must move, at most 2d / (1 + d) do. No rule without a memory is better in
general (Bavarian et al., "Optimality of correlated sampling strategies", Theory of Computing 2020).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

_SPAN = 2.0**64


def arm_of(experiment: str, unit: str, weights: Mapping[str, float]) -> str:
    """Return the arm of a unit. `weights`: by arm; at least one is above 0. Only their proportions count."""
    return min(
        (arm for arm, weight in weights.items() if weight > 0),
        key=lambda arm: -math.log(_drawn(experiment, arm, unit)) / weights[arm],
    )


def _drawn(experiment: str, arm: str, unit: str) -> float:
    """Return a number between 0 and 1 that looks random, but is always the same for these names."""
    names = "\0".join((experiment, arm, unit)).encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(names, digest_size=8).digest()) + 0.5) / _SPAN
