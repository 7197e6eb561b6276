"""Figures that say how good decisions are. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semroute.bases import Frozen

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

EXAMPLES = 5
"""How many prompts a confusion shows."""


class RouteMetrics(Frozen, frozen=True, kw_only=True):
    """The figures of one route, taken as a classifier of its own. A figure without rows is None."""

    n: int
    """Rows that belong to it."""
    precision: float | None
    recall: float | None
    f1: float | None


class Confusion(Frozen, frozen=True, kw_only=True):
    """Rows of one route that were given to another."""

    expected: str | None
    """None: no route."""
    decided: str | None
    n: int
    example: str
    """The first such prompt."""
    examples: tuple[str, ...] = ()
    """The first few."""


class Bin(Frozen, frozen=True, kw_only=True):
    """Decisions whose confidence lies in one range: a row of the reliability table."""

    low: float
    high: float
    n: int
    confidence: float
    """The mean confidence."""
    accuracy: float
    """The share that was right. With calibrated confidence, both are equal."""


class RiskPoint(Frozen, frozen=True, kw_only=True):
    """What a threshold would do."""

    threshold: float
    coverage: float
    """Share of prompts whose best route would be taken."""
    risk: float
    """Share of these that would be wrong."""


def auroc(positive: Floats, negative: Floats) -> float | None:
    """Return the chance that a positive scores above a negative. Ties count half. None: one of the two is missing.

    Source: the Mann-Whitney statistic, Hanley and McNeil 1982.
    """
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(np.sort(negative), positive, side="left")
    not_above = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def false_positive_rate(positive: Floats, negative: Floats, recall: float = 0.95) -> float | None:
    """Return the share of negatives above the threshold that keeps `recall` of the positives.

    None: one kind is missing.
    """
    if not len(positive) or not len(negative):
        return None
    kept = int(np.ceil(recall * len(positive)))
    threshold = np.sort(positive)[len(positive) - kept]
    return float((negative >= threshold).mean())


def reliability(confidence: Floats, right: Flags, bins: int = 10) -> tuple[Bin, ...]:
    """Compare confidence with truth in bins of equal width. Bins without a row are left out."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            low=b / bins,
            high=(b + 1) / bins,
            n=int((places == b).sum()),
            confidence=float(confidence[places == b].mean()),
            accuracy=float(right[places == b].mean()),
        )
        for b in range(bins)
        if (places == b).any()
    )


def expected_calibration_error(confidence: Floats, right: Flags, bins: int = 10) -> float | None:
    """Return how far confidences are from the share of right answers, over bins of equal width. None: no rows.

    Source: Guo et al. 2017, section 2.
    """
    if not len(confidence):
        return None
    table = reliability(confidence, right, bins)
    return sum(abs(row.confidence - row.accuracy) * row.n for row in table) / len(confidence)


def risk_coverage(confidence: Floats, right: Flags, points: int = 100) -> tuple[RiskPoint, ...]:
    """Return how much each threshold would take, and how much of that wrongly, from strict to lax.

    There are at most `points` points. Source: El-Yaniv and Wiener 2010.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, wrong = confidence[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, dtype=np.int64)
    if len(ends) > points:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, points).astype(int))]
    return tuple(
        RiskPoint(
            threshold=float(ranked[end]),
            coverage=float((end + 1) / len(ranked)),
            risk=float(wrong[end] / (end + 1)),
        )
        for end in ends
    )


def per_route(expected: Sequence[str | None], decided: Sequence[str | None]) -> dict[str, RouteMetrics]:
    """Return precision, recall and F1 of each route that is expected or decided anywhere, by name."""
    belongs, taken = Counter(expected), Counter(decided)
    hits = Counter(want for want, got in zip(expected, decided, strict=True) if want == got)
    names = sorted(name for name in belongs | taken if name is not None)
    return {name: _route_metrics(hits[name], belongs[name], taken[name]) for name in names}


def confusions(
    texts: Sequence[str], expected: Sequence[str | None], decided: Sequence[str | None]
) -> tuple[Confusion, ...]:
    """Return every pair of routes that was confused, the most frequent first."""
    confused: dict[tuple[str | None, str | None], list[str]] = {}
    for text, want, got in zip(texts, expected, decided, strict=True):
        if want != got:
            confused.setdefault((want, got), []).append(text)
    return tuple(
        Confusion(expected=want, decided=got, n=len(rows), example=rows[0], examples=tuple(rows[:EXAMPLES]))
        for (want, got), rows in sorted(confused.items(), key=lambda item: -len(item[1]))
    )


def _route_metrics(hits: int, belongs: int, taken: int) -> RouteMetrics:
    return RouteMetrics(
        n=belongs,
        precision=hits / taken if taken else None,
        recall=hits / belongs if belongs else None,
        f1=2 * hits / (belongs + taken) if belongs else None,
    )
