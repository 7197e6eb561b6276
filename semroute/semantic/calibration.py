"""Turn cross-fitted scores into probabilities and thresholds. Only the route files are needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semroute.routing import scoring
from semroute.semantic.crossfit import FAR_MISS, IN_SCOPE, NEAR_MISS

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

OUT_OF_SCOPE_SHARE = 0.2
"""The assumed share of prompts that are out of scope. The confidence is a probability in this mixture."""
NEAR_SHARE = 0.15
"""The share of near misses among them. Left-out routes are harder to tell apart than what people ask in general. From
.02, .15, 1/3, .5
and .7 by the mean AUROC over 24 sets, from 3 routes to 150 and 2 to 100 utterances each, made of CLINC150's training
and validation splits and the wide routes of this repository, half of them with whole routes left out."""
GATE_PRIOR = np.array([1.0, 0.1, 0.25, 0.4, -0.6, 2.0])
"""Coefficients of the standardised evidence, and the intercept, before anything is seen. Fitted to 36 draws of 4, 8 and
16 routes of one or two domains with 12 utterances each, from CLINC150's training split, and to 36 of another public
set. Judged on CLINC150's validation split and on other prompts of that set. Without anything to cross-fit, it decides
alone."""
PRIOR_WEIGHT = 600.0
"""Inverse variance of the coefficients around `GATE_PRIOR`, times the number of routes. A few routes show little of
what is out of scope, since only routes that are left out do: with an inverse variance of 1, 10, 30, 100 and 300, the
same draws turn away .71, .76, .77, .78 and .79 of the near misses where 5% in scope abstain."""
EVIDENCE_PRIOR = np.array([[4.3, 4.9, 0.65, 0.2, 8.4], [1.1, 1.0, 0.135, 0.165, 0.75]])
"""Mean and deviation of in-scope evidence where there is nothing to cross-fit: about those with one utterance a route,
for 3 to 150 routes of CLINC150's training split, on its validation split."""
SLOPE_WEIGHT = 1.0
"""Inverse variance of the factor by which all coefficients are then multiplied, around 1."""
TEMPERATURES = np.geomspace(0.25, 4.0, 49)
TYPICAL_TEMPERATURE = 0.5
"""About what most sets gave. It is used if there is nothing to cross-fit."""
TEMPERATURE_PRIOR = 5.0
"""Inverse variance of the log of the temperature around that of `TYPICAL_TEMPERATURE`."""
NO_THRESHOLD = 0.5
"""The threshold if little or nothing could be cross-fitted."""
OWN_PLACE = 5
"""A route has a threshold of its own if that would be at least the fifth smallest of its scores. With a target of 5%
that takes 99 scores. The share that abstains then varies by 2 points. With the smallest of 19 scores it would vary by
5."""
SOME, FEW = -1, -2
"""The groups of all other routes: those with enough scores for a threshold, and those with too few."""


def fit_gate(evidence: Doubles, kinds: Ints, routes: int) -> Doubles:
    """Coefficients and intercept of the log-odds of being in scope: float64 (evidence + 1,).

    `routes`: how many there are.

    Logistic regression by Newton's method (Platt scaling, Platt 1999, with several scores), with a Gaussian prior.
    """
    inside = evidence[kinds == IN_SCOPE]
    mean, deviation = (inside.mean(axis=0), inside.std(axis=0)) if len(inside) > 1 else EVIDENCE_PRIOR
    deviation = np.maximum(deviation, EVIDENCE_PRIOR[1] / 10)
    coefficients = GATE_PRIOR.copy()
    if len(inside) > 1 and len(inside) < len(kinds):
        design = np.column_stack(((evidence - mean) / deviation, np.ones(len(kinds))))
        inside_too, weights = (kinds == IN_SCOPE).astype(np.float64), _mixture(kinds)
        coefficients = _logistic(design, inside_too, weights, GATE_PRIOR, PRIOR_WEIGHT / routes)
        # How sure the evidence makes is seen in far fewer rows than what it is worth: one slope in place of five.
        evident = np.column_stack((design[:, :-1] @ coefficients[:-1], np.ones(len(kinds))))
        slope, intercept = _logistic(evident, inside_too, weights, np.array([1.0, coefficients[-1]]), SLOPE_WEIGHT)
        coefficients = np.append(slope * coefficients[:-1], intercept)
    slopes = coefficients[:-1] / deviation
    return np.append(slopes, coefficients[-1] - mean @ slopes)


def _mixture(kinds: Ints) -> Doubles:
    """Return weights that turn the rows into the assumed mixture of prompts."""
    counts = np.bincount(kinds, minlength=3)
    shares = np.array([1 - OUT_OF_SCOPE_SHARE, OUT_OF_SCOPE_SHARE * NEAR_SHARE, OUT_OF_SCOPE_SHARE * (1 - NEAR_SHARE)])
    if not counts[NEAR_MISS]:
        shares[FAR_MISS] = OUT_OF_SCOPE_SHARE
    if not counts[FAR_MISS]:
        shares[NEAR_MISS] = OUT_OF_SCOPE_SHARE
    weights = shares / np.maximum(counts, 1) * counts[IN_SCOPE] / shares[IN_SCOPE]
    return np.asarray(weights[kinds], dtype=np.float64)


def _logistic(design: Doubles, target: Doubles, weights: Doubles, prior: Doubles, strength: float) -> Doubles:
    """Fit coefficients, the intercept last. `strength`: their inverse variance around `prior`."""
    coefficients = prior.copy()
    precision = np.full(design.shape[1], strength)
    precision[-1] = 1e-3
    for _ in range(50):
        probability = scoring.sigmoid(design @ coefficients)
        slope = design.T @ (weights * (probability - target)) + precision * (coefficients - prior)
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + np.diag(precision), slope)
        coefficients -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def fit_temperature(logits: list[Floats], owners: list[Ints]) -> float:
    """Return the temperature at which the shares of in-scope rows are probabilities (Guo et al. 2017)."""
    losses = 0.5 * TEMPERATURE_PRIOR * np.log(TEMPERATURES / TYPICAL_TEMPERATURE) ** 2
    for rows, right in zip(logits, owners, strict=True):
        if rows.shape[1] < 2:
            continue
        here = np.arange(len(rows))
        losses -= [np.log(scoring.shares(rows, t)[here, right] + 1e-12).sum() for t in TEMPERATURES]
    return float(TEMPERATURES[np.argmin(losses)])


def fit_thresholds(in_scope: Doubles, owners: Ints, routes: int, target: float) -> Doubles:
    """Return how likely a prompt of each route must be in scope, so that the share `target` of its prompts abstains:
    float64 (routes,).

    `in_scope`: the probabilities of cross-fitted utterances (n,). `owners`: their routes.

    The method is split conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2021) by groups of routes. Take
    the k-th smallest of a group's n scores, with k = target (n + 1). A further prompt of the same kind falls below it
    with probability k / (n + 1). If k lies between two whole numbers, the threshold lies between the two scores in
    proportion.
    """
    groups = _groups(np.bincount(owners, minlength=routes), target)
    thresholds = np.empty(routes)
    for group in np.unique(groups):
        members = groups == group
        thresholds[members] = _quantile(in_scope[members[owners]], target)
    return thresholds


def _groups(calibrated_on: Ints, target: float) -> Ints:
    """Return a group for each route: int64 (routes,). The routes of a group share a threshold.

    A route with enough scores is a group of its own. All other routes form two groups, because routes with more scores
    would almost decide a common threshold alone.
    """
    places = _place(calibrated_on, target)
    return np.where(places >= OWN_PLACE, np.arange(len(places)), np.where(places >= 1, SOME, FEW))


def _place(scores: Ints, target: float) -> Ints:
    """Return the rank, from the smallest, of the score that is the threshold. 0: there are too few scores."""
    places: Ints = np.floor(target * (scores + 1) + 1e-9).astype(np.int64)
    return places


def _quantile(scores: Doubles, target: float) -> float:
    """Return the threshold. With too few scores it is the smallest of them, or `NO_THRESHOLD` if that is less."""
    place = int(_place(np.array(len(scores)), target))
    if not place:
        return float(min([*scores, NO_THRESHOLD]))
    lower, upper = np.sort(scores)[[place - 1, min(place, len(scores) - 1)]]
    return float(lower + (upper - lower) * (target * (len(scores) + 1) - place))


def claim(calibrated_on: Ints, target: float) -> str:
    """Say what the thresholds promise. `calibrated_on`: how many cross-fitted utterances each one rests on,
    (routes,).
    """
    groups = _groups(calibrated_on, target)
    own = calibrated_on[groups >= 0]
    kept, broken = [], []
    if len(own):
        kept.append(f"for {_routes(len(own))} one by one{_scatter(int(own.min()), target)}")
    for group in (SOME, FEW):
        members, scores = int((groups == group).sum()), int(calibrated_on[groups == group].sum())
        if members and _place(np.array(scores), target) >= 1:
            kept.append(f"for {_routes(members)} together{_scatter(scores, target)}")
        elif members:
            needed = int(np.ceil(1 / target)) - 1
            told = f"there are {scores} utterances to calibrate on, and {target:.0%} needs at least {needed}"
            broken.append(f"no share can be promised for {_routes(members)}: {told}")
    promise = (
        f"on average, at most {target:.1%} of the prompts of a route stay below its threshold: {' and '.join(kept)} "
        f"(split conformal on {calibrated_on.sum()} utterances, each scored by a classifier trained without it)"
    )
    return "; ".join([promise, *broken] if kept else broken)


def _routes(count: int) -> str:
    return f"{count} routes" if count > 1 else "1 route"


def _scatter(scores: int, target: float) -> str:
    """Say how far the share of one set of routes is from the average: the deviation of Beta(k, n + 1 - k)."""
    return f", give or take {100 * (target * (1 - target) / (scores + 2)) ** 0.5:.1f} points"
