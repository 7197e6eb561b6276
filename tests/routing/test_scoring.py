from __future__ import annotations

import numpy as np
import pytest

from semroute.routing import scoring
from semroute.routing.scoring import LEXICAL_DIM, Head

IDF = np.linspace(1, 4, 100, dtype=np.float32)


def head(routes: int = 3, dim: int = 4) -> Head:
    chance = np.random.default_rng(0)
    return Head(
        projection=chance.normal(size=(dim + 1, routes)).astype(np.float32),
        word_weights=chance.normal(size=(LEXICAL_DIM, routes)).astype(np.float32),
        discriminants=chance.normal(size=(routes, dim + 1)).astype(np.float32),
        prototypes=np.eye(routes, dim, dtype=np.float32),
        idf=IDF,
        rivals=chance.normal(size=(dim + 1, 2)).astype(np.float32),
        gate=np.array([1.0, 0.0, 2.0, 0.0, -0.5, -3.0]),
        temperature=np.ones(1),
        thresholds=np.full(routes, 0.5),
        calibrated_on=np.full(routes, 10),
    )


def test_bags_are_unit_vectors_whatever_they_share_a_call_with() -> None:
    tokens = [[5, 6, 7], [8], [5, 6, 7, 5, 6, 7], []]
    bags = scoring.lexical(tokens, IDF)
    assert bags.shape == (4, LEXICAL_DIM)
    assert bags.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(bags, axis=1), [1, 1, 1, 0], atol=1e-6)
    alone = np.vstack([scoring.lexical([ids], IDF) for ids in tokens])
    np.testing.assert_array_equal(bags, alone)


def test_a_bag_tells_words_and_their_order() -> None:
    same, swapped, other = scoring.lexical([[5, 6, 7], [7, 6, 5], [50, 60, 70]], IDF)
    assert 0.3 < same @ swapped < 0.95
    assert abs(same @ other) < 0.3


def test_rare_pieces_weigh_more() -> None:
    text, with_rare, with_common = scoring.lexical([[10, 95], [11, 95], [10, 90]], IDF)
    assert text @ with_rare > text @ with_common


def test_ids_beyond_those_seen_count_as_unseen() -> None:
    bags = scoring.lexical([[99], [5_000_000]], IDF)
    assert np.abs(bags).max(axis=1) == pytest.approx([0.816, 0.816], abs=0.01)


def test_bags_stay_the_same_from_one_release_to_the_next() -> None:
    (bag,) = scoring.lexical([[5]], IDF)
    # The piece, and its pairs with begin and end: trained heads in the cache depend on where these fall.
    buckets = {int(bucket): round(float(bag[bucket]), 3) for bucket in np.flatnonzero(bag)}
    assert buckets == {409: 0.408, 512: 0.816, 820: 0.408}


def test_logits_are_linear_in_vector_and_bag() -> None:
    trained = head()
    vector, tokens = np.array([[0, 1, 0, 0]], np.float32), [[3, 4]]
    by_vector = trained.projection[1] + trained.projection[4]
    by_words = scoring.lexical(tokens, IDF)[0] @ trained.word_weights
    np.testing.assert_allclose(trained.logits(vector, tokens)[0], by_vector + by_words, rtol=1e-4)


def test_prototypes_are_unit_means() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    found = scoring.prototypes(vectors, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)


def test_discriminants_point_to_the_nearest_mean_where_spread_is_even() -> None:
    vectors = np.array([[1, 0.1], [1, -0.1], [0.1, 1], [-0.1, 1]], np.float32)
    found = scoring.discriminants(vectors, np.array([0, 0, 1, 1]), 2)
    assert found.shape == (2, 3)
    prompts = np.array([[0.9, 0.2], [0.3, 0.8], [0.5, 0.5]], np.float32)
    scores = scoring.discriminate(found, prompts, np.tile([0, 1], (3, 1)))
    swapped = scoring.discriminate(found, prompts[:1], np.array([[1, 0]]))
    np.testing.assert_array_equal(swapped[0], scores[0, ::-1])
    assert scores[:2].argmax(axis=1).tolist() == [0, 1]
    assert scores[2, 0] == pytest.approx(scores[2, 1])


def test_one_utterance_a_route_gives_discriminants() -> None:
    found = scoring.discriminants(np.eye(3, dtype=np.float32), np.arange(3), 3)
    scores = scoring.discriminate(found, np.eye(3, dtype=np.float32), np.tile([0, 1, 2], (3, 1)))
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_best_routes_come_first_and_ties_keep_their_order() -> None:
    logits = np.array([[1, 3, 3, 2], [4, 3, 2, 1]], np.float32)
    assert scoring.best_routes(logits, 3).tolist() == [[1, 2, 3], [0, 1, 2]]
    assert scoring.best_routes(logits[:, :1]).tolist() == [[0], [0]]


def test_evidence_survives_large_logits() -> None:
    logits = np.array([[900, 899], [-900, -901]], np.float32)
    found = scoring.evidence(
        logits, np.array([0.5, 0.1], np.float32), np.array([0.4, 0.2], np.float32), np.array([900, -900], np.float32)
    )
    np.testing.assert_allclose(found[:, 0], [900, -900])
    np.testing.assert_allclose(found[:, 1], [900 + np.log1p(np.exp(-1)), -900 + np.log1p(np.exp(-1))])
    assert np.isfinite(scoring.in_scope(np.array([10.0, 10, 1, 1, -1, 0]), found)).all()


def test_more_evidence_makes_it_likelier_in_scope() -> None:
    evidence = np.array([[1, 1, 0.2, 0.2, 9], [1, 1, 0.2, 0.2, 2], [1, 1, 0.8, 0.2, 2], [3, 1, 0.8, 0.2, 2]])
    assert (np.diff(scoring.in_scope(head().gate, evidence)) > 0).all()


def test_without_rivals_nothing_is_explained() -> None:
    assert scoring.together(np.zeros((2, 0), np.float32)).tolist() == [scoring.NO_RIVAL] * 2
    np.testing.assert_allclose(scoring.together(np.array([[900, 900]], np.float32)), 900 + np.log(2))


def test_shares_are_probabilities_and_keep_the_order_of_the_logits() -> None:
    logits = np.array([[2, 5, -1], [1000, 0, 0]], np.float32)
    for temperature in (0.3, 1.0, 5.0):
        shares = scoring.shares(logits, temperature)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert np.argsort(-shares[0]).tolist() == [1, 0, 2]
    assert scoring.shares(logits, 0.3)[0, 1] > scoring.shares(logits, 5.0)[0, 1]


def test_one_route_has_all_of_the_share() -> None:
    assert scoring.shares(np.array([[-7.0]], np.float32), 0.5).tolist() == [[1.0]]
