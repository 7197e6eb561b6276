"""Train a `Head` from utterances: fit, score across folds, calibrate. Deterministic, and numpy only.

The head has two multinomial logistic regressions, one over the vectors and one over the hashed word pieces. Each has a
class for each route and one class for the background: prompts of no particular route, and the route files' own
`negatives`. This class keeps the logits of routes low where no route fits. Over the vectors its logit is not fitted. It
is what the rivals of `background.py` say together.

The logits of both regressions are added. Two regressions that are fitted apart make different errors. On CLINC150's
validation split with 100 utterances a route, they reach .967, and one over all features reaches .963. With fewer
utterances there is no difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from semroute.routing import scoring
from semroute.routing.scoring import Floats, Head, Ints
from semroute.semantic import calibration, crossfit, logistic_regression
from semroute.semantic.background import Rivals
from semroute.semantic.crossfit import IN_SCOPE, Rows
from semroute.semantic.embedder import Features
from semroute.semantic.logistic_regression import Stored

COST, COST_OF_MANY, MANY = 10.0, 30.0, 6000
"""The parameter C of the regression, and C for more than `MANY` utterances. Chosen from 5, 10 and 30 on CLINC150's
validation split: with 15,000 utterances, 30 is .2 points better than 10. With 5 to 40 utterances a route there is no
clear difference. On the few wide routes of this repository, 10 is better."""
RIVAL_WEIGHT = 0.5
"""The weight of the rivals' logit in the class of the background. Chosen from 0, .5 and 1 on the validation split of
CLINC150: for near misses of 4, 8 and 16 routes they give .944, .953 and .952 of AUROC, and for 150 routes with 5
utterances each .900, .901 and .897 of accuracy."""
NAME_RANK = 0.05
"""A route's name or description counts as an utterance if the route's own prototype is among this share of the nearest
to it."""
FEW = 30
"""A route with more utterances than this does not use its description."""
CHUNK = 1024
ITERATIONS = 25
"""The most passes of the regression. Few utterances converge in 20. For 15,000 utterances, 40 changed no figure by more
than .1 points."""


def name_text(name: str) -> str:
    """Return a route's name as words: `cardArrival`, `card_arrival` -> `card arrival`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", spaced).strip().lower()


@dataclass(frozen=True, slots=True)
class Material:
    """All that a head is trained from."""

    texts: Features
    """The utterances ordered by route, then what routes are called, then background prompts, then texts that the route
    files say belong to no route."""
    owners: Ints
    """(utterances,): the route of each, ascending; every route has at least one."""
    called: Ints
    """(names and descriptions,): the route that each of them is about."""
    rivals: Rivals
    """The rivals that the background prompts belong to."""

    @property
    def background(self) -> slice:
        """The rows of the background prompts."""
        first = len(self.owners) + len(self.called)
        return slice(first, first + len(self.rivals.intents))


def train(material: Material, target: float, fitted: Callable[[], None] = lambda: None) -> Head:
    """Fit and calibrate a head, so that `target` of the in-scope prompts abstain.

    `fitted` is called after each fit, at most `fits` times.
    """
    utterances, routes = len(material.owners), int(material.owners[-1]) + 1
    own = material.texts.vectors[:utterances]
    idf = _idf(material.texts.tokens[:utterances])
    prototypes = scoring.prototypes(own, material.owners, routes)
    chosen, owners = _choose(material, prototypes)
    rows = _rows(material, chosen, owners, routes)
    folds = list(crossfit.deal_folds(rows))
    logits = [np.zeros((sum(map(len, fold.tried)), fold.columns), np.float32) for fold in folds]
    cost = COST if utterances <= MANY else COST_OF_MANY
    parts = []
    for features, share, fixed in (  # the largest first, while little else is in memory
        (bags_of, scoring.LEXICAL_WEIGHT, None),
        (_vectors, 1.0, np.float32(RIVAL_WEIGHT) * rows.rivals),
    ):
        projected = features(material.texts, chosen, idf)
        basis = logistic_regression.find_basis(projected, routes + 1, cost)
        basis.project(projected)
        slopes, offsets = basis.weights(
            *logistic_regression.fit(
                projected, np.arange(len(owners)), owners, routes + 1, basis.penalty, ITERATIONS, fixed=fixed
            )
        )
        parts.append(share * np.vstack((slopes, offsets))[:, :routes])
        fitted()
        for fold, scored in zip(folds, logits, strict=True):
            scored += share * crossfit.score(fold, projected, owners, basis.penalty, fixed)
            fitted()
        del projected  # it is large, and so is the next one
    tried = crossfit.collect(rows, folds, logits)
    gate = calibration.fit_gate(tried.evidence, tried.kinds, routes)
    inside = scoring.in_scope(gate, tried.evidence[tried.kinds == IN_SCOPE])
    by_words, by_vector = parts
    by_vector[-1] += by_words[-1]
    return Head(
        projection=np.ascontiguousarray(by_vector, dtype=np.float32),
        word_weights=np.ascontiguousarray(by_words[:-1], dtype=np.float32),
        discriminants=scoring.discriminants(own, material.owners, routes),
        prototypes=prototypes,
        idf=idf,
        rivals=material.rivals.weights,
        gate=gate,
        temperature=np.array([calibration.fit_temperature(tried.logits, tried.owners)]),
        thresholds=calibration.fit_thresholds(inside, tried.routes, routes, target),
        calibrated_on=np.bincount(tried.routes, minlength=routes),
    )


def fits(utterances: int) -> int:
    """Return how many regressions are fitted to this many utterances."""
    return 2 * (crossfit.fold_count(utterances) + 1)


def _idf(tokens: Sequence[Sequence[int]]) -> Floats:
    """Inverse document frequency of each word piece, smoothed: float32 (largest id + 2,), the last for unseen ones."""
    seen = [np.unique(np.asarray(ids, np.int64)) for ids in tokens]
    counts = np.bincount(np.concatenate([*seen, np.zeros(0, np.int64)]))
    counts = np.append(counts, 0)
    return (np.log((1 + len(tokens)) / (1 + counts)) + 1).astype(np.float32)


def _choose(material: Material, prototypes: Floats) -> tuple[Ints, Ints]:
    """Choose the texts to fit, and their classes: utterances, names that help, background, negatives."""
    vectors, utterances, routes = material.texts.vectors, len(material.owners), len(prototypes)
    telling = _telling(vectors[utterances : material.background.start], material.called, prototypes)
    outside = np.arange(material.background.start, len(vectors))
    chosen = np.concatenate((np.arange(utterances), utterances + telling, outside))
    owners = np.concatenate((material.owners, material.called[telling], np.full(len(outside), routes)))
    return chosen, owners


def _rows(material: Material, chosen: Ints, owners: Ints, routes: int) -> Rows:
    """Return the chosen texts with how well the rivals explain them: all rivals, and all but the text's own. The own
    rival of a background prompt knows it by heart.
    """
    vectors, known = material.texts.vectors, material.rivals
    first = int(np.searchsorted(chosen, material.background.start))
    own = np.full(len(chosen), -1)
    own[first : first + len(known.own)] = known.own
    rivals, strangers = np.empty(len(chosen), np.float32), np.empty(len(chosen), np.float32)
    for start in range(0, len(chosen), CHUNK):
        chunk = slice(start, start + CHUNK)
        logits = known.logits(vectors[chosen[chunk]])
        rivals[chunk] = scoring.together(logits)
        has_own = np.flatnonzero(own[chunk] >= 0)
        logits[has_own, own[chunk][has_own]] = scoring.NO_RIVAL
        strangers[chunk] = scoring.together(logits)
    intents = -1 - np.arange(len(chosen))
    intents[first : first + len(known.intents)] = known.intents
    near = np.zeros(len(chosen), bool)
    near[first : first + len(known.intents)] = known.near
    return Rows(vectors, chosen, owners, routes, len(material.owners), intents, rivals, strangers, near)


def _vectors(texts: Features, chosen: Ints, idf: Floats) -> Floats:
    return texts.vectors[chosen]


def bags_of(texts: Features, chosen: Ints, idf: Floats) -> Stored:
    """Return the bags of the word pieces. If there are more than `MANY`, they take most of the memory of a training, so
    they are stored as float16. With 15,000 utterances, no figure on CLINC150's validation split changes by .01 points.
    """
    bags = np.empty((len(chosen), scoring.LEXICAL_DIM), np.float16 if len(chosen) > MANY else np.float32)
    for start in range(0, len(chosen), CHUNK):
        some = slice(start, start + CHUNK)
        bags[some] = scoring.lexical([texts.tokens[row] for row in chosen[some]], idf)
    return bags


def _telling(texts: Floats, called: Ints, prototypes: Floats) -> Ints:
    """Return the names and descriptions that say what a route is about. A name such as `intent_17` would only be noise.

    With 5 utterances a route, names are worth 2 points of accuracy on CLINC150's validation split, with 10 one.
    """
    similarities = texts @ prototypes.T
    nearer = (similarities > similarities[np.arange(len(called)), called][:, None]).sum(axis=1)
    return np.flatnonzero(nearer < max(1, NAME_RANK * len(prototypes)))
