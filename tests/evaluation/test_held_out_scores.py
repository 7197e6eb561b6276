from __future__ import annotations

import numpy as np
import pytest

from semroute.evaluation import held_out_scores
from semroute.evaluation.held_out_scores import Floats, Rows, cross_fitted, nearest_by_route, prototype_similarities


def unit(rows: int, dim: int = 8, seed: int = 1) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


OWNERS: Rows = np.array([0, 0, 0, 1, 1, 2], dtype=np.int64)


def test_the_nearest_is_never_the_row_itself() -> None:
    vectors = unit(6)
    nearest, places = nearest_by_route(vectors, OWNERS)
    for row in range(6):
        for route in range(3):
            others = [other for other in range(6) if OWNERS[other] == route and other != row]
            expected = max((float(vectors[row] @ vectors[other]) for other in others), default=-1)
            assert nearest[row, route] == pytest.approx(expected, abs=1e-6)
            assert not others or places[row, route] in others


def test_a_prototype_is_made_without_the_row() -> None:
    vectors = unit(6)
    scores = prototype_similarities(vectors, OWNERS)
    mean = vectors[[1, 2]].sum(axis=0)
    assert scores[0, 0] == pytest.approx(float(vectors[0] @ mean / np.linalg.norm(mean)), abs=1e-5)
    assert scores[0, 2] == pytest.approx(float(vectors[0] @ vectors[5]), abs=1e-5)
    assert scores[5, 2] == -1  # nothing is left of its route


def test_rows_of_one_kind_are_given_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    centres = np.eye(3, 8, dtype=np.float32)
    noisy = np.repeat(centres, 10, axis=0) + 0.1 * unit(30)
    vectors = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    owners = np.repeat(np.arange(3), 10).astype(np.int64)
    scores = cross_fitted(vectors, owners)
    assert scores.dtype == np.float32
    assert (scores.argmax(axis=1) == owners).all()
    monkeypatch.setattr(held_out_scores, "BLOCK", 7)
    assert np.allclose(cross_fitted(vectors, owners), scores, atol=1e-6)
