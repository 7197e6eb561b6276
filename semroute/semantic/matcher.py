"""One prompt against the routes: the arithmetic of `routing/scoring.py` in as few steps as it takes.

When the encoder has run, the processor's caches hold nothing of what comes next, and an array operation takes ten to
twenty microseconds however small it is. So what there is little of are plain numbers here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from semroute.routing.scoring import PROBED, Floats, Head, Ints
from semroute.semantic.index import Index


class Near(NamedTuple):
    """One of the best routes."""

    route: int
    share: float
    """Of what is in scope."""
    similarity: float
    """Cosine with its nearest utterance."""
    utterance: int
    """The number of that."""


class RouteScores(NamedTuple):
    """How a prompt compares with the routes."""

    in_scope: float
    """How likely it belongs to any route."""
    nearest: list[Near]
    """Best route first."""
    confidences: Floats
    """In every route: float32 (routes,)."""


class Matcher:
    """Compares prompts with the routes. Safe to share among threads."""

    def __init__(self, head: Head, vectors: Floats, owners: Ints) -> None:
        """`vectors`: of the utterances, float32 (n, dim), L2-normalised; `owners`: int64 (n,), the route of each."""
        self._head = head
        self._index = Index(vectors, owners, head.prototypes)
        self._slopes = np.ascontiguousarray(head.discriminants[:, :-1])
        self._offsets: list[float] = head.discriminants[:, -1].tolist()
        self._gate: list[float] = head.gate.tolist()
        self._coldness = 1 / np.float32(head.temperature[0])

    def compare(self, vector: Floats, tokens: Sequence[int]) -> RouteScores:
        """Compare one prompt: its vector, float32 (dim,), L2-normalised, and its word pieces."""
        logits = self._head.logits(vector[None], (tokens,))[0]
        routes = _largest(logits, PROBED)
        similarities, utterances = self._index.nearest(vector, routes)
        towards: list[float] = (self._slopes[routes] @ vector).tolist()
        largest = float(logits[routes[0]])
        logits -= largest
        evidence = (
            largest,
            largest + math.log(np.add.reduce(np.exp(logits))),
            max(similarities),
            max(slope + self._offsets[route] for slope, route in zip(towards, routes, strict=True)),
        )
        *weights, intercept = self._gate
        in_scope = _sigmoid(sum(weight * one for weight, one in zip(weights, evidence, strict=True)) + intercept)
        logits *= self._coldness
        shares = np.exp(logits, out=logits)
        shares /= np.add.reduce(shares)
        each = zip(routes, shares[routes].tolist(), similarities, utterances, strict=True)
        return RouteScores(in_scope, [Near(*near) for near in each], shares * np.float32(in_scope))


def _largest(logits: Floats, count: int) -> list[int]:
    """Where the largest are, the largest first; of equal ones, the first."""
    values, places = logits.tolist(), []
    for _ in range(min(count, len(values))):
        place = values.index(max(values))
        values[place] = -math.inf
        places.append(place)
    return places


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(min(-log_odds, 500)))
