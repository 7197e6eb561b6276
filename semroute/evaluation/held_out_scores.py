"""Score utterances by routes that were made without them.

Pure: arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

BLOCK = 1024
"""How many rows are compared at once. With 15,000 utterances, this takes 60 MB."""


def similarities(vectors: Floats) -> Iterator[tuple[int, Floats]]:
    """Compare each row with all rows, in blocks. Yield the number of the first row and float32 (block, n).

    A row has similarity -1 to itself. `vectors`: float32 (n, dim), L2-normalised.
    """
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -1
        yield start, block


def nearest_by_route(vectors: Floats, owners: Rows) -> tuple[Floats, Rows]:
    """Find the nearest other utterance of each row in each route: similarity (float32) and row (int64), (n, routes).

    `owners`: int64 (n,), the route of each row, ascending and without gaps from 0. If a route holds only the row
    itself, the similarity is -1.
    """
    starts = _starts(owners)
    ends = np.append(starts[1:], len(owners))
    nearest = np.empty((len(vectors), len(starts)), dtype=np.float32)
    places = np.empty((len(vectors), len(starts)), dtype=np.int64)
    for first, block in similarities(vectors):
        rows = slice(first, first + len(block))
        for route, (start, end) in enumerate(zip(starts, ends, strict=True)):
            best = block[:, start:end].argmax(axis=1)
            places[rows, route] = start + best
            nearest[rows, route] = block[np.arange(len(block)), start + best]
    return nearest, places


def prototype_similarities(vectors: Floats, owners: Rows) -> Floats:
    """Compare each row with the mean direction of each route's other utterances: float32 (n, routes).

    The similarity is -1 if there are no other utterances.
    """
    sums = np.add.reduceat(vectors, _starts(owners), axis=0)
    products = vectors @ sums.T
    norms = np.linalg.norm(sums, axis=1)[None, :].repeat(len(vectors), axis=0)
    rows = np.arange(len(vectors))
    # Take a unit vector v out of its own route's sum: v·(s - v) = v·s - 1, and |s - v|² = |s|² - 2 v·s + 1.
    own = products[rows, owners]
    norms[rows, owners] = np.sqrt(np.maximum(norms[rows, owners] ** 2 - 2 * own + 1, 0))
    products[rows, owners] = own - 1
    alone = norms < 1e-3
    return np.where(alone, -1, products / np.where(alone, 1, norms)).astype(np.float32)


def cross_fitted(vectors: Floats, owners: Rows) -> Floats:
    """Return how much each utterance looks like each route: float32 (n, routes). Its own route is judged without it.

    It is the mean of two similarities: to the nearest utterance, and to the mean direction. Arguments as in
    `nearest_by_route`.
    """
    nearest, _ = nearest_by_route(vectors, owners)
    return np.asarray((nearest + prototype_similarities(vectors, owners)) / 2, dtype=np.float32)


def _starts(owners: Rows) -> Rows:
    return np.flatnonzero(np.diff(owners, prepend=-1))
