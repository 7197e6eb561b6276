"""Thresholds from labelled prompts. Pure: outcomes in, thresholds out.

A threshold only decides whether the best route is taken. So the threshold of a route is chosen on the prompts for
which it is the best route. It is right to take a prompt of this route, and right to leave a prompt of no route. A
prompt of another route is lost in both cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semroute.bases import Frozen
from semroute.config.error_wording import words
from semroute.errors import RequestError
from semroute.evaluation.decision_metrics import Floats
from semroute.evaluation.measure import Outcome

Z95 = 1.96
WIDEST = 0.15
"""The largest half-width of a 95% interval with which a share is good enough to set a threshold."""
FOLDS = 5
SEED = 0


def rows_needed(half_width: float = WIDEST) -> int:
    """Return how many prompts show any share to within `half_width`, 19 times in 20.

    n = (z / 2w)², the normal interval of a binomial share at its widest, p = 1/2: 43 for 15 points, 97 for 10.
    """
    return math.ceil((Z95 / (2 * half_width)) ** 2)


class Point(Frozen, frozen=True, kw_only=True):
    """What one threshold for all routes would do: a row of the trade-off table."""

    threshold: float
    accuracy: float
    """The share of right decisions, abstentions included."""
    coverage: float
    """The share of prompts that a route takes."""
    wrong: float
    """The share of these that the wrong route takes."""
    false_abstain: float
    """The share of in-scope prompts that no route takes."""
    oos_recall: float
    """The share of out-of-scope prompts that no route takes."""


class Tuning(Frozen, frozen=True, kw_only=True):
    """What `semroute tune` found."""

    n: int
    """How many prompts. Copies count once, with the first label."""
    threshold: float
    """The best threshold for all routes together. With a bound, the one for routes without their own."""
    thresholds: dict[str, float]
    """By route, its own threshold if it has enough prompts, else the common one."""
    own: tuple[str, ...]
    """The routes with a threshold of their own."""
    accuracy_before: float
    """Accuracy of the decisions with the present thresholds."""
    accuracy: float
    """Accuracy on the same prompts with `thresholds`. It is optimistic, because the thresholds were chosen on these
    prompts."""
    accuracy_held_out: float
    """Accuracy on prompts left out while choosing, in five parts. Expect this for new prompts."""
    table: tuple[Point, ...]


def tune(outcomes: Sequence[Outcome], routes: Sequence[str], max_false_abstain: float | None = None) -> Tuning:
    """Find the thresholds with the most right decisions. With `max_false_abstain`, find the highest that keep to it.

    Copies of a prompt count once: a copy says nothing new, and cannot be held out from itself. Raises `RequestError` if
    there are too few prompts, and says how many are enough.
    """
    outcomes = list({words(outcome.text): outcome for outcome in reversed(outcomes)}.values())[::-1]
    require_enough(outcomes, bounded=max_false_abstain is not None)
    chosen = choose(outcomes, routes, max_false_abstain)
    return Tuning(
        n=len(outcomes),
        threshold=chosen[""],
        thresholds={route: chosen.get(route, chosen[""]) for route in routes},
        own=tuple(route for route in routes if route in chosen),
        accuracy_before=_share(outcome.decided == outcome.expected for outcome in outcomes),
        accuracy=_accuracy(outcomes, chosen),
        accuracy_held_out=_held_out(outcomes, routes, max_false_abstain),
        table=tuple(point(outcomes, step / 20) for step in range(21)),
    )


def require_enough(outcomes: Sequence[Outcome], *, bounded: bool = False) -> None:
    """Check that there are enough prompts in scope and out of scope. `bounded`: only those in scope are needed.

    Raises `RequestError`, which says how many are needed.
    """
    needed = rows_needed()
    in_scope = sum(outcome.expected is not None for outcome in outcomes)
    for kind, count, instead in (
        ("that a route should take", in_scope, ""),
        (
            "that no route should take",
            needed if bounded else len(outcomes) - in_scope,
            "; --max-false-abstain needs none of these",
        ),
    ):
        if count < needed:
            raise RequestError(
                f"too few prompts to tune on: got {count} different prompts {kind}, expected at least "
                f"{needed}, so that a share is known to within {100 * WIDEST:.0f} points{instead}"
            )


def choose(outcomes: Sequence[Outcome], routes: Sequence[str], max_false_abstain: float | None) -> dict[str, float]:
    """Choose thresholds for the routes that have enough prompts. The key "" has the one for all others.

    With a bound, a route needs enough prompts in scope, because the bound is a share of these. The common threshold
    keeps to the bound on the prompts of all other routes.
    """
    bounded = max_false_abstain is not None
    left = [outcome for outcome in outcomes if outcome.best is not None]  # no threshold decided the others
    chosen = {}
    for route in routes:
        own = [outcome for outcome in left if outcome.best == route]
        if sum(outcome.expected is not None or not bounded for outcome in own) >= rows_needed():
            chosen[route] = _best(own, max_false_abstain)
    others = [outcome for outcome in left if outcome.best not in chosen]
    shared = others if bounded and any(outcome.expected is not None for outcome in others) else left
    return {"": _best(shared, max_false_abstain), **chosen}


def point(outcomes: Sequence[Outcome], threshold: float) -> Point:
    """Return the effect of one threshold on all prompts."""
    decided = [(outcome.expected, _decided(outcome, {"": threshold})) for outcome in outcomes]
    return Point(
        threshold=threshold,
        accuracy=_share(route == expected for expected, route in decided),
        coverage=_share(route is not None for _, route in decided),
        wrong=_share(route != expected for expected, route in decided if route is not None),
        false_abstain=_share(route is None for expected, route in decided if expected is not None),
        oos_recall=_share(route is None for expected, route in decided if expected is None),
    )


def _best(outcomes: Sequence[Outcome], max_false_abstain: float | None) -> float:
    """Return the middle of the best range of thresholds, so that small changes have no effect."""
    confidence: Floats = np.array([outcome.confidence for outcome in outcomes], dtype=np.float64)
    belongs = np.array([outcome.expected == outcome.best for outcome in outcomes], dtype=bool)
    in_scope = np.array([outcome.expected is not None for outcome in outcomes], dtype=bool)
    levels: Floats = np.unique(np.concatenate([[0.0], confidence, [1.0]]))
    if max_false_abstain is not None:
        return _strictest(np.sort(confidence[in_scope]), max_false_abstain)
    ranked_in, ranked_out = np.sort(confidence[belongs]), np.sort(confidence[~in_scope])
    taken = len(ranked_in) - np.searchsorted(ranked_in, levels, side="left")
    left = np.searchsorted(ranked_out, levels, side="left")
    right: NDArray[np.int64] = taken + left
    best = np.flatnonzero(right == right.max())
    # A threshold between two levels acts as the upper one.
    high = levels[_run_end(best)]
    low = levels[best[0] - 1] if best[0] > 0 else levels[0]
    return round(float(low + high) / 2, 4)


def _run_end(best: NDArray[np.int64]) -> int:
    """Return the end of the first run of neighbouring levels."""
    breaks = np.flatnonzero(np.diff(best) > 1)
    return int(best[breaks[0]] if len(breaks) else best[-1])


def _strictest(in_scope: Floats, max_false_abstain: float) -> float:
    """Return the highest threshold below which at most the given share lies. `in_scope` is sorted."""
    if not len(in_scope):
        return 0.0
    return math.floor(float(in_scope[min(int(max_false_abstain * len(in_scope)), len(in_scope) - 1)]) * 1e4) / 1e4


def _held_out(outcomes: Sequence[Outcome], routes: Sequence[str], max_false_abstain: float | None) -> float:
    folds = np.random.default_rng(SEED).permutation(np.arange(len(outcomes)) % FOLDS)
    right = 0.0
    for fold in range(FOLDS):
        rest = [outcome for outcome, number in zip(outcomes, folds, strict=True) if number != fold]
        part = [outcome for outcome, number in zip(outcomes, folds, strict=True) if number == fold]
        right += _accuracy(part, choose(rest, routes, max_false_abstain)) * len(part)
    return right / len(outcomes)


def _accuracy(outcomes: Sequence[Outcome], thresholds: Mapping[str, float]) -> float:
    return _share(_decided(outcome, thresholds) == outcome.expected for outcome in outcomes)


def _decided(outcome: Outcome, thresholds: Mapping[str, float]) -> str | None:
    if outcome.best is None:
        return outcome.decided
    return outcome.best if outcome.confidence >= thresholds.get(outcome.best, thresholds[""]) else None


def _share(flags: Iterator[bool]) -> float:
    counted = list(flags)
    return sum(counted) / len(counted) if counted else 0.0
