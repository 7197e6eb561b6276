"""What a sweep found: a curve of cost against quality for each dial, and the setting that saves most.

The mark is found by going from today's cost downward. It stops at the first setting whose quality is not shown to be
above the floor, so that trying many settings does not make a lucky one likely: each step is only taken after the one
before it held (a fixed sequence of tests).
"""

from __future__ import annotations

import math
from typing import Literal

from semroute.bases import Frozen
from semroute.learning.sweep_estimate import MIN_UNITS, Estimate, Estimator, Level, Used
from semroute.learning.sweep_table import Block, Plan, SweepTable
from semroute.learning.unit_bootstrap import DRAWS, Interval

Verdict = Literal["as now", "kept", "lost", "not known"]
ASSUMED_SPREAD = 0.5
"""The standard deviation of the difference of two answers that is assumed where none was seen."""
Z = 1.96


class Floor(Frozen, frozen=True, kw_only=True):
    """The quality that must be kept."""

    value: float
    absolute: bool = False
    """Whether it is a mean quality. Otherwise, it is a share of today's quality."""


class Point(Frozen, frozen=True, kw_only=True):
    """One setting of a dial."""

    value: float | None
    """None: the dial as it is set now."""
    moved: float
    """The share of requests that get another model than now."""
    cost_usd: float
    """USD a request."""
    saving: Interval
    """The share of today's cost, with its 95% interval; below 0, it costs more."""
    quality: Interval | None
    """The mean quality. None: there is no evidence, or no answer was graded by itself."""
    retained: Interval | None
    """The quality as a share of today's. The limits count requests that no evidence covers at their worst and best.
    None: there is no evidence."""
    uncovered: float
    """The share of requests that move and that no evidence covers."""
    uncovered_groups: tuple[tuple[str, str, str, int], ...]
    """The largest groups of them: route, model now, model then, requests."""
    used: tuple[Used, ...]
    """The evidence, by estimator."""
    verdict: Verdict
    """`kept`: the quality is above the floor. `lost`: it is below. `not known`: the data cannot tell."""
    more_labels: int | None
    """About how many more comparisons of moved requests would tell. None: it is known, or more would not help."""


class Curve(Frozen, frozen=True, kw_only=True):
    """All settings of one dial."""

    dial: str
    now: dict[str, float | None]
    """Where the route files set the dial, and to which value. None: it is calibrated."""
    points: tuple[Point, ...]
    """The first is the dial as it is set now. The others follow by their values."""
    best: float | None
    """The setting that saves most above the floor. None: there is none."""
    told: str
    """What that means, in a sentence."""


class SweepReport(Frozen, frozen=True, kw_only=True):
    """What a sweep found."""

    log: str
    config_version: str
    floor: Floor
    seed: int
    counts: dict[str, int]
    """What was read, and which quality signals it holds."""
    torn: int
    torn_told: tuple[str, ...]
    used_rows: int
    """The requests that the figures rest on."""
    sampled: float
    """The share of the units whose requests without a quality signal were used."""
    sampled_evidence: float
    """The share of the units whose requests with a quality signal were used."""
    units: int
    """Who asked: users, else conversations, else keys."""
    level: Interval | None
    """Today's mean quality. None: no answer was graded by itself."""
    level_from: str
    level_rows: int
    curves: tuple[Curve, ...]


def report(
    table: SweepTable,
    floor: Floor,
    now: dict[str, dict[str, float | None]],
    *,
    log: str = "",
    config_version: str = "",
    torn: int = 0,
    torn_told: tuple[str, ...] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> SweepReport:
    """Estimate every setting of every dial. `now`: the present values of each dial, by place."""
    table = table.sorted()
    curves: list[Curve] = []
    level, units = Level("", Interval(1, 1, 1), 0, 0, table.weights[:0]), 0
    for block in table.plan.blocks if len(table.rows) else ():
        estimator = Estimator(table, block, seed=seed, draws=draws)
        curves.append(_curve(estimator, table.plan, block, floor, now[block.dial]))
        level, units = max(level, estimator.level, key=lambda one: one.rows), estimator.units
    return SweepReport(
        log=log,
        config_version=config_version,
        floor=floor,
        seed=seed,
        counts=dict(sorted(table.counts.items())),
        torn=torn,
        torn_told=torn_told,
        used_rows=len(table.rows),
        sampled=0.5 ** table.halvings[0],
        sampled_evidence=0.5 ** table.halvings[1],
        units=units,
        level=level.quality if level.rows else None,
        level_from=level.estimator,
        level_rows=level.rows,
        curves=tuple(curves),
    )


def _curve(estimator: Estimator, plan: Plan, block: Block, floor: Floor, now: dict[str, float | None]) -> Curve:
    values = (None, *block.values)
    points = tuple(
        _point(value, estimator.estimate(place), estimator.level, plan, floor) for place, value in enumerate(values)
    )
    best = _best(points)
    return Curve(
        dial=block.dial,
        now=now,
        points=points,
        best=None if best is None else best.value,
        told=_told(points, best, estimator.level, floor),
    )


def _point(value: float | None, found: Estimate, level: Level, plan: Plan, floor: Floor) -> Point:
    verdict = _verdict(found, level, floor)
    routes, models = (*plan.routes, ""), (*plan.models, "")
    return Point(
        value=value,
        moved=found.moved,
        cost_usd=found.cost_usd.value,
        saving=found.saving,
        quality=found.quality if found.known and level.rows else None,
        retained=found.retained if found.known else None,
        uncovered=found.uncovered,
        uncovered_groups=tuple((routes[r], models[a], models[b], n) for r, a, b, n in found.uncovered_groups),
        used=found.used,
        verdict=verdict,
        more_labels=_more(found, level, floor) if verdict == "not known" and found.saving.value > 0 else None,
    )


def _verdict(found: Estimate, level: Level, floor: Floor) -> Verdict:
    if not found.moved and not floor.absolute:
        return "as now"
    if floor.absolute and not level.rows:
        return "not known"
    figure = found.quality if floor.absolute else found.retained
    return "kept" if figure.low >= floor.value else "lost" if figure.high < floor.value else "not known"


def _more(found: Estimate, level: Level, floor: Floor) -> int | None:
    """Return about how many more comparisons would tell whether a setting is above the floor.

    The interval shrinks with the root of their number. None: with the present estimate, no number would show that it is
    above the floor.
    """
    figure = found.quality if floor.absolute else found.retained
    if not found.used:
        today = level.quality.value
        margin = (today if floor.absolute else 1) - floor.value
        spread = ASSUMED_SPREAD * found.moved / (1 if floor.absolute else today)
        return None if margin <= 0 or not found.moved else max(MIN_UNITS, math.ceil((Z * spread / margin) ** 2))
    margin, half = figure.value - floor.value, figure.value - figure.low
    had = sum(one.rows for one in found.used)
    return None if margin <= 0 else max(MIN_UNITS, math.ceil(had * ((half / margin) ** 2 - 1)))


def _best(points: tuple[Point, ...]) -> Point | None:
    """Return the setting with the lowest cost that can be reached from today's without leaving the floor."""
    now, *others = points
    best = None
    for point in sorted(others, key=_dearest_first):
        if point.cost_usd >= now.cost_usd or not point.moved:
            continue
        if point.verdict != "kept":
            break
        if point.saving.low > 0:
            best = point
    return best


def _dearest_first(point: Point) -> float:
    return -point.cost_usd


def _told(points: tuple[Point, ...], best: Point | None, level: Level, floor: Floor) -> str:
    now, *others = points
    least = f"{floor.value:g}" if floor.absolute else f"{floor.value:.1%} of today's quality"
    if best is not None and best.retained is None:
        moved = "even if every answer of another model were as bad as can be"
        return f"{best.value:g} saves {best.saving.value:.1%} and keeps {least}, {moved}"
    if best is not None and best.retained is not None:
        kept = f"{best.retained.value:.1%} of today's quality ({best.retained.low:.1%} to {best.retained.high:.1%})"
        return f"{best.value:g} saves {best.saving.value:.1%} and keeps {kept}; the floor is {least}"
    cheaper = [one for one in sorted(others, key=_dearest_first) if one.cost_usd < now.cost_usd and one.moved]
    if not cheaper:
        return "no setting saves anything on this log"
    if floor.absolute and not level.rows:
        return f"the data cannot tell: too few answers were graded by themselves to compare their quality with {least}"
    first = next((one for one in cheaper if one.verdict != "kept"), cheaper[-1])
    if first.verdict == "lost":
        return f"no setting that saves anything keeps {least}"
    if first.verdict == "kept":
        return "the savings are too small to tell from chance"
    return f"the data cannot tell which setting keeps {least}: {_wanted(first)}"


def _wanted(point: Point) -> str:
    """Say which labels would tell more about a setting."""
    where = "".join(
        f"; none of {count:,} requests of {route or 'the default'} that move from {old} to {new or 'another model'}"
        for route, old, new, count in point.uncovered_groups[:1]
    )
    seen = sum(one.rows for one in point.used)
    if point.more_labels is not None:
        return (
            f"for {point.value:g}, about {point.more_labels:,} more comparisons of moved requests would tell "
            f"(there are {seen:,}{where})"
        )
    if point.retained is None:
        return f"no answer tells how good {point.value:g} is{where}"
    return f"{point.value:g} is estimated to keep only {point.retained.value:.1%}, so more labels would hardly help"
