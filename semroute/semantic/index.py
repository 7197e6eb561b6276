"""The utterances as vectors, searchable. Exact: FAISS `IndexFlatIP` over normalised rows is cosine similarity."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Index:
    """Nearest-neighbour search among normalised vectors. Safe to read from many threads."""

    def __init__(self, vectors: Floats) -> None:
        """`vectors`: float32 (n, dim), L2-normalised."""
        # One query is too little work to share among threads, and a server has other use for them.
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """The k nearest rows of each query, best first.

        `queries`: float32 (m, dim), L2-normalised. Returns cosine similarities, float32 (m, k), and row numbers,
        int64 (m, k), with k at most the number of rows.
        """
        similarities, rows = self._index.search(np.ascontiguousarray(queries), min(k, len(self)))
        return similarities, rows
