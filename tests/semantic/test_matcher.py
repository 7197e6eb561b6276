from __future__ import annotations

import numpy as np

from semroute.routing.scoring import prototypes
from semroute.semantic.matcher import Index


def test_the_nearest_of_each_route_is_exact() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(500, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owners = np.sort(chance.integers(20, size=500))
    index = Index(vectors, owners, prototypes(vectors, owners, 20))
    queries = vectors[::50] + np.float32(0.01)
    routes = np.array([chance.permutation(20)[:5] for _ in queries])
    assert len(index) == 500
    for query, probed in zip(queries, routes, strict=True):
        similarities, rows = index.nearest(query, probed.tolist())
        np.testing.assert_array_equal(owners[rows], probed)
        expected = [(vectors[owners == route] @ query).max() for route in probed]
        np.testing.assert_allclose(similarities, expected, rtol=1e-5)
    assert index.nearest(queries[0], [3]) == index.nearest(queries[0], [3])


def test_one_utterance_is_enough() -> None:
    vector = np.eye(1, 8, dtype=np.float32)
    assert Index(vector, np.zeros(1, np.int64), vector).nearest(vector[0], [0]) == ([1.0], [0])
