"""A sweep in words, in tables, and as one HTML page that needs nothing else."""

from __future__ import annotations

import html

from semroute.evaluation.charts import TradeOff, trade_off_chart
from semroute.evaluation.report_page import document, table
from semroute.learning.sweep_report import Curve, Floor, Point, SweepReport
from semroute.learning.sweep_signals import SIGNALS
from semroute.learning.unit_bootstrap import Interval

_CHART = """<style>svg{width:100%;height:auto}.grid{stroke:#e3e7ee}.curve{fill:none;stroke:#3b74d6;stroke-width:2}
.ideal{fill:none;stroke:#c0392b;stroke-dasharray:5 4}.dot{fill:#3b74d6}.now{fill:#5a6577}.best{fill:#1f9d55}
.gap{stroke:#9db2d6;stroke-width:2}
@media(prefers-color-scheme:dark){.grid{stroke:#2c3440}}</style>"""


def page(report: SweepReport) -> str:
    """Return the page."""
    parts = [_CHART, f"<h1>Sweep of {html.escape(report.log)}</h1>"]
    parts += [f"<p>{html.escape(line)}</p>" for line in evidence(report)]
    for curve in report.curves:
        parts.append(f"<h2>{html.escape(curve.dial)}, now {html.escape(present(curve))}</h2>")
        parts.append(f"<p>{html.escape(curve.told)}.</p>")
        parts.append(trade_off_chart(trade_offs(curve), None if report.floor.absolute else report.floor.value))
        rows = (
            point_cells(point, marked=point.value is not None and point.value == curve.best) for point in curve.points
        )
        parts.append(table(labelled(report.floor), rows))
        parts.append("<h3>Which evidence was used</h3>")
        heads = ["setting", "estimator", "observations", "of a model chosen at random", "effective", "from how many"]
        parts.append(table(heads, _used(curve)))
    return document(f"Sweep of {report.log}", parts)


def evidence(report: SweepReport) -> list[str]:
    """Say what was read, which quality signals the log holds, and what the figures rest on."""
    counts = dict(report.counts)
    rows = counts.pop("rows", 0)
    lines = [f"{rows:,} logged requests of {report.log}; {report.used_rows:,} are used, by {report.units:,} units"]
    signals = ", ".join(f"{counts.pop(name):,} {name}" for name in SIGNALS if counts.get(name))
    lines.append(f"quality signals: {signals or 'none'}")
    if report.level is not None:
        low, high = report.level.low, report.level.high
        lines.append(
            f"today's mean quality: {report.level.value:.3f} ({low:.3f} to {high:.3f}), "
            f"from {report.level_rows:,} answers ({report.level_from})"
        )
    else:
        lines.append("today's mean quality counts as 1: too few answers of today's models were graded by themselves")
    rest = "; ".join(f"{name}: {count:,}" for name, count in counts.items() if count)
    if rest:
        lines.append(f"rows: {rest}")
    if report.sampled < 1 or report.sampled_evidence < 1:
        lines.append(
            f"a sample of the units was used: {report.sampled_evidence:.2%} of those with a quality signal, "
            f"{report.sampled:.2%} of the others"
        )
    if report.torn:
        lines.append(f"not read: {report.torn:,} torn rows")
    return lines


def present(curve: Curve) -> str:
    """Say how a dial is set now."""
    values = sorted({"calibrated" if value is None else f"{value:g}" for value in curve.now.values()})
    return f"{', '.join(values)} ({', '.join(curve.now)})"


def labelled(floor: Floor) -> list[str]:
    """Return the heads of a table of points."""
    least = f"quality of {floor.value:g}" if floor.absolute else f"{floor.value:.1%} of today's"
    return ["setting", "moved", "USD/1,000", "saving", "quality kept (95%)", "evidence", "not covered", least]


def point_cells(point: Point, *, marked: bool) -> list[str]:
    """Return a row of that table."""
    seen = sum(one.rows for one in point.used)
    verdict = {"as now": "-", "not known": "cannot tell"}.get(point.verdict, point.verdict)
    if point.more_labels is not None:
        verdict += f", {point.more_labels:,} more would"
    return [
        "now" if point.value is None else f"{point.value:g}",
        f"{point.moved:.1%}",
        f"{1000 * point.cost_usd:.4f}",
        "-" if not point.moved else f"{point.saving.value:+.1%}",
        "-" if not point.moved else _share(point.retained),
        f"{seen:,}" if seen else "-",
        f"{point.uncovered:.1%}" if point.uncovered else "-",
        f"{verdict}{' <- best' if marked else ''}",
    ]


def _share(found: Interval | None) -> str:
    return "?" if found is None else f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def trade_offs(curve: Curve) -> list[TradeOff]:
    """Return the points of a chart. Settings without an estimate are left out."""
    found = []
    for point in curve.points:
        if point.retained is None:
            continue
        kind = "now" if point.value is None else "best" if point.value == curve.best else "dot"
        name = "now" if point.value is None else f"{curve.dial} {point.value:g}"
        tip = f"{name}: saves {point.saving.value:.1%}, keeps {_share(point.retained)}"
        found.append(TradeOff(1 - point.saving.value, point.retained, tip, kind))
    return found


def _used(curve: Curve) -> list[list[str]]:
    return [
        [
            "now" if point.value is None else f"{point.value:g}",
            one.estimator,
            f"{one.rows:,}",
            f"{one.explored:,}",
            f"{one.effective:,.0f}",
            f"{one.units:,} units",
        ]
        for point in curve.points
        for one in point.used
    ]
