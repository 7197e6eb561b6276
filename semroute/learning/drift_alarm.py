"""Watch a stream of requests for drift: a new topic, or prompts that the routes know less well.

Each request costs the sum of a vector. After each block of requests, the mean of the block is compared with that of
reference requests by Hotelling's T² in the reference's main directions, and the mean in-scope score by its z. Each
figure runs into a cumulative sum (CUSUM, Page 1954), which forgets small differences and adds up lasting ones. The
alarm rings when a sum is too high.

Memory stays the same however long the stream is. Nothing here reads a clock or a log. What the alarm knows can be
packed, so that another process goes on with it.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
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
FIGURES: tuple[What, ...] = ("prompts", "in_scope")


class Alarm(Frozen, frozen=True, kw_only=True):
    """Something moved."""

    what: What
    """`prompts`: what people ask. `in_scope`: how well the routes know it."""
    at: float
    """When the request came with which it was noticed."""
    since: float
    """When the sum began to rise: about when the drift began."""
    requests: int
    """How many requests came since then."""
    height: float
    """How high the sum is."""


class Sum(Frozen, frozen=True, kw_only=True):
    """A cumulative sum that never falls below 0."""

    height: float = 0.0
    since: float = 0.0
    blocks: int = 0

    def plus(self, value: float, at: float) -> Sum:
        """Return the sum after one more block."""
        height = max(0.0, self.height + value - SLACK)
        begins = self.height == 0
        return Sum(height=height, since=at if begins else self.since, blocks=1 if begins else self.blocks + 1)


class DriftProgress(Frozen, frozen=True, kw_only=True):
    """How far an alarm has come: its sums, and the block that is not full yet."""

    sums: dict[What, Sum] = {}
    count: int = 0
    scores: float = 0.0
    vectors: bytes = b""
    """The sum of the vectors: float64, little-endian. Empty: zeros."""


class _Packed(Frozen, frozen=True, kw_only=True):
    mean: bytes
    directions: bytes
    middle: tuple[float, float]
    spread: tuple[float, float]


class DriftReference:
    """What is usual, as learned from reference requests."""

    def __init__(self, mean: Doubles, directions: Doubles, middle: Doubles, spread: Doubles) -> None:
        """`mean`: of the vectors (dim,). `directions`: (dim, n), each divided by its standard deviation.

        `middle` and `spread`: the mean and the standard deviation of each of `FIGURES`, as a block has them.
        """
        self.mean, self.middle, self.spread = mean, middle, spread
        self._directions = directions

    @classmethod
    def of(cls, vectors: Floats, in_scope: Doubles, seed: int = 0) -> DriftReference:
        """Learn from reference requests: their vectors, float32 (n, dim), and their in-scope scores, float64 (n,).

        Raises `RequestError` if they are too few.
        """
        if len(vectors) < LEAST_REFERENCE:
            raise RequestError(
                f"got {len(vectors)} reference requests, expected at least {LEAST_REFERENCE}: "
                f"{LEAST_REFERENCE - len(vectors)} more"
            )
        order = np.random.default_rng(seed).permutation(len(vectors))
        usual, others = order[: len(order) // 2], order[len(order) // 2 :]
        mean = vectors[usual].mean(axis=0, dtype=np.float64)
        spread = np.cov(vectors[usual] - mean, rowvar=False, dtype=np.float64)
        variances, directions = np.linalg.eigh(spread)
        kept = slice(-min(DIRECTIONS, len(variances)), None)
        scaled = directions[:, kept] / np.sqrt(np.maximum(variances[kept], 1e-9))
        random = np.random.default_rng(seed + 1)
        means = np.array([vectors[random.choice(others, BLOCK)].mean(axis=0) for _ in range(DRAWN)])
        distances = _distance(means - mean, scaled)
        return cls(
            mean,
            scaled,
            np.array([distances.mean(), in_scope.mean()]),
            np.maximum([distances.std(), in_scope.std() / math.sqrt(BLOCK)], 1e-9),
        )

    def figures(self, mean: Doubles, in_scope: float) -> dict[What, float]:
        """Return how unusual a block is, in standard deviations, by its mean vector and its mean in-scope score."""
        distance = float(_distance(mean - self.mean, self._directions))
        far, score = (np.array([distance, in_scope]) - self.middle) / self.spread
        return {"prompts": float(far), "in_scope": -float(score)}

    def pack(self) -> bytes:
        """Return it as bytes."""
        low, high = map(float, self.middle)
        first, second = map(float, self.spread)
        packed = _Packed(
            mean=self.mean.astype("<f8").tobytes(),
            directions=self._directions.astype("<f4").tobytes(),
            middle=(low, high),
            spread=(first, second),
        )
        return msgspec.msgpack.encode(packed)

    @classmethod
    def unpack(cls, data: bytes) -> DriftReference:
        """Return what `pack` made. Raises `msgspec.MsgspecError` or `ValueError` if it is something else."""
        packed = msgspec.msgpack.decode(data, type=_Packed)
        mean = np.frombuffer(packed.mean, "<f8")
        directions = np.frombuffer(packed.directions, "<f4").reshape(len(mean), -1).astype(np.float64)
        return cls(mean, directions, np.array(packed.middle), np.array(packed.spread))


def _distance(means: Doubles, directions: Doubles) -> Doubles:
    """Return the root of T² of means of blocks, by `BLOCK`. It grows in proportion to the drift."""
    return np.asarray(np.sqrt(np.square(means @ directions).sum(axis=-1)), np.float64)


class DriftAlarm:
    """Compares a stream with reference requests. Not safe to share among threads."""

    def __init__(self, reference: DriftReference, progress: DriftProgress | None = None) -> None:
        """`progress`: how far another alarm came. None: the stream begins."""
        self._reference = reference
        progress = progress or DriftProgress()
        self._sums = {what: progress.sums.get(what, Sum()) for what in FIGURES}
        self._count, self._scores = progress.count, progress.scores
        self._vectors = (
            np.frombuffer(progress.vectors, "<f8").copy() if progress.vectors else np.zeros(len(reference.mean))
        )

    @property
    def progress(self) -> DriftProgress:
        """Return how far it has come."""
        vectors = self._vectors.astype("<f8").tobytes()
        return DriftProgress(sums=dict(self._sums), count=self._count, scores=float(self._scores), vectors=vectors)

    def observe(self, vector: Floats, in_scope: float, at: float) -> tuple[Alarm, ...]:
        """Take in a request: its vector, float32 (dim,), and when it came. Returns the alarms that ring now.

        The sum of an alarm that rang begins anew.
        """
        self._vectors += vector
        self._scores += in_scope
        self._count += 1
        return self._end_block(at) if self._count == BLOCK else ()

    def _end_block(self, at: float) -> tuple[Alarm, ...]:
        figures = self._reference.figures(self._vectors / BLOCK, self._scores / BLOCK)
        self._count, self._scores = 0, 0.0
        self._vectors = np.zeros(len(self._reference.mean))
        rung: list[Alarm] = []
        for what, value in figures.items():
            if not math.isfinite(value):
                continue
            one = self._sums[what] = self._sums[what].plus(value, at)
            if one.height > LIMIT:
                height, requests = round(one.height, 1), one.blocks * BLOCK
                rung.append(Alarm(what=what, at=at, since=one.since, requests=requests, height=height))
                self._sums[what] = Sum()
        return tuple(rung)
