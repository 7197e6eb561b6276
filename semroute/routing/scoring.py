"""Turn features into confidences: the arithmetic of a semantic decision. Pure: arrays in, arrays out.

A `Head` is what was learnt from the route files (`semantic/head.py` trains it). A prompt's logits are linear in its
vector and in a hashed bag of its word pieces. Five figures, the evidence, say whether it belongs to any route at all;
the routes then share that probability:

    confidence of a route = P(in scope | evidence) x softmax(logits / temperature) of the route
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

LEXICAL_DIM = 1024
"""Buckets of the hashed bag of word pieces, a power of 2. From 512, 1,024 and 2,048 on CLINC150's validation split: 512
loses .2 points with 100 utterances a route, 2,048 gains .1."""
LEXICAL_WEIGHT = 0.3
"""The weight of the lexical logits beside those of the vector. Chosen from .2, .3 and .4 on CLINC150's validation split
and subsets of its training split: with 100 utterances a route .4 is better by .1 points, and with 5 and 10 .3 is better
by as much."""
SHRINKAGE = 0.8
"""How far the covariance of the utterances is shrunk towards a multiple of the identity. From .1, .3, .5 and .8 on the
same sets, by how
well the largest discriminant tells in scope from out of scope."""
BIGRAM_WEIGHT = 0.5
"""The weight of a pair of neighbouring word pieces, relative to the rarer of the two. From 0, .5, .7 and 1 on the same
sets."""
WORD = 2**32 - 1
MIXER = 0x9E3779B1
"""An odd number near 2^32 over the golden ratio: products with it spread keys over the high bits (Knuth 1973, 6.4)."""
BUCKET_SHIFT = 32 - (LEXICAL_DIM.bit_length() - 1)
SIGN = 1 << BUCKET_SHIFT - 1
PAIR = 1_000_003
"""The first piece of a pair is multiplied by this, so that each pair has a key of its own."""
EDGE = 999_983
"""The id for begin and end. No word piece has it."""
PROBED = 3
"""The nearest utterance is searched in this many routes: those with the largest logits. With 15,000 utterances, 5
routes took a tenth of a millisecond."""
EVIDENCE = (
    "largest logit",
    "log-sum-exp of the logits",
    "nearest utterance",
    "largest discriminant",
    "log-sum-exp of the rivals",
)
NO_RIVAL = -30.0
"""The value for the rivals if there is none: then none explains the prompt."""


@dataclass(frozen=True, slots=True)
class Head:
    """What was learned from the route files, as arrays."""

    projection: Floats
    """(dim + 1, routes): what a vector adds to the logits; the last row are the offsets."""
    word_weights: Floats
    """(LEXICAL_DIM, routes): what a bag of word pieces adds to the logits."""
    discriminants: Floats
    """(routes, dim + 1): see `discriminants`."""
    prototypes: Floats
    """(routes, dim), L2-normalised: the mean direction of each route's utterances."""
    idf: Floats
    """(token ids,): how much a word piece says, by its id; a piece of a higher id, as much as the last."""
    rivals: Floats
    """(dim + 1, rivals): what a vector adds to the logits of everyday intents that are no route; the last row are the
    offsets. A prompt that a rival explains better is likely out of scope."""
    gate: Doubles
    """(evidence + 1,): coefficients of the evidence and the intercept of the log-odds of being in scope."""
    temperature: Doubles
    """(1,): what the logits are divided by before they become shares."""
    thresholds: Doubles
    """(routes,): how likely in scope a prompt must be to take the route, for the target that was asked for."""
    calibrated_on: Ints
    """(routes,): cross-fitted utterances behind each threshold."""

    def logits(self, vectors: Floats, tokens: Sequence[Sequence[int]]) -> Floats:
        """Return the logit of each route: float32 (n, routes).

        `vectors` is float32 (n, dim), L2-normalised; `tokens` the word-piece ids of the same texts.
        """
        logits: Floats = vectors @ self.projection[:-1]
        logits += self.projection[-1]
        for row, ids in zip(logits, tokens, strict=True):
            # A prompt fills some twenty of the buckets: only their weights are read.
            buckets, weights = _hash(ids, self.idf)
            row += weights @ self.word_weights[buckets]
        return logits


def lexical(tokens: Sequence[Sequence[int]], idf: Floats) -> Floats:
    """Turn word pieces and pairs of neighbours into unit vectors: float32 (n, LEXICAL_DIM).

    Each distinct piece or pair adds its weight to one bucket, with a sign; bucket and sign are bits of a hash (feature
    hashing, Weinberger et al. 2009), so there is no vocabulary to keep. Begin and end count as neighbours.
    """
    bags = np.zeros((len(tokens), LEXICAL_DIM), np.float32)
    for bag, ids in zip(bags, tokens, strict=True):
        buckets, weights = _hash(ids, idf)
        bag[buckets] = weights
    return bags


def _hash(ids: Sequence[int], idf: Floats) -> tuple[Ints, Floats]:
    """Return the buckets that a text fills, each once, and their content: int64 (k,), and float32 (k,) of length 1."""
    # Prompts have about ten pieces: plain Python takes a third of the time of twenty array operations.
    bag: dict[int, float] = {}
    for key, weight in _weigh(ids, idf).items():
        mixed = key * MIXER & WORD
        mixed = (mixed ^ mixed >> 15) * MIXER & WORD
        bucket = mixed >> BUCKET_SHIFT
        bag[bucket] = bag.get(bucket, 0.0) + (weight if mixed & SIGN else -weight)
    length = max(math.hypot(*bag.values()), 1e-9)
    return np.array([*bag], np.int64), np.array([*bag.values()], np.float32) / np.float32(length)


def _weigh(ids: Sequence[int], idf: Floats) -> dict[int, float]:
    """Return the weight of each distinct piece and pair of a text, by a number that stands for it."""
    own: list[float] = idf.take(ids, mode="clip").tolist() if len(ids) else []
    weights = dict(zip(ids, own, strict=True))
    before, weight_before = EDGE, 0.0
    for piece, weight in zip((*ids, EDGE), (*own, 0.0), strict=True):
        weights[before * PAIR + piece] = BIGRAM_WEIGHT * (weight if weight > weight_before else weight_before)
        before, weight_before = piece, weight
    return weights


def prototypes(vectors: Floats, owners: Ints, routes: int) -> Floats:
    """Return the mean direction of each route's utterances: float32 (routes, dim), L2-normalised.

    `vectors` is float32 (n, dim), L2-normalised; `owners` int64 (n,), the route of each row.
    """
    sums = np.zeros((routes, vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, owners, vectors)
    norms: Floats = np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)
    return np.divide(sums, norms, dtype=np.float32)


def discriminants(vectors: Floats, owners: Ints, routes: int) -> Floats:
    """Return the linear discriminants of the routes: float32 (routes, dim + 1), offsets last. See `discriminate`.

    Each route is a Gaussian around its mean, all with one covariance (Fisher 1936), which is shrunk to a multiple of
    the identity (Friedman 1989) and scaled to a mean variance of 1. `vectors` and `owners` as in `prototypes`; each
    route has at least one row.
    """
    dim = vectors.shape[1]
    counts = np.bincount(owners, minlength=routes).astype(np.float32)[:, None]
    means = np.zeros((routes, dim), np.float32)
    np.add.at(means, owners, vectors)
    means /= counts
    spread = vectors.T @ vectors - (counts * means).T @ means
    variance = max(float(np.trace(spread)) / dim, 1e-6)
    covariance = (1 - SHRINKAGE) / variance * spread + SHRINKAGE * np.eye(dim, dtype=np.float32)
    slopes = np.linalg.solve(covariance.astype(np.float64), means.T).T
    return np.hstack((slopes, -0.5 * (slopes * means).sum(axis=1, keepdims=True))).astype(np.float32)


def discriminate(discriminants: Floats, vectors: Floats, routes: Ints) -> Floats:
    """Return how far towards some routes each vector lies: float32 (n, r).

    `vectors` is float32 (n, dim), `routes` int64 (n, r).
    """
    scores = np.empty(routes.shape, np.float32)
    for row, vector, few in zip(scores, vectors, routes, strict=True):
        rows = discriminants[few]
        np.add(rows[:, :-1] @ vector, rows[:, -1], out=row)
    return scores


def best_routes(logits: Floats, count: int = PROBED) -> Ints:
    """Return the routes of the largest logits, best first: int64 (n, at most count)."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :count]


def evidence(logits: Floats, nearest: Floats, discriminant: Floats, rivals: Floats) -> Doubles:
    """Return the evidence on whether prompts are in scope: float64 (n, 5), in the order of `EVIDENCE`.

    `logits` is float32 (n, routes); `nearest` (n,), the cosine with the nearest utterance of the best routes;
    `discriminant` (n,), the largest of `discriminate` for the same routes; `rivals` (n,), `together` of the rivals'
    logits.
    """
    found = np.empty((len(logits), len(EVIDENCE)))
    found[:, 0] = logits.max(axis=1)
    found[:, 1] = together(logits)
    found[:, 2] = nearest
    found[:, 3] = discriminant
    found[:, 4] = rivals
    return found


def together(logits: Floats) -> Floats:
    """Return the log-sum-exp of each row: float32 (n,). Without columns, it is `NO_RIVAL`."""
    if not logits.shape[1]:
        return np.full(len(logits), NO_RIVAL, np.float32)
    largest = logits.max(axis=1)
    summed: Floats = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return summed


def in_scope(gate: Doubles, evidence: Doubles) -> Doubles:
    """Return the probability that prompts belong to any route: float64 (n,), from evidence (n, 5)."""
    return sigmoid(evidence @ gate[:-1] + gate[-1])


def shares(logits: Floats, temperature: float) -> Doubles:
    """Return the share of each route in a prompt that is in scope: float64 (n, routes), rows that sum to 1."""
    scaled = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    exponentials = np.exp(scaled, out=scaled)
    shared: Doubles = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shared


def sigmoid(log_odds: Doubles) -> Doubles:
    """Turn log-odds into probabilities."""
    return 1 / (1 + np.exp(np.minimum(-log_odds, 500)))
