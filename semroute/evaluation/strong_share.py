"""Estimate how far the share of prompts that get a strong model may be from the share that a policy asks for.

The threshold of `strong_share` is read off the labels. With few labels, this threshold is off, and so is the fit. To
measure how far, the same is done with a part of the labels: four fifths give a fit and a threshold, which are applied
to the last fifth.
"""

from __future__ import annotations

import numpy as np

from semroute.evaluation.gain_fit import FOLDS, Design, Floats, Labels, Rows, best_prior_weight, cross_fit, predict
from semroute.routing.learned_gain import behind_best, threshold_for_share

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)
MAX_ROWS = 1000
"""The most labels that are used. More would take longer and change little, because the error is small by then."""


def share_errors(labels: Labels, seed: int = 0) -> dict[str, float]:
    """Return the expected error, 0 to 1, by the share that is asked for.

    It is a root mean square over prompts that were not seen before.
    """
    size = len(labels.texts)
    order = np.random.default_rng(seed).permutation(size)[:MAX_ROWS]
    folds = np.array_split(order, FOLDS)
    off: dict[float, list[float]] = {share: [] for share in SHARES}
    for fold in folds:
        seen = np.setdiff1d(order, fold)
        known, new = _gaps(labels, seen, fold, seed)
        for share, errors in off.items():
            strong = (new >= threshold_for_share(known, share)) & (
                new > 0
            )  # a gap of 0 means that the cheapest is the best, and answers
            errors.append(float(strong.mean()) - share)
    return {f"{share:g}": round(_expected(errors, share, size, len(folds[0])), 4) for share, errors in off.items()}


def _gaps(labels: Labels, seen: Rows, asked: Rows, seed: int) -> tuple[Floats, Floats]:
    """Return how far the cheapest model is behind the best.

    This covers the rows that were seen (cross-fitted) and the rows that are asked for.
    """
    part = labels.take(np.concatenate([seen, asked]))
    rows, others = np.arange(len(seen)), np.arange(len(seen), len(part.texts))
    design = Design(part, rows)
    known, new = np.zeros((len(seen), len(part.models))), np.zeros((len(asked), len(part.models)))
    for place in range(1, len(part.models)):
        target = (part.quality[:, place] - part.quality[:, 0]).astype(np.float64)
        judged = rows[~np.isnan(target[rows])]
        truth = np.nan_to_num(target)
        parts = cross_fit(part, design, truth, judged, seed)
        weight = best_prior_weight(parts, truth[judged]) if len(judged) else 0.0
        said = predict(part, design, truth, judged, np.concatenate([rows, others])).mix(weight)
        known[:, place], new[:, place] = said[rows], said[others]
        known[judged, place] = parts.mix(weight)
    return behind_best(known.astype(np.float32))[:, 0], behind_best(new.astype(np.float32))[:, 0]


def _expected(errors: list[float], share: float, labels: int, fold: int) -> float:
    """Return the root mean square, minus the error by chance in a small fold, plus that in all labels."""
    spread = share * (1 - share)
    return float(np.sqrt(max(0.0, float(np.mean(np.square(errors))) - spread / fold) + spread / labels))
