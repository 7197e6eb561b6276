"""Fit the expected gain of models: ridge regression on embedding, words and length, with shrunk route priors.

Predictions for thresholds and figures are cross-fitted: each prompt's gain comes from a fit without that prompt. The
code needs only numpy. Conjugate gradients solve the normal equations, so no matrix of all words is ever made.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from semroute.bases import Frozen
from semroute.routing.learned_gain import Calibration, Gain, route_shares, shape, terms, tfidf

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

MAX_TERMS = 30_000
MIN_PROMPTS = 2
"""A word must be in at least this many prompts to count."""
WORDS_SCALE = 1.5
LENGTH_SCALE = 0.1
"""The scale of the length view, relative to 1 for the embedding. A smaller scale is penalised more."""
PENALTY = 40.0
PRIOR_STRENGTH = 20.0
"""The weight of the overall mean, in prompts, when a route's mean is shrunk toward it."""
FOLDS = 5
MAX_CALIBRATION = 4096
TOLERANCE = 1e-5
MAX_STEPS = 200


class Labels(Frozen, frozen=True, kw_only=True):
    """Prompts, and the quality of each model's answer to them."""

    texts: tuple[str, ...]
    vectors: Floats
    """float32 (n, dim), L2-normalised."""
    quality: Floats
    """float32 (n, models), 0 to 1; NaN: not judged."""
    routes: tuple[str | None, ...]
    """The route of each prompt. None: none."""
    models: tuple[str, ...]
    """Model ids. The first, the cheapest, is the one that the others are compared with."""

    def take(self, rows: Rows) -> Labels:
        """Return some of the rows."""
        return Labels(
            texts=tuple(self.texts[row] for row in rows),
            vectors=self.vectors[rows],
            quality=self.quality[rows],
            routes=tuple(self.routes[row] for row in rows),
            models=self.models,
        )


class Design:
    """The features of all prompts, computed once: a dense part, and the words as (row, column, value)."""

    def __init__(self, labels: Labels, known: Rows) -> None:
        """`known`: the rows from which the vocabulary and the scales are taken."""
        found = [terms(text) for text in labels.texts]
        counts: Counter[str] = Counter(term for row in known for term in set(found[row]))
        frequent = [(term, n) for term, n in counts.most_common(MAX_TERMS) if n >= MIN_PROMPTS]
        self.vocabulary = tuple(term for term, _ in frequent)
        self.idf = np.array([1 + np.log((1 + len(known)) / (1 + n)) for _, n in frequent], dtype=np.float32)
        columns = {term: column for column, term in enumerate(self.vocabulary)}
        idf = [float(value) for value in self.idf]
        weighted = [tfidf(row, columns, idf) for row in found]
        self.indices = np.array([place for places, _ in weighted for place in places], dtype=np.int64)
        self.values = np.array([value for _, values in weighted for value in values], dtype=np.float32) * WORDS_SCALE
        self.rows = np.repeat(np.arange(len(found)), [len(places) for places, _ in weighted])
        figures = np.array([shape(text) for text in labels.texts], dtype=np.float32)
        self.shape_mean = figures[known].mean(axis=0)
        self.shape_scale = figures[known].std(axis=0) + np.float32(1e-6)
        scaled = (figures - self.shape_mean) / self.shape_scale * LENGTH_SCALE
        self.dense = np.hstack([labels.vectors, scaled]).astype(np.float32)

    @property
    def size(self) -> int:
        """Return the number of features."""
        return int(self.dense.shape[1]) + len(self.vocabulary)

    def times(self, weights: Doubles) -> Doubles:
        """Apply weights: return their sum for each prompt."""
        edge = self.dense.shape[1]
        words = np.bincount(self.rows, self.values * weights[edge:][self.indices], len(self.dense))
        return np.asarray(self.dense @ weights[:edge] + words, dtype=np.float64)

    def gathered(self, amounts: Doubles) -> Doubles:
        """Add up amounts, one for each prompt, for each feature: the transpose of `times`."""
        words = np.bincount(self.indices, self.values * amounts[self.rows], len(self.vocabulary))
        return np.concatenate([amounts @ self.dense, words])


def ridge(design: Design, rows: Rows, target: Doubles, penalty: float = PENALTY) -> tuple[Doubles, float]:
    """Return weights and bias that predict `target` (one a row).

    They minimise the squared error plus `penalty` times |w|².
    """
    bias = float(target.mean()) if len(target) else 0.0
    mask = np.zeros(len(design.dense))
    mask[rows] = 1.0
    wanted = np.zeros(len(design.dense))
    wanted[rows] = target - bias
    weights = np.zeros(design.size)
    residual = design.gathered(wanted)
    direction, power = residual.copy(), float(residual @ residual)
    goal = TOLERANCE**2 * power
    for _ in range(MAX_STEPS):
        if power <= goal or power == 0.0:
            break
        image = design.gathered(mask * design.times(direction)) + penalty * direction
        step = power / float(direction @ image)
        weights += step * direction
        residual -= step * image
        previous, power = power, float(residual @ residual)
        direction = residual + power / previous * direction
    return weights, bias


class Priors(Frozen, frozen=True, kw_only=True):
    """What the routes alone say about gains."""

    prototypes: Floats
    """float32 (routes, dim), L2-normalised."""
    gains: Doubles
    """(routes,): each route's mean less the mean of all, shrunk toward it."""


def route_priors(labels: Labels, rows: Rows, target: Doubles) -> Priors:
    """Return shrunk means by route, and the mean direction of each route's prompts."""
    names = sorted({route for row in rows if (route := labels.routes[row]) is not None})
    place = {name: number for number, name in enumerate(names)}
    mean = float(target.mean()) if len(target) else 0.0
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    directions = np.zeros((len(names), labels.vectors.shape[1]), dtype=np.float32)
    for row, value in zip(rows, target, strict=True):
        route = labels.routes[row]
        if route is not None:
            sums[place[route]] += value - mean
            counts[place[route]] += 1
            directions[place[route]] += labels.vectors[row]
    lengths = np.linalg.norm(directions, axis=1, keepdims=True).clip(1e-12)
    return Priors(prototypes=(directions / lengths).astype(np.float32), gains=sums / (counts + PRIOR_STRENGTH))


class GainParts(Frozen, frozen=True, kw_only=True):
    """Two predictions of one model's gain over the first, which `mix` adds."""

    ridge: Doubles
    """From the prompt: (n,)."""
    prior: Doubles
    """From the routes that it resembles: (n,)."""

    def mix(self, prior_weight: float) -> Doubles:
        """Add the two predictions."""
        return self.ridge + prior_weight * self.prior


def predict(labels: Labels, design: Design, target: Doubles, seen: Rows, asked: Rows) -> GainParts:
    """Predict the rows `asked` by a fit on the rows `seen`. `target`: (n,), one for each label."""
    weights, bias = ridge(design, seen, target[seen])
    priors = route_priors(labels, seen, target[seen])
    shares = route_shares(labels.vectors[asked] @ priors.prototypes.T)
    return GainParts(ridge=(design.times(weights) + bias)[asked], prior=shares @ priors.gains)


def cross_fit(labels: Labels, design: Design, target: Doubles, rows: Rows, seed: int) -> GainParts:
    """Predict each of these rows by a fit on the others."""
    order = np.random.default_rng(seed).permutation(len(rows))
    mean = np.zeros(len(rows))
    parts = GainParts(ridge=mean.copy(), prior=mean.copy())
    for fold in np.array_split(order, min(FOLDS, len(rows))):
        seen = rows[np.setdiff1d(order, fold)]
        said = predict(labels, design, target, seen, rows[fold])
        parts.ridge[fold], parts.prior[fold] = said.ridge, said.prior
    return parts


PRIOR_WEIGHTS = (0.0, 0.3, 0.6, 1.0, 1.5)


def best_prior_weight(parts: GainParts, target: Doubles) -> float:
    """Return the weight of the routes' prior with which cross-fitted predictions correlate best with the truth."""
    return max(PRIOR_WEIGHTS, key=lambda weight: correlation(parts.mix(weight), target))


def correlation(predicted: Doubles, truth: Doubles) -> float:
    """Return Pearson's correlation, -1 to 1. 0: one of the two does not vary."""
    spread = float(predicted.std() * truth.std())
    return float(((predicted - predicted.mean()) * (truth - truth.mean())).mean()) / spread if spread > 1e-12 else 0.0


class Fitted(Frozen, frozen=True, kw_only=True):
    """What was learned, and how well it does on prompts that the fit had not seen."""

    gain: Gain
    correlations: dict[str, float]
    """By model, the correlation of predicted and true gain, cross-fitted."""
    noise: dict[str, float]
    """The correlation that chance alone passes once in a hundred times."""


def fit(labels: Labels, encoder: str, seed: int = 0) -> Fitted:
    """Fit the gain of every model over the first one. `encoder`: the fingerprint of the embedder."""
    design = Design(labels, np.arange(len(labels.texts)))
    dim = labels.vectors.shape[1]
    size, models = len(labels.texts), len(labels.models)
    weights = np.zeros((models, design.size))
    bias, prior_weight = np.zeros(models), np.zeros(models)
    predicted = np.zeros((size, models), dtype=np.float32)
    correlations, noise = {}, {}
    priors = route_priors(labels, np.arange(size), np.zeros(size))
    gains = np.zeros((models, len(priors.gains)))
    for place in range(1, models):
        target = (labels.quality[:, place] - labels.quality[:, 0]).astype(np.float64)
        rows = np.flatnonzero(~np.isnan(target))
        known = np.nan_to_num(target)
        parts = cross_fit(labels, design, known, rows, seed)
        prior_weight[place] = best_prior_weight(parts, known[rows])
        weights[place], bias[place] = ridge(design, rows, known[rows])
        gains[place] = _priors_of(labels, rows, known[rows], len(priors.gains))
        whole = predict(labels, design, known, rows, np.arange(size))
        predicted[:, place] = whole.mix(prior_weight[place])
        predicted[rows, place] = parts.mix(prior_weight[place])
        correlations[labels.models[place]] = correlation(parts.mix(prior_weight[place]), known[rows])
        noise[labels.models[place]] = 2.33 / max(1.0, float(len(rows))) ** 0.5
    kept = np.random.default_rng(seed).permutation(size)[:MAX_CALIBRATION]
    gain = Gain(
        models=labels.models,
        base_quality=float(np.nanmean(labels.quality[:, 0])),
        vocabulary=design.vocabulary,
        idf=design.idf,
        shape_mean=design.shape_mean,
        shape_scale=design.shape_scale,
        weights={
            "embedding": weights[:, :dim].astype(np.float32),
            "length": (weights[:, dim : design.dense.shape[1]] * LENGTH_SCALE).astype(np.float32),
            "words": (weights[:, design.dense.shape[1] :] * WORDS_SCALE).astype(np.float32),
        },
        bias=bias.astype(np.float32),
        prototypes=priors.prototypes,
        priors=gains.astype(np.float32),
        prior_weight=prior_weight.astype(np.float32),
        calibration=Calibration(predicted=predicted[kept], quality=labels.quality[kept]),
        encoder=encoder,
        trustworthy=any(correlations[model] > noise[model] for model in correlations),
    )
    return Fitted(gain=gain, correlations=correlations, noise=noise)


def _priors_of(labels: Labels, rows: Rows, target: Doubles, size: int) -> Doubles:
    """Return the shrunk means of all routes. A route without a row has 0."""
    names = sorted({route for route in labels.routes if route is not None})
    found = sorted({route for row in rows if (route := labels.routes[row]) is not None})
    gains = np.zeros(size)
    gains[[names.index(name) for name in found]] = route_priors(labels, rows, target).gains
    return gains
