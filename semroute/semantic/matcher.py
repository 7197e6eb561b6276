"""Compare one prompt with the routes: the arithmetic of `routing/scoring.py` in as few steps as possible.

After the encoder has run, the processor's caches hold none of the data that this needs. An array operation then takes
ten to twenty microseconds, however small the array is. So small data are plain numbers here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np

from semroute.routing.scoring import NO_RIVAL, PROBED, Floats, Head, Ints


class Near(NamedTuple):
    """One of the best routes."""

    route: int
    share: float
    """The route's share of what is in scope."""
    similarity: float
    """Cosine with its nearest utterance."""
    utterance: int
    """The row number of that utterance."""


class RouteScores(NamedTuple):
    """How a prompt compares with the routes."""

    in_scope: float
    """How likely it belongs to any route."""
    nearest: list[Near]
    """Best route first."""
    confidences: Floats
    """The confidence in every route: float32 (routes,)."""


class Matcher:
    """Compares prompts with the routes. Safe to share among threads."""

    def __init__(self, head: Head, vectors: Floats, owners: Ints) -> None:
        """`vectors`: of the utterances, float32 (n, dim), L2-normalised; `owners`: int64 (n,), the route of each."""
        self._head = head
        self._rivals = np.ascontiguousarray(head.rivals[:-1])
        self._rival_offsets = head.rivals[-1]
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
            self._explained(vector),
        )
        *weights, intercept = self._gate
        log_odds = sum(weight * one for weight, one in zip(weights, evidence, strict=True)) + intercept
        in_scope = 1 / (1 + math.exp(min(-log_odds, 500)))
        logits *= self._coldness
        shares = np.exp(logits, out=logits)
        shares /= np.add.reduce(shares)
        each = zip(routes, shares[routes].tolist(), similarities, utterances, strict=True)
        return RouteScores(in_scope, [Near(*near) for near in each], shares * np.float32(in_scope))

    def _explained(self, vector: Floats) -> float:
        """Return how well the rivals explain a prompt: the log-sum-exp of their logits."""
        if not len(self._rival_offsets):
            return NO_RIVAL
        logits = vector @ self._rivals
        logits += self._rival_offsets
        largest = float(np.maximum.reduce(logits))
        logits -= np.float32(largest)
        return largest + math.log(np.add.reduce(np.exp(logits, out=logits)))


def _largest(logits: Floats, count: int) -> list[int]:
    """Return the places of the largest values, the largest first. If two are equal, the earlier place comes first."""
    values, places = logits.tolist(), []
    for _ in range(min(count, len(values))):
        place = values.index(max(values))
        values[place] = -math.inf
        places.append(place)
    return places


class Index:
    """Finds the nearest utterance of given routes. Safe to read from many threads.

    It is an inverted file of FAISS whose cells are the routes. The head names the few routes that a prompt may belong
    to, and only the utterances of these are compared. For these routes the result is exact. Among 15,000 utterances of
    150 routes this takes a tenth of the time of a flat index.
    """

    def __init__(self, vectors: Floats, owners: Ints, prototypes: Floats) -> None:
        """`vectors`: float32 (n, dim), L2-normalised; `owners`: int64 (n,), the route of each; `prototypes`: float32
        (routes, dim), the middle of each cell.
        """
        # One query is too little work to share among threads, and a server needs its threads for other requests.
        faiss.omp_set_num_threads(1)
        routes, dim = prototypes.shape
        self._cells = faiss.IndexFlatIP(dim)
        self._cells.add(np.ascontiguousarray(prototypes))
        # faiss's stubs have the C++ signatures, which its Python side replaces.
        self._index: Any = faiss.IndexIVFFlat(self._cells, dim, routes, faiss.METRIC_INNER_PRODUCT)
        vectors, owners = np.ascontiguousarray(vectors), np.ascontiguousarray(owners)
        self._local = threading.local()
        self._index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(owners))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, query: Floats, routes: Sequence[int]) -> tuple[list[float], list[int]]:
        """Return the utterance of each given route that is nearest to a query: cosine similarities, and row numbers.

        `query`: float32 (dim,), L2-normalised. `routes`: at least one.
        """
        scratch: _Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None or scratch.size != len(routes):
            scratch = self._local.scratch = _Scratch(len(routes), self._index.d)
        scratch.queries[:] = query
        scratch.cells[:] = routes
        queries, cells, to_cells, similarities, rows = scratch.pointers
        self._index.search_preassigned_c(scratch.size, queries, 1, cells, to_cells, similarities, rows, False)
        return scratch.similarities.tolist(), scratch.rows.tolist()


class _Scratch:
    """The memory that FAISS reads and writes in a search: one query for each route searched. FAISS's Python side is
    left
    out: it checks its arguments, which takes as long as comparing 100 utterances.
    """

    def __init__(self, size: int, dim: int) -> None:
        self.size = size
        self.queries = np.empty((size, dim), np.float32)
        self.cells = np.empty(size, np.int64)
        self.similarities = np.empty(size, np.float32)
        self.rows = np.empty(size, np.int64)
        self._to_cells = np.zeros(size, np.float32)
        arrays = (self.queries, self.cells, self._to_cells, self.similarities, self.rows)
        self.pointers = tuple(faiss.swig_ptr(array) for array in arrays)
