"""The learned gain: how much better each model's answer to a prompt is likely to be than that of the cheapest model.

It is a linear function of three views of the prompt (its embedding, its words, its length and figures), plus a prior of
the routes that it resembles. `semroute train` fits it, and this module only applies it. Pure: arrays in, numbers out.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from operator import mul

import numpy as np
from numpy.typing import NDArray

from semroute.bases import Frozen

Floats = NDArray[np.float32]

MAX_CHARS = 8000
"""Characters that are read at the head of a prompt. The rest hardly changes the weights of words or the length."""
WORD = re.compile(r"[a-z]+|\d|[^\W\da-z_]+", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SYMBOLS = frozenset("+-*/=^\\{}()$%<>|_")
SHAPE = (
    "characters",
    "words",
    "sentences",
    "lines",
    "numbers",
    "distinct numbers",
    "symbols",
    "word length",
    "percent",
    "questions",
)
"""The figures that `shape` measures, in order."""
VIEWS = ("embedding", "words", "length", "route", "average")
"""The parts whose sum is a predicted gain."""
MAX_THRESHOLDS = 256
"""Thresholds that are remembered: callers may ask for any share."""
ROUTE_TEMPERATURE = 0.05
"""How sharply routes compete for a prompt's prior, in cosine. Smaller is sharper."""


def terms(text: str) -> list[str]:
    """Return the words of a prompt, with each digit as a word, and the pairs of neighbouring words."""
    words = WORD.findall(text[:MAX_CHARS].lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def shape(text: str) -> list[float]:
    """Measure length and figures of a prompt, on scales that grow slowly. See `SHAPE`."""
    head = text[:MAX_CHARS]
    words = head.split()
    numbers = _NUMBER.findall(head)
    symbols = sum(map(head.count, _SYMBOLS))
    return [
        math.log1p(figure)
        for figure in (
            len(text),
            len(words),
            head.count(". ") + head.count("? ") + head.count("! "),
            head.count("\n"),
            len(numbers),
            len(set(numbers)),
            symbols,
            len(head) / max(1, len(words)),
            head.count("%"),
            head.count("?"),
        )
    ]


class Calibration(Frozen, frozen=True, kw_only=True):
    """Predicted gains of prompts that the fit had not seen, and the qualities of their answers."""

    predicted: Floats
    """float32 (n, models)."""
    quality: Floats
    """float32 (n, models), 0 to 1; NaN: a model's answer was not judged."""


class Gain(Frozen, frozen=True, kw_only=True, dict=True, eq=False):
    """What was learned. Gains are differences in quality from that of the first of `models`, -1 to 1."""

    models: tuple[str, ...]
    """Model ids. The others are compared with the first."""
    base_quality: float
    """Mean quality of the first model."""
    vocabulary: tuple[str, ...]
    idf: Floats
    """float32 (terms,)."""
    shape_mean: Floats
    shape_scale: Floats
    weights: dict[str, Floats]
    """By view, `embedding`, `words` and `length`: float32 (models, features)."""
    bias: Floats
    """float32 (models,)."""
    prototypes: Floats
    """The mean direction of each route's prompts: float32 (routes, dim), L2-normalised."""
    priors: Floats
    """Each route's mean gain less the mean of all, shrunk: float32 (models, routes)."""
    prior_weight: Floats
    """How much of the prior is added: float32 (models,)."""
    calibration: Calibration
    encoder: str
    """The fingerprint of the embedder."""
    trustworthy: bool = True
    """Whether the labels held a signal that a fit could find in prompts it had not seen."""
    share_errors: dict[str, float] = {}
    """By the share of strong answers that is asked for, how far the real share is expected to be off. Empty: not
    known."""

    def share_error(self, share: float) -> float | None:
        """Return how far off any share is expected to be. None: not known."""
        if not self.share_errors:
            return None
        known = {float(asked): error for asked, error in self.share_errors.items()} | {0.0: 0.0, 1.0: 0.0}
        asked = sorted(known)
        return float(np.interp(share, asked, [known[one] for one in asked]))

    @cached_property
    def columns(self) -> dict[str, int]:
        """Return the column of each term."""
        return {term: column for column, term in enumerate(self.vocabulary)}

    @cached_property
    def _idf(self) -> list[float]:
        return [float(value) for value in self.idf]

    @cached_property
    def _word_weights(self) -> list[list[float]]:
        """Return the weights of all models, for each term."""
        weights: list[list[float]] = self.weights["words"].T.tolist()
        return weights

    @cached_property
    def _length_weights(self) -> list[tuple[list[float], float]]:
        """Return, for each model, weights for the measured figures and an offset."""
        scaled = self.weights["length"] / self.shape_scale
        return list(zip(scaled.tolist(), (-scaled @ self.shape_mean).tolist(), strict=True))

    @cached_property
    def _directions(self) -> Floats:
        """Return the rows that a vector is compared with: the models' weights, then the routes' prototypes."""
        return np.vstack([self.weights["embedding"], self.prototypes])

    @cached_property
    def _route_gains(self) -> Floats:
        """Return what a prompt that belongs fully to a route adds to the gains: float32 (models, routes)."""
        return self.prior_weight[:, None] * self.priors

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with what was learned."""
        arrays = (*self.weights.values(), self.bias, self.idf, self.prototypes, self.priors, self.prior_weight)
        made = hashlib.sha256(repr((self.models, self.vocabulary)).encode())
        for array in arrays:
            made.update(np.ascontiguousarray(array).tobytes())
        return str(made.hexdigest()[:16])

    def predict(self, text: str, vector: Floats) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Predict each model's gain over the first, and what each view adds to it. `vector`: float32 (dim,),
        L2-normalised.
        """
        size = len(self.models)
        places, values = tfidf(terms(text), self.columns, self._idf)
        found = [self._word_weights[place] for place in places] or [[0.0] * size]
        figures = shape(text)
        similarities = self._directions @ vector
        shares = route_shares(similarities[None, size:])[0]
        views = (
            similarities[:size].tolist(),
            [sum(map(mul, weights, values)) for weights in zip(*found, strict=True)],
            [sum(map(mul, weights, figures), more) for weights, more in self._length_weights],
            (self._route_gains @ shares).tolist(),
            self.bias.tolist(),
        )
        parts = {
            model: dict(zip(VIEWS, added, strict=True))
            for model, added in zip(self.models, zip(*views, strict=True), strict=True)
        }
        return {model: sum(added.values()) for model, added in parts.items()}, parts

    def threshold(
        self, models: tuple[str, ...], strong_share: float | None, min_quality_retained: float | None
    ) -> float:
        """Return the gap between the best model and the first of these from which the first is passed over.

        It is measured on prompts that the fit had not seen. All these models must be known here.
        """
        places = tuple(self.models.index(model) for model in models)
        return self._known_threshold(places, strong_share, min_quality_retained)

    @cached_property
    def _known_threshold(self) -> Callable[[tuple[int, ...], float | None, float | None], float]:
        """As `_threshold`, but remembers the results. The memory ends with this gain, and nothing in it refers back to
        this gain.
        """
        return lru_cache(MAX_THRESHOLDS)(partial(_threshold, self.calibration))


def _threshold(
    calibration: Calibration, places: tuple[int, ...], strong_share: float | None, retained: float | None
) -> float:
    behind = behind_best(calibration.predicted[:, places])
    if strong_share is not None:
        return threshold_for_share(behind[:, 0], strong_share)
    known = calibration.quality[:, places]
    judged = ~np.isnan(known).any(axis=1)
    return threshold_for_quality(behind[judged], known[judged], retained if retained is not None else 1.0)


def behind_best(predicted: Floats) -> Floats:
    """Return how far each model is behind the best one of a prompt: float32 (n, models), from gains of the same
    shape.
    """
    behind: Floats = predicted.max(axis=1, keepdims=True) - predicted
    return behind


def picked(behind: Floats, threshold: float) -> NDArray[np.int64]:
    """Return the model of each prompt, int64 (n,): the first that is behind by less than the threshold, else the
    best.
    """
    near = behind < threshold
    places: NDArray[np.int64] = np.where(near.any(axis=1), near.argmax(axis=1), behind.argmin(axis=1))
    return places


def threshold_for_share(gaps: Floats, share: float) -> float:
    """Return the gap that this share of prompts reaches."""
    if share <= 0 or not len(gaps):
        return float("inf") if share <= 0 else float("-inf")
    return float("-inf") if share >= 1 else float(np.quantile(gaps, 1 - share))


def threshold_for_quality(behind: Floats, quality: Floats, retained: float) -> float:
    """Return the largest threshold with which the `picked` models keep this share of the best model's mean quality.

    Both are float32 (n, models), the cheapest model first.
    """
    if not len(behind):
        return float("-inf")
    # As the threshold falls to a model's distance from the best, its prompts move to the next model that is nearer.
    gap, worth = behind[:, 0], quality[:, 0].astype(np.float64)
    kept, wanted = float(worth.sum()), retained * float(quality.sum(axis=0, dtype=np.float64).max())
    if kept >= wanted:
        return float("inf")
    left, gained = [], []
    for nearness, value in zip(behind.T[1:], quality.T[1:], strict=True):
        nearer = nearness < gap
        left.append(gap[nearer])
        gained.append((value - worth)[nearer])
        gap, worth = np.where(nearer, nearness, gap), np.where(nearer, value, worth)
    steps, place = np.unique(-np.concatenate(left), return_inverse=True)
    totals = kept + np.cumsum(np.bincount(place, np.concatenate(gained), len(steps)))
    enough = np.flatnonzero(totals >= wanted)
    return -float(steps[enough[0]]) if len(enough) else float("-inf")


def tfidf(found: Sequence[str], columns: Mapping[str, int], idf: Sequence[float]) -> tuple[list[int], list[float]]:
    """Return the known terms of a prompt and their weights: sublinear counts times idf, of unit length."""
    counts: dict[int, int] = {}
    for term in found:
        column = columns.get(term)
        if column is not None:
            counts[column] = counts.get(column, 0) + 1
    values = [(1 + math.log(times)) * idf[column] for column, times in counts.items()]
    length = math.hypot(*values)
    return list(counts), [value / length for value in values]


def route_shares(similarities: Floats) -> Floats:
    """Return how much each prompt belongs to each route: float32 (n, routes), rows that sum to 1. Empty without routes.

    `similarities`: of each prompt to each route's prototype.
    """
    if not similarities.size:
        return similarities
    powers = np.exp((similarities - similarities.max(axis=1, keepdims=True)) / ROUTE_TEMPERATURE)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
