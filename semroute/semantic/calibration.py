"""From cross-fitted scores to probabilities and thresholds; nothing but the route files is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semroute.routing import scoring
from semroute.semantic.crossfit import FAR_MISS, IN_SCOPE, NEAR_MISS

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

OUT_OF_SCOPE_SHARE = 0.2
"""Share of prompts taken to be out of scope: the confidence is a probability in such a mixture."""
NEAR_SHARE = 0.15
"""Of those, the near misses: routes left out are harder to tell than what people ask in general. From .02, .15, 1/3, .5
and .7 by the mean AUROC over 24 sets, from 3 routes to 150 and 2 to 100 utterances each, made of CLINC150's training
and validation splits and the wide routes of this repository, half of them with whole routes left out."""
GATE_PRIOR = np.array([0.9, 0.2, 0.2, 0.4, 2.0])
"""Coefficients of the standardised evidence, and the intercept, before anything is seen: about the mean of what the
same subsets gave. It decides alone only where there is nothing to cross-fit."""
PRIOR_WEIGHT = 1.0
"""Inverse variance of the coefficients around `GATE_PRIOR`."""
EVIDENCE_PRIOR = np.array([[4.0, 5.0, 0.6, 0.6], [1.5, 1.0, 0.12, 0.12]])
"""Mean and deviation of in-scope evidence where there is nothing to cross-fit."""
TEMPERATURES = np.geomspace(0.25, 4.0, 49)
TEMPERATURE_PRIOR = 5.0
"""Inverse variance of the log of the temperature around 0."""
NO_THRESHOLD = 0.5
"""Where little or nothing could be cross-fitted."""
POOLED_WEIGHT = 100
"""Cross-fitted utterances at which a route's own quantile counts as much as that of all routes together."""


def fit_gate(evidence: Doubles, kinds: Ints) -> Doubles:
    """Coefficients and intercept of the log-odds of being in scope: float64 (evidence + 1,).

    Logistic regression by Newton's method (Platt scaling, Platt 1999, with several scores), with a Gaussian prior.
    """
    inside = evidence[kinds == IN_SCOPE]
    mean, deviation = (inside.mean(axis=0), inside.std(axis=0)) if len(inside) > 1 else EVIDENCE_PRIOR
    deviation = np.maximum(deviation, EVIDENCE_PRIOR[1] / 10)
    coefficients = GATE_PRIOR.copy()
    if len(inside) > 1 and len(inside) < len(kinds):
        design = np.column_stack(((evidence - mean) / deviation, np.ones(len(kinds))))
        coefficients = _logistic(design, (kinds == IN_SCOPE).astype(np.float64), _mixture(kinds))
    slopes = coefficients[:-1] / deviation
    return np.append(slopes, coefficients[-1] - mean @ slopes)


def _mixture(kinds: Ints) -> Doubles:
    """Weights that make the rows the mixture of prompts that is assumed."""
    counts = np.bincount(kinds, minlength=3)
    shares = np.array([1 - OUT_OF_SCOPE_SHARE, OUT_OF_SCOPE_SHARE * NEAR_SHARE, OUT_OF_SCOPE_SHARE * (1 - NEAR_SHARE)])
    if not counts[NEAR_MISS]:
        shares[FAR_MISS] = OUT_OF_SCOPE_SHARE
    if not counts[FAR_MISS]:
        shares[NEAR_MISS] = OUT_OF_SCOPE_SHARE
    weights = shares / np.maximum(counts, 1) * counts[IN_SCOPE] / shares[IN_SCOPE]
    return np.asarray(weights[kinds], dtype=np.float64)


def _logistic(design: Doubles, target: Doubles, weights: Doubles) -> Doubles:
    coefficients = GATE_PRIOR.copy()
    precision = np.full(design.shape[1], PRIOR_WEIGHT)
    precision[-1] = 1e-3
    for _ in range(50):
        probability = scoring.sigmoid(design @ coefficients)
        slope = design.T @ (weights * (probability - target)) + precision * (coefficients - GATE_PRIOR)
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + np.diag(precision), slope)
        coefficients -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def fit_temperature(logits: list[Floats], owners: list[Ints]) -> float:
    """The temperature at which the shares of in-scope rows are probabilities (Guo et al. 2017)."""
    losses = 0.5 * TEMPERATURE_PRIOR * np.log(TEMPERATURES) ** 2
    for rows, right in zip(logits, owners, strict=True):
        if rows.shape[1] < 2:
            continue
        here = np.arange(len(rows))
        losses -= [np.log(scoring.shares(rows, t)[here, right] + 1e-12).sum() for t in TEMPERATURES]
    return float(TEMPERATURES[np.argmin(losses)])


def fit_thresholds(in_scope: Doubles, owners: Ints, routes: int, target: float) -> Doubles:
    """How likely in scope a prompt must be for each route, so that `target` of its own abstain: float64 (routes,).

    `in_scope` are the probabilities of cross-fitted utterances (n,), `owners` their routes. Split conformal
    (Vovk et al. 2005; Angelopoulos and Bates 2021): below the k-th smallest of n scores, k = floor(target (n + 1)), a
    further prompt of the same kind falls with probability at most `target`, and at least `target` - 1 / (n + 1). All
    routes together, each with the same weight, give one threshold; a route with enough utterances to have a quantile of
    its own moves its threshold towards that.
    """
    if not len(in_scope):
        return np.full(routes, NO_THRESHOLD)
    counts = np.bincount(owners, minlength=routes)
    pooled = _quantile(in_scope, 1 / counts[owners], target)
    thresholds = np.full(routes, pooled)
    for route in np.flatnonzero(np.floor(target * (counts + 1)) >= 1):
        own = np.sort(in_scope[owners == route])[int(target * (counts[route] + 1)) - 1]
        share = counts[route] / (counts[route] + POOLED_WEIGHT)
        thresholds[route] += share * (own - pooled)
    return thresholds


def _quantile(scores: Doubles, weights: Doubles, target: float) -> float:
    """The largest score below which at most `target` of the weight lies, one row of mean weight added.

    With too few rows for that, the smallest score, or `NO_THRESHOLD` if that is less.
    """
    order = np.argsort(scores)
    below = np.cumsum(weights[order])
    place = int(np.searchsorted(below, target * (below[-1] + weights.mean()), side="right")) - 1
    return float(scores[order][place] if place >= 0 else min(scores[order][0], NO_THRESHOLD))


def claim(calibrated_on: Ints, target: float) -> str:
    """What the thresholds promise, in words. `calibrated_on`: cross-fitted utterances behind each, (routes,)."""
    rows = int(calibrated_on.sum())
    needed = int(np.ceil(1 / target)) - 1
    if rows < needed:
        return f"nothing is promised: {rows} utterances could be cross-fitted, {target:.0%} takes at least {needed}"
    least = max(0.0, target - 1 / (rows + 1))
    own = int((calibrated_on >= needed).sum())
    return (
        f"of prompts like the utterances, {least:.1%} to {target:.1%} abstain though they belong to a route, routes "
        f"counting alike (split conformal on {rows} cross-fitted utterances; {own} of {len(calibrated_on)} routes have "
        "enough for a threshold of their own). Heads of the cross-fit saw fewer utterances: rather less will abstain"
    )
