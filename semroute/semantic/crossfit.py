"""Score utterances with heads that have not seen them, to learn how the final head scores new prompts.

Each fold holds out some utterances of every route, and all utterances of some routes. A head is trained on the rest.
Held-out utterances of routes that the head knows are scored as prompts in scope. Utterances of routes that it does not
know are scored as near misses: prompts of a kind that has no route. Background prompts are near misses if they are
among the nearest to the utterances, and far misses otherwise. They are held out by whole intents, and their own rivals
do not count, because what users send is rarely in the background.

Utterances that repeat each other, except for a "please", are held out together, and one of them is scored. Beside its
twin, it would look far more familiar than any real prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semroute.routing import scoring
from semroute.routing.scoring import Doubles, Floats, Ints
from semroute.semantic import logistic_regression
from semroute.semantic.logistic_regression import Stored

IN_SCOPE, NEAR_MISS, FAR_MISS = 0, 1, 2

FOLDS = ((400, 10), (6000, 5))
"""The number of folds, by the largest number of utterances. A head trained on 9 of 10 is nearer to the final one than
one
trained on 2 of 3."""
FEWEST_FOLDS = 3
ITERATIONS = 20
NEAR_MISSES = 1000
"""The most near misses scored in a fold."""
TWINS = 0.92
"""Utterances of one route that are more similar than this repeat each other. Chosen from .9, .92 and .95 on subsets of
CLINC150. If an utterance only gets a "please", a "now" or a capital, 95% of the results are above .92. With five such
variants of each utterance, the others made 29% of prompts abstain instead of 12%."""
CHUNK = 512
SEED = 20


@dataclass(frozen=True, slots=True)
class Rows:
    """All texts that take part in fitting, in this order: utterances by route, names and descriptions of routes,
    background prompts, negatives.
    """

    vectors: Floats
    """(texts, dim), L2-normalised."""
    texts: Ints
    """(rows,): the row of `vectors` for each text. For an utterance it is the same row."""
    owners: Ints
    """The route of each text. Background prompts and negatives have the number of routes instead."""
    routes: int
    utterances: int
    """How many rows are utterances."""
    intents: Ints
    """(rows,): the intent of a background prompt; another number for every other row."""
    rivals: Floats
    """(rows,): `scoring.together` of the rivals' logits."""
    strangers: Floats
    """(rows,): the same without the rival of the row's own intent."""
    near: NDArray[np.bool_]
    """(rows,): whether a background prompt is a near miss."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The rows that one head is trained on, and the rows that it then scores."""

    trained: Ints
    """Row numbers."""
    tried: tuple[Ints, Ints, Ints]
    """Row numbers by kind: IN_SCOPE, NEAR_MISS, FAR_MISS."""
    present: Ints
    """The classes of the trained rows, ascending: routes and the background."""
    columns: int
    """How many of these classes are routes."""


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """The scores of rows by heads that had not seen them."""

    logits: list[Floats]
    """For each fold, the logits of its in-scope rows: (rows, routes of the fold)."""
    owners: list[Ints]
    """For the same rows, the column of the right route."""
    routes: Ints
    """(in-scope rows of all folds,): the route of each."""
    evidence: Doubles
    """(rows, evidence), in scope or not."""
    kinds: Ints
    """(rows,): IN_SCOPE, NEAR_MISS or FAR_MISS; the in-scope rows in the order of `routes`."""


def fold_count(utterances: int) -> int:
    """Return the number of folds for this many utterances."""
    return next((folds for most, folds in FOLDS if utterances <= most), FEWEST_FOLDS)


def deal_folds(rows: Rows) -> Iterator[Fold]:
    """Assign utterances, routes and background to folds. There are fewer if one would have nothing to train on."""
    folds = fold_count(rows.utterances)
    chance = np.random.default_rng(SEED)
    utterance = np.arange(len(rows.owners)) < rows.utterances
    outside = rows.owners == rows.routes
    leads = np.arange(len(rows.owners))
    leads[: rows.utterances] = leaders(rows.vectors[: rows.utterances], rows.owners[: rows.utterances])
    alone = leads == np.arange(len(leads))
    fold_of = _deal(np.where(alone & (utterance | outside), rows.owners, -1), folds, chance)[leads]
    # An intent is held out with the first of its prompts.
    _, firsts, members = np.unique(rows.intents, return_index=True, return_inverse=True)
    fold_of[outside] = fold_of[firsts[members]][outside]
    group_of = np.append(chance.permutation(rows.routes) % folds if rows.routes > 1 else [-1], -1)
    for fold in range(folds):
        left_out = group_of[rows.owners] == fold
        trained = (fold_of != fold) & ~left_out
        known = np.zeros(rows.routes + 1, bool)
        known[rows.owners[trained & utterance]] = True
        if not known.any():
            continue
        trained &= known[rows.owners] | outside
        held_out = (fold_of == fold) & outside
        near = np.flatnonzero(left_out & utterance | held_out & rows.near)
        if len(near) > NEAR_MISSES:
            near = np.sort(chance.choice(near, NEAR_MISSES, replace=False))
        inside = np.flatnonzero((fold_of == fold) & alone & utterance & known[rows.owners])
        far = np.flatnonzero(held_out & ~rows.near)
        present = np.unique(rows.owners[trained])
        yield Fold(np.flatnonzero(trained), (inside, near, far), present, int(known.sum()))


def score(fold: Fold, features: Stored, owners: Ints, penalty: Floats, fixed: Floats | None) -> Floats:
    """Train a head on the one part of a fold, and score the other part: float32 (scored rows, routes of the fold).

    `features` and `penalty`: those of a `logistic_regression.Basis`. `fixed`: see `logistic_regression.fit`.
    """
    classes = np.searchsorted(fold.present, owners[fold.trained])
    coefficients, bias = logistic_regression.fit(
        features,
        fold.trained,
        classes,
        len(fold.present),
        penalty,
        ITERATIONS,
        fixed=None if fixed is None else fixed[fold.trained],
    )
    tried = np.concatenate(fold.tried)
    chunks = [features[tried[start : start + CHUNK]] @ coefficients for start in range(0, len(tried), CHUNK)]
    scored: Floats = np.vstack([np.empty((0, len(fold.present)), np.float32), *chunks]) + bias
    return scored[:, : fold.columns]


def collect(rows: Rows, folds: Sequence[Fold], logits: Sequence[Floats]) -> CrossFitted:
    """Collect the scores of all folds. `logits`: those of the rows tried, in their order."""
    inside, owners, routes = [], [], [np.zeros(0, np.int64)]
    evidence, kinds = [np.zeros((0, len(scoring.EVIDENCE)))], [np.zeros(0, np.int64)]
    for fold, scored in zip(folds, logits, strict=True):
        own = rows.owners[fold.tried[IN_SCOPE]]
        inside.append(scored[: len(own)])
        owners.append(np.searchsorted(fold.present, own))
        routes.append(own)
        evidence.append(_evidence(rows, fold, scored))
        kinds.append(np.repeat(np.arange(3), [len(tried) for tried in fold.tried]))
    return CrossFitted(inside, owners, np.concatenate(routes), np.vstack(evidence), np.concatenate(kinds))


def leaders(vectors: Floats, owners: Ints) -> Ints:
    """Return the first utterance that each one nearly repeats, or itself: int64 (n,), row numbers.

    `vectors` is float32 (n, dim), L2-normalised; `owners` int64 (n,), the route of each, ascending.
    """
    leads = np.arange(len(owners))
    starts = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
    for first, end in zip(starts, [*starts[1:], len(owners)], strict=True):
        own = vectors[first:end]
        for start in range(0, len(own), CHUNK):
            for row, alike in enumerate(own[start : start + CHUNK] @ own.T >= TWINS, start):
                earlier = first + np.flatnonzero(alike[:row])
                leading = earlier[leads[earlier] == earlier]
                leads[first + row] = leading[0] if len(leading) else first + row
    return leads


def _deal(owners: Ints, folds: int, chance: np.random.Generator) -> Ints:
    """Return a fold for each row, so that each route is dealt evenly. -1: the only row of a route, or a row with owner
    -1.
    """
    fold_of = np.full(len(owners), -1)
    order = np.argsort(owners, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        if len(members) > 1 and owners[members[0]] >= 0:
            fold_of[chance.permutation(members)] = (np.arange(len(members)) + chance.integers(folds)) % folds
    return fold_of


def _evidence(rows: Rows, fold: Fold, logits: Floats) -> Doubles:
    """Return the evidence that a decision would have with the utterances that the head was trained on."""
    sources = fold.trained[fold.trained < rows.utterances]
    _, starts, owners = np.unique(rows.owners[sources], return_index=True, return_inverse=True)
    vectors, tried = rows.vectors[sources], rows.vectors[rows.texts[np.concatenate(fold.tried)]]
    discriminants = scoring.discriminants(vectors, owners.astype(np.int64), len(starts))
    best = scoring.best_routes(logits)
    nearest = np.zeros(len(tried), np.float32)
    for start in range(0, len(tried), CHUNK):
        chunk = slice(start, start + CHUNK)
        by_route = np.maximum.reduceat(tried[chunk] @ vectors.T, starts, axis=1)
        nearest[chunk] = np.take_along_axis(by_route, best[chunk], axis=1).max(axis=1)
    towards = scoring.discriminate(discriminants, tried, best).max(axis=1)
    return scoring.evidence(logits, nearest, towards, rows.strangers[np.concatenate(fold.tried)])
