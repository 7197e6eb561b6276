"""From similarities to confidences. Pure: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TEMPERATURE = 0.05
"""How sharply the routes compete: a lead of one temperature makes a route 2.7 times as likely as the next."""
IN_SCOPE_SIMILARITY = 0.42
"""Evidence at which a prompt is as likely to belong to some route as to none."""
IN_SCOPE_WIDTH = 0.06


def prototypes(vectors: Floats, owners: NDArray[np.int64], routes: int) -> Floats:
    """The mean direction of each route's utterances: float32 (routes, dim), L2-normalised.

    `vectors` is float32 (n, dim), L2-normalised; `owners` int64 (n,), the route of each row.
    """
    sums = np.zeros((routes, vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, owners, vectors)
    norms: Floats = np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)
    return np.divide(sums, norms, dtype=np.float32)


def confidences(
    prototype_similarities: Floats, neighbour_similarities: Floats, neighbour_owners: NDArray[np.int64]
) -> Floats:
    """How likely it is that a prompt belongs to each route: float32 (routes,), each 0 to 1, at most 1 together.

    A route's evidence is the mean of its prototype's similarity and its nearest utterance's. The routes share one
    probability by softmax; the best evidence says how much of it there is to share, since a prompt may belong to none.

    `prototype_similarities` is float32 (routes,); the neighbours are float32 (k,) and int64 (k,), best first.
    """
    nearest = prototype_similarities.copy()
    np.maximum.at(nearest, neighbour_owners, neighbour_similarities)
    evidence = (prototype_similarities + nearest) / 2
    best = evidence.max()
    shares = np.exp((evidence - best) / TEMPERATURE)
    in_scope = 1 / (1 + np.exp((IN_SCOPE_SIMILARITY - best) / IN_SCOPE_WIDTH))
    shared: Floats = shares * np.float32(in_scope / shares.sum())
    return shared
