"""Watch a stream of requests for drift: a new topic, or prompts that the routes know less well.

Each request costs the sum of a vector. After each block of requests, the mean of the block is compared with that of
reference requests by Hotelling's T² in the reference's main directions, and the mean in-scope score by its z. Each
figure runs into a cumulative sum (CUSUM, Page 1954), which forgets small differences and adds up lasting ones. The
alarm rings when one of the sums is too high.

Memory stays the same however long the stream is. The class reads no clock and no log of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from semroute.bases import Frozen
from semroute.errors import RequestError
from semroute.routing.scoring import Doubles, Floats

LEAST_REFERENCE = 2000
"""The fewest reference requests. One half tells what is usual, the other how much that varies."""
BLOCK = 200
DIRECTIONS = 96
DRAWN = 400
"""How many blocks are drawn from the reference to see how much their distances vary."""
SLACK, LIMIT = 1.0, 8.0
"""A block adds its figure, in standard deviations, less `SLACK`. The alarm rings above `LIMIT`. The slack must be more
than the reference may be off by. With .5, it rang every 10,000 requests after a reference of 5,000 that was a little
off."""

What = Literal["prompts", "in_scope"]


class Alarm(Frozen, frozen=True, kw_only=True):
    """Something moved."""

    what: What
    """`prompts`: what people ask. `in_scope`: how well the routes know it."""
    at: float
    """When it was noticed, by the clock."""
    since: float
    """When the sum began to rise, by the clock: about when the drift began."""
    requests: int
    """How many requests came since then."""
    height: float
    """How high the sum is."""


class DriftAlarm:
    """Compares a stream with reference requests. Not safe to share among threads."""

    def __init__(self, reference: Floats, in_scope: Doubles, clock: Callable[[], float], seed: int = 0) -> None:
        """`reference`: the vectors of reference requests, float32 (n, dim). `in_scope`: their scores, float64 (n,).

        Raises `RequestError` if they are too few.
        """
        if len(reference) < LEAST_REFERENCE:
            raise RequestError(
                f"got {len(reference)} reference requests, expected at least {LEAST_REFERENCE}: "
                f"{LEAST_REFERENCE - len(reference)} more"
            )
        order = np.random.default_rng(seed).permutation(len(reference))
        usual, others = order[: len(order) // 2], order[len(order) // 2 :]
        self._mean = reference[usual].mean(axis=0, dtype=np.float64)
        spread = np.cov(reference[usual] - self._mean, rowvar=False, dtype=np.float64)
        variances, directions = np.linalg.eigh(spread)
        kept = slice(-min(DIRECTIONS, len(variances)), None)
        self._directions = directions[:, kept] / np.sqrt(np.maximum(variances[kept], 1e-9))
        random = np.random.default_rng(seed + 1)
        means = np.array([reference[random.choice(others, BLOCK)].mean(axis=0) for _ in range(DRAWN)])
        distances = self._distance(means)
        self._middle = np.array([distances.mean(), in_scope.mean()])
        self._spread = np.maximum([distances.std(), in_scope.std() / math.sqrt(BLOCK)], 1e-9)
        self._clock = clock
        self._sums = {"prompts": _Sum(), "in_scope": _Sum()}
        self._reset_block()

    def _distance(self, means: Doubles) -> Doubles:
        """Return T² of means of blocks, by `BLOCK`. Its root grows in proportion to the drift."""
        return np.asarray(np.sqrt(np.square((means - self._mean) @ self._directions).sum(axis=-1)), np.float64)

    def _reset_block(self) -> None:
        self._count, self._scores = 0, 0.0
        self._vectors = np.zeros(len(self._mean))

    def observe(self, vector: Floats, in_scope: float) -> Alarm | None:
        """Take in a request. `vector`: float32 (dim,). Returns an alarm if it rings now. Then the sums begin anew."""
        self._vectors += vector
        self._scores += in_scope
        self._count += 1
        return self._end_block() if self._count == BLOCK else None

    def _end_block(self) -> Alarm | None:
        figures = np.array([float(self._distance(self._vectors / BLOCK)), self._scores / BLOCK])
        self._reset_block()
        far, score = (figures - self._middle) / self._spread
        now, rung = self._clock(), None
        for what, value in (("prompts", float(far)), ("in_scope", -float(score))):
            one = self._sums[what]
            one.add(value, now)
            if one.height > LIMIT and rung is None and math.isfinite(one.height):
                rung = Alarm(
                    what="prompts" if what == "prompts" else "in_scope",
                    at=now,
                    since=one.since,
                    requests=one.blocks * BLOCK,
                    height=round(one.height, 1),
                )
        if rung is not None:
            self._sums = {what: _Sum() for what in self._sums}
        return rung


class _Sum:
    """A cumulative sum that never falls below 0."""

    def __init__(self) -> None:
        self.height = 0.0
        self.since = 0.0
        self.blocks = 0

    def add(self, value: float, now: float) -> None:
        if self.height == 0:
            self.since, self.blocks = now, 0
        self.height = max(0.0, self.height + value - SLACK)
        self.blocks += 1
