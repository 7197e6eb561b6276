"""The utterances as vectors, searchable by route. Exact: inner products of normalised rows are cosine similarities."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from semroute.routing.scoring import Floats, Ints


class Index:
    """Nearest utterances within given routes. Safe to read from many threads.

    A FAISS inverted file whose cells are the routes: the head names the few routes that a prompt may belong to, and
    only their utterances are compared, all of them. For those routes that is as exact as a flat index, at a tenth of
    its time among 15,000 utterances of 150 routes.
    """

    def __init__(self, vectors: Floats, owners: Ints, prototypes: Floats) -> None:
        """`vectors`: float32 (n, dim), L2-normalised; `owners`: int64 (n,), the route of each; `prototypes`: float32
        (routes, dim), the middle of each cell.
        """
        # One query is too little work to share among threads, and a server has other use for them.
        faiss.omp_set_num_threads(1)
        routes, dim = prototypes.shape
        self._cells = faiss.IndexFlatIP(dim)
        self._cells.add(np.ascontiguousarray(prototypes))
        # faiss's stubs give the C++ signatures of what its Python side replaces.
        self._index: Any = faiss.IndexIVFFlat(self._cells, dim, routes, faiss.METRIC_INNER_PRODUCT)
        vectors, owners = np.ascontiguousarray(vectors), np.ascontiguousarray(owners)
        self._local = threading.local()
        self._index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(owners))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, query: Floats, routes: Sequence[int]) -> tuple[list[float], list[int]]:
        """The utterance of each given route that is nearest to a query: cosine similarities, and row numbers.

        `query`: float32 (dim,), L2-normalised; `routes`: one at least.
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
    """What FAISS reads and writes in a search: one query for each route that is looked into.

    What its Python side does is to check its arguments, which takes as long as comparing 100 utterances.
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
