"""Figures that say how good decisions are. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semroute.types import Frozen

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class RouteMetrics(Frozen, frozen=True, kw_only=True):
    """One route, taken as a classifier of its own. Without a row to count, a figure is null."""

    n: int
    """Rows that belong to it."""
    precision: float | None
    recall: float | None
    f1: float | None


class Confusion(Frozen, frozen=True, kw_only=True):
    """Rows of one route that were given to another."""

    expected: str | None
    """null: no route."""
    decided: str | None
    n: int
    example: str
    """The first such prompt."""


def auroc(positive: Floats, negative: Floats) -> float | None:
    """The chance that a positive scores above a negative, ties counting half; null without both.

    Source: the Mann-Whitney statistic, Hanley and McNeil 1982.
    """
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(np.sort(negative), positive, side="left")
    not_above = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def expected_calibration_error(confidence: Floats, right: Flags, bins: int = 10) -> float | None:
    """How far confidences are from the share of right answers, over bins of equal width; null without rows.

    Source: Guo et al. 2017, section 2.
    """
    if not len(confidence):
        return None
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[places == b].mean()) - float(right[places == b].mean())) * float((places == b).mean())
        for b in range(bins)
        if (places == b).any()
    ]
    return float(sum(gaps))


def per_route(expected: Sequence[str | None], decided: Sequence[str | None]) -> dict[str, RouteMetrics]:
    """Precision, recall and F1 of each route that is expected or decided anywhere, by name."""
    belongs, taken = Counter(expected), Counter(decided)
    hits = Counter(want for want, got in zip(expected, decided, strict=True) if want == got)
    names = sorted(name for name in belongs | taken if name is not None)
    return {name: _route_metrics(hits[name], belongs[name], taken[name]) for name in names}


def confusions(
    texts: Sequence[str], expected: Sequence[str | None], decided: Sequence[str | None]
) -> tuple[Confusion, ...]:
    """Every pair of routes that was confused, the most frequent first."""
    count: Counter[tuple[str | None, str | None]] = Counter()
    example: dict[tuple[str | None, str | None], str] = {}
    for text, want, got in zip(texts, expected, decided, strict=True):
        if want != got:
            count[want, got] += 1
            example.setdefault((want, got), text)
    return tuple(
        Confusion(expected=want, decided=got, n=n, example=example[want, got]) for (want, got), n in count.most_common()
    )


def _route_metrics(hits: int, belongs: int, taken: int) -> RouteMetrics:
    return RouteMetrics(
        n=belongs,
        precision=hits / taken if taken else None,
        recall=hits / belongs if belongs else None,
        f1=2 * hits / (belongs + taken) if belongs else None,
    )
