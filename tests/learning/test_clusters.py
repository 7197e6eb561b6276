"""Groups of vectors that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from semroute.learning.clusters import MOST, centrality, group, varied
from semroute.routing.scoring import Doubles, Floats


def unit(vectors: Doubles) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def blobs(sizes: tuple[int, ...], spread: float, dim: int = 64, seed: int = 0) -> tuple[Floats, list[int]]:
    random = np.random.default_rng(seed)
    middles = np.repeat(unit(random.normal(size=(len(sizes), dim))), sizes, axis=0)
    return unit(middles + spread * random.normal(size=middles.shape)), np.repeat(range(len(sizes)), sizes).tolist()


def test_vectors_that_are_alike_come_together() -> None:
    vectors, owners = blobs((7, 12, 3), 0.05)
    order = np.random.default_rng(1).permutation(len(vectors))
    found = group(vectors[order], 0.6)
    assert [len(members) for members in found] == [12, 7, 3]
    assert [len({owners[order[row]] for row in members}) for members in found] == [1, 1, 1]
    assert sorted(row for members in found for row in members) == list(range(22))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [0.05, 0.2, 0.5])
def test_no_two_groups_are_as_alike_as_the_limit(seed: int, least: float) -> None:
    """This is what average linkage promises, checked pair by pair on vectors without any structure."""
    vectors = unit(np.random.default_rng(seed).normal(size=(80, 6)))
    found = group(vectors, least)
    between = [vectors[a] @ vectors[b].T for n, a in enumerate(found) for b in found[:n]]
    assert len(found) > 1
    assert max(float(pairs.mean()) for pairs in between) < least


def test_one_vector_none_and_too_many() -> None:
    assert group(np.empty((0, 3), np.float32), 0.5) == []
    assert [members.tolist() for members in group(unit(np.ones((1, 3))), 0.5)] == [[0]]
    with pytest.raises(ValueError, match=f"got {MOST + 1} vectors"):
        group(np.ones((MOST + 1, 1), np.float32), 0.5)


def test_the_chosen_members_vary_and_leave_out_the_stranger() -> None:
    vectors, _ = blobs((8,), 0.05)
    stranger = unit(np.random.default_rng(9).normal(size=(1, 64)))
    together = np.vstack((vectors, stranger))
    assert int(centrality(together).argmin()) == 8
    chosen = varied(together, 5)
    assert len(set(chosen)) == 5
    assert 8 not in chosen
    assert chosen[0] == int(centrality(together).argmax())
    assert len(varied(together, 100)) == 7
    assert varied(vectors[:1], 3) == [0]
