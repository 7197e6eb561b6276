"""Thresholds from labelled prompts. Pure: outcomes in, thresholds out.

A threshold decides nothing but whether the best route is taken. So a route's is chosen on the prompts whose best route
it is: to take one that belongs to it is right, to leave one that belongs nowhere is right, and one that belongs to
another route is lost either way.
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
"""The half-width of a 95% interval beyond which a share says too little to set anything by."""
FOLDS = 5
SEED = 0


def rows_needed(half_width: float = WIDEST) -> int:
    """How many prompts it takes to know a share to within `half_width`, 19 times in 20, whatever the share is.

    n = (z / 2w)², the normal interval of a binomial share at its widest, p = 1/2: 43 for 15 points, 97 for 10.
    """
    return math.ceil((Z95 / (2 * half_width)) ** 2)


class Point(Frozen, frozen=True, kw_only=True):
    """What one threshold for all routes would do: a row of the trade-off table."""

    threshold: float
    accuracy: float
    """Right decisions, abstentions included."""
    coverage: float
    """Prompts that a route takes."""
    wrong: float
    """Of these, taken by the wrong route."""
    false_abstain: float
    """In-scope prompts that no route takes."""
    oos_recall: float
    """Out-of-scope prompts that no route takes."""


class Tuning(Frozen, frozen=True, kw_only=True):
    """What `semroute tune` found."""

    n: int
    """Prompts; copies of one count once, with the first's label."""
    threshold: float
    """The best for all routes together; within a bound, for those without their own."""
    thresholds: dict[str, float]
    """By route: its own where it has enough prompts, else that one."""
    own: tuple[str, ...]
    """The routes with a threshold of their own."""
    accuracy_before: float
    """Of the prompts as they were decided."""
    accuracy: float
    """Of the same prompts with `thresholds`: optimistic, since these were chosen on them."""
    accuracy_held_out: float
    """Of prompts left out while choosing, in five parts: what to expect of new ones."""
    table: tuple[Point, ...]


def tune(outcomes: Sequence[Outcome], routes: Sequence[str], max_false_abstain: float | None = None) -> Tuning:
    """The thresholds with the most right decisions; with `max_false_abstain`, the highest that keep to it.

    A prompt counts once, however often it stands there: a copy tells nothing new, and holds nothing out. Raises
    `RequestError` where there are too few prompts to tell, saying how many are enough.
    """
    outcomes = list({words(outcome.text): outcome for outcome in reversed(outcomes)}.values())[::-1]
    require_enough(outcomes)
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


def require_enough(outcomes: Sequence[Outcome]) -> None:
    """Raises `RequestError` where there are too few prompts, in scope or out of it, for a share to mean much."""
    needed = rows_needed()
    in_scope = sum(outcome.expected is not None for outcome in outcomes)
    for kind, count in (
        ("that a route should take", in_scope),
        ("that no route should take", len(outcomes) - in_scope),
    ):
        if count < needed:
            width = Z95 / (2 * math.sqrt(count)) if count else 1.0
            raise RequestError(
                f"too little to tune on: {count} different prompts {kind} tell a share to within {min(width, 1):.0%} "
                f"at best; expected {needed} or more (within {WIDEST:.0%}, 19 times in 20)"
            )


def choose(outcomes: Sequence[Outcome], routes: Sequence[str], max_false_abstain: float | None) -> dict[str, float]:
    """Thresholds by route, for the routes that have enough prompts; under "" the one for all others.

    Within a bound, a route's share is one of its prompts in scope: it needs enough of these, and the threshold for the
    others keeps to the bound on theirs.
    """
    bounded = max_false_abstain is not None
    left = [outcome for outcome in outcomes if outcome.best is not None]  # in the others no threshold has a say
    chosen = {}
    for route in routes:
        own = [outcome for outcome in left if outcome.best == route]
        if sum(outcome.expected is not None or not bounded for outcome in own) >= rows_needed():
            chosen[route] = _best(own, max_false_abstain)
    others = [outcome for outcome in left if outcome.best not in chosen]
    shared = others if bounded and any(outcome.expected is not None for outcome in others) else left
    return {"": _best(shared, max_false_abstain), **chosen}


def point(outcomes: Sequence[Outcome], threshold: float) -> Point:
    """What a threshold would do to prompts whatever route is best for them."""
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
    """The middle of the range of thresholds that are best, so that a little more or less changes nothing."""
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
    """The last of the first run of neighbouring levels."""
    breaks = np.flatnonzero(np.diff(best) > 1)
    return int(best[breaks[0]] if len(breaks) else best[-1])


def _strictest(in_scope: Floats, max_false_abstain: float) -> float:
    """The highest threshold below which no more than the given share lies; `in_scope` is sorted."""
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
