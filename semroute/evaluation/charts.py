"""Charts as inline SVG. Pure: figures in, markup out.

Colours are CSS classes of the page that holds them, so that one chart serves light and dark. pygal 3.1 writes its
colours into each chart, makes it 4.6 times as large, and has no heat map (2026-11-30, `bench/libraries.py charts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from semroute.bases import Frozen
from semroute.evaluation.decision_metrics import Bin, RiskPoint, RouteMetrics

PLOT = 320
"""Width and height of a square plot's inside."""
LEFT, BOTTOM, TOP, RIGHT = 46, 42, 26, 22
CELL = 34
BAR = 22


class Matrix(Frozen, frozen=True, kw_only=True):
    """How often each route was decided for each that was expected."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """A row for each expected route, and a column for each decided route."""


def svg(width: float, height: float, label: str, body: Sequence[str]) -> str:
    """Return an image that scales with the page. `label` is what a screen reader says about it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'style="max-width:{width * 1.35:g}px">{"".join(body)}</svg>'
    )


def reliability_chart(bins: Sequence[Bin]) -> str:
    """Draw confidence against accuracy. The bars below show how many decisions stand behind each point."""
    most = max((row.n for row in bins), default=1)
    body = [*_axes("confidence", "share that was right"), _line([(0, 0), (1, 1)], "ideal")]
    for row in bins:
        x, width = _x(row.low) + 2, PLOT * (row.high - row.low) - 4
        height = 56 * row.n / most
        tip = f"{row.n} decisions at confidence {row.confidence:.2f}: {row.accuracy:.0%} right"
        body.append(
            f'<rect class="volume" x="{x:.1f}" y="{_y(0) - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        gap = f'<line class="gap" x1="{_x(row.confidence):.1f}" y1="{_y(row.confidence):.1f}"'
        body.append(f'{gap} x2="{_x(row.confidence):.1f}" y2="{_y(row.accuracy):.1f}"/>')
        body.append(_dot(row.confidence, row.accuracy, tip))
    body.insert(1, _line([(row.confidence, row.accuracy) for row in bins], "curve"))
    return svg(
        LEFT + PLOT + RIGHT, TOP + PLOT + BOTTOM, "Reliability: confidence against the share that was right", body
    )


def risk_chart(points: Sequence[RiskPoint], now: tuple[float, float] | None) -> str:
    """Draw the share of prompts that are taken against the share of these that are wrong.

    `now`: both shares as decided.
    """
    top = max(0.05, *(point.risk for point in points)) if points else 1.0
    ceiling = next(step for step in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0) if top <= step + 1e-9)
    curve = [(point.coverage, point.risk / ceiling) for point in points]
    body = [*_axes("share of prompts that a route takes", "share of these that is wrong", ceiling)]
    if curve:
        below = [(curve[0][0], 0.0), *curve, (curve[-1][0], 0.0)]
        body.append(f'<polygon class="area" points="{_points(below)}"/>')
        body.append(_line(curve, "curve"))
    for point, (x, y) in zip(points, curve, strict=True):
        tip = f"threshold {point.threshold:.2f}: takes {point.coverage:.0%}, {point.risk:.1%} of them wrong"
        body.append(
            f'<circle class="touch" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="7"><title>{escape(tip)}</title></circle>'
        )
    if now is not None and now[1] <= ceiling:
        tip = f"as it is set: takes {now[0]:.0%}, {now[1]:.1%} of them wrong"
        body.append(_dot(now[0], now[1] / ceiling, tip, "now"))
    return svg(LEFT + PLOT + RIGHT, TOP + PLOT + BOTTOM, "Risk against coverage as the threshold falls", body)


class TradeOff(NamedTuple):
    """One setting: what it costs and what it keeps."""

    cost: float
    """As a share of today's."""
    kept: tuple[float, float, float]
    """The quality as a share of today's: the estimate, the lowest and the highest."""
    tip: str
    kind: str
    """The class of the dot: `dot`, `now` or `best`."""


def trade_off_chart(points: Sequence[TradeOff], floor: float | None) -> str:
    """Draw cost against the quality that is kept, with intervals. `floor`: the quality to keep. None: no line."""
    ordered = sorted(points, key=lambda point: point.cost)
    dearest = max([1.0, *(point.cost for point in ordered)])
    lows = [*(point.kept[0] for point in ordered), *(() if floor is None else (floor,)), 1.0]
    bottom = max(0.0, math.floor(10 * (min(lows) - 0.05)) / 10)
    top = max(1.0, *lows) + 0.02

    def place(cost: float, kept: float) -> tuple[float, float]:
        return cost / dearest, (min(top, max(bottom, kept)) - bottom) / (top - bottom)

    body = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y, kept, cost = _x(share), _y(share), bottom + share * (top - bottom), share * dearest
        body.append(f'<line class="grid" x1="{_x(0):.1f}" y1="{y:.1f}" x2="{_x(1):.1f}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{_x(0) - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{kept:.0%}</text>')
        body.append(f'<text class="tick" x="{x:.1f}" y="{_y(0) + 17:.1f}" text-anchor="middle">{cost:.0%}</text>')
    across, up = "cost, as a share of today's", "quality, as a share of today's, with 95% intervals"
    body.append(
        f'<text class="axis" x="{_x(0.5):.1f}" y="{_y(0) + 36:.1f}" text-anchor="middle">{escape(across)}</text>'
    )
    body.append(f'<text class="axis" x="{_x(0):.1f}" y="{_y(1) - 11:.1f}">{escape(up)}</text>')
    if floor is not None:
        body.append(_line([place(0, floor), place(dearest, floor)], "ideal"))
    body.append(_line([place(point.cost, point.kept[0]) for point in ordered], "curve"))
    for point in ordered:
        x, low = place(point.cost, point.kept[1])
        _, high = place(point.cost, point.kept[2])
        body.append(f'<line class="gap" x1="{_x(x):.1f}" y1="{_y(low):.1f}" x2="{_x(x):.1f}" y2="{_y(high):.1f}"/>')
    body += [_dot(*place(point.cost, point.kept[0]), point.tip, point.kind) for point in ordered]
    return svg(LEFT + PLOT + RIGHT, TOP + PLOT + BOTTOM, "Quality that is kept against cost", body)


def matrix_chart(matrix: Matrix) -> str:
    """Draw a heat map of shares of the expected route: right ones on the diagonal, abstentions in the last column."""
    size = len(matrix.labels)
    margin = 14 + 6.6 * max((len(label) for label in matrix.labels), default=0)
    body = []
    for row, counts in enumerate(matrix.counts):
        total = sum(counts)
        y = margin + row * CELL
        name = escape(matrix.labels[row])
        body.append(
            f'<text class="label" x="{margin - 8:.0f}" y="{y + CELL / 2 + 4:.0f}" text-anchor="end">{name}</text>'
        )
        x = margin + row * CELL + CELL / 2 + 4
        body.append(f'<text class="label" transform="translate({x:.0f} {margin - 8:.0f}) rotate(-90)">{name}</text>')
        body += [_cell(matrix, row, column, count, total, margin) for column, count in enumerate(counts)]
    side = margin + size * CELL + 4
    return svg(side, side, "Confusion matrix: expected routes down, decided routes across", body)


def _cell(matrix: Matrix, row: int, column: int, count: int, total: int, margin: float) -> str:
    x, y, share = margin + column * CELL, margin + row * CELL, count / total if total else 0.0
    kind = "right" if row == column else "abstained" if column == len(matrix.labels) - 1 else "wrong"
    tip = f"{matrix.labels[row]} decided as {matrix.labels[column]}: {count} of {total}"
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{CELL - 2}" height="{CELL - 2}" rx="4"'
    drawn = f'<rect class="cell" {place}/>'
    if count:
        opacity = 0.18 + 0.82 * share if row == column else 0.25 + 0.75 * min(1.0, 2 * share)
        drawn += f'<rect class="{kind}" {place} fill-opacity="{opacity:.2f}"><title>{escape(tip)}</title></rect>'
        strong = " strong" if opacity > 0.55 else ""
        drawn += f'<text class="count{strong}" x="{x + CELL / 2:.1f}" y="{y + CELL / 2 + 4:.1f}">{count}</text>'
    return drawn


def route_bars(per_route: Mapping[str, RouteMetrics]) -> str:
    """Draw the F1 of each route as a bar, the worst first, with marks for precision and recall."""
    rows = sorted(per_route.items(), key=lambda item: (item[1].f1 or 0, item[0]))
    margin = 14 + 6.6 * max((len(name) for name in per_route), default=0)
    width = 380
    body = []
    for number, (name, metrics) in enumerate(rows):
        y = 4 + number * BAR
        f1 = metrics.f1 or 0
        figures = {"F1": metrics.f1, "precision": metrics.precision, "recall": metrics.recall}
        tip = ", ".join(f"{kind} {_figure(value)}" for kind, value in figures.items())
        body.append(f"<g><title>{escape(f'{name}: {tip}, {metrics.n} prompts')}</title>")
        body.append(f'<text class="label" x="{margin - 8:.0f}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        body.append(f'<rect class="track" x="{margin:.0f}" y="{y}" width="{width}" height="{BAR - 6}" rx="4"/>')
        body.append(f'<rect class="bar" x="{margin:.0f}" y="{y}" width="{width * f1:.1f}" height="{BAR - 6}" rx="4"/>')
        for kind, value in (("precision", metrics.precision), ("recall", metrics.recall)):
            if value is not None:
                x = margin + width * value
                body.append(f'<line class="{kind}" x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + BAR - 4}"/>')
        body.append(f'<text class="figure" x="{margin + width + 8:.0f}" y="{y + 13}">{_figure(metrics.f1)}</text></g>')
    return svg(margin + width + 46, 8 + len(rows) * BAR, "F1, precision and recall of each route", body)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _x(share: float) -> float:
    return LEFT + PLOT * share


def _y(share: float) -> float:
    return TOP + PLOT * (1 - share)


def _axes(across: str, up: str, ceiling: float = 1.0) -> list[str]:
    body = []
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        number = f"{share * ceiling:.0%}"
        body.append(f'<line class="grid" x1="{_x(0):.1f}" y1="{_y(share):.1f}" x2="{_x(1):.1f}" y2="{_y(share):.1f}"/>')
        body.append(f'<text class="tick" x="{_x(0) - 7:.1f}" y="{_y(share) + 4:.1f}" text-anchor="end">{number}</text>')
        body.append(
            f'<text class="tick" x="{_x(share):.1f}" y="{_y(0) + 17:.1f}" text-anchor="middle">{share:.0%}</text>'
        )
    body.append(
        f'<text class="axis" x="{_x(0.5):.1f}" y="{_y(0) + 36:.1f}" text-anchor="middle">{escape(across)}</text>'
    )
    body.append(f'<text class="axis" x="{_x(0):.1f}" y="{_y(1) - 11:.1f}">{escape(up)}</text>')
    return body


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{_points(points)}"/>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)


def _dot(x: float, y: float, tip: str, kind: str = "dot") -> str:
    return f'<circle class="{kind}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5"><title>{escape(tip)}</title></circle>'
