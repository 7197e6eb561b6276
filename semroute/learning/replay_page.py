"""A replay as one HTML page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from semroute.evaluation.report_page import document, grouped_bars, table
from semroute.learning.replay_tally import Example, Move, ReplayReport, Share

SHOWN = 50
"""How many kinds of moves the page shows."""


def page(report: ReplayReport) -> str:
    """Return the page."""
    parts = [
        f"<h1>Replay of {html.escape(report.log)}</h1>",
        table(["", "before", "after"], figures(report)),
        "<h2>How exact this is</h2>",
        "".join(f"<p>{html.escape(line)}</p>" for line in exactness(report)),
    ]
    for what, shares in (("route", report.by_route), ("model", report.by_model)):
        parts += [f"<h2>By {what}</h2>", table([what, "before", "after", "left", "came"], share_rows(shares))]
        if shares:
            names = [name or "(none)" for name in shares]
            parts.append(grouped_bars(names, [[one.before, one.after] for one in shares.values()], ("before", "after")))
    parts.append("<h2>What moves</h2>")
    for move in report.moves[:SHOWN]:
        parts.append(f"<h3>{html.escape(moved(move))}</h3>")
        heads = ["request", "text", "nearest before", "nearest after", "confidence", "exact"]
        parts.append(table(heads, (_example(one) for one in move.examples)))
    return document(f"Replay of {report.log}", parts)


def figures(report: ReplayReport) -> list[list[str]]:
    """Return the sums before and after, as texts."""
    known = report.quality_rows
    return [
        ["USD", f"{report.before_usd:,.6f}", f"{report.after_usd:,.6f}"],
        [
            "expected quality",
            f"{report.quality_before:.4f}" if known else "-",
            f"{report.quality_after:.4f}" if known else "-",
        ],
    ]


def exactness(report: ReplayReport) -> list[str]:
    """Say how many rows are decided exactly, and how good the approximation of the others is."""
    bases = ", ".join(f"{count:,} from {basis}" for basis, count in sorted(report.exact.items()))
    lines = [f"exact: {sum(report.exact.values()):,}{f' ({bases})' if bases else ''}"]
    reasons = "; ".join(f"{what}: {count:,}" for what, count in _most(report.guessed))
    because = f", because the log does not have: {reasons}" if reasons else ""
    lines.append(f"approximate: {report.approximate:,}{because}")
    agreement = report.agreement
    if agreement.compared:
        routes, models = (n / agreement.compared for n in (agreement.same_route, agreement.same_model))
        lines.append(
            f"of {agreement.compared:,} exact rows with a vector, the vector alone gives the same route for "
            f"{routes:.1%} and the same model for {models:.1%}"
        )
    elif report.approximate:
        lines.append("no row has both, so it is not known how good the approximation is")
    lines += [f"not replayed: {count:,}: {why}" for why, count in _most(report.not_replayed)]
    if report.torn:
        lines.append(f"not read: {report.torn:,} torn rows")
    return lines


def share_rows(shares: dict[str, Share]) -> list[list[str]]:
    """Return the rows of a table of shares."""
    return [
        [name or "(none)", *(f"{n:,}" for n in (one.before, one.after, one.left, one.came))]
        for name, one in shares.items()
    ]


def moved(move: Move) -> str:
    """Say what a kind of move is: from where to where, and how often."""
    routes = (move.route_before or "(none)", move.route_after or "(none)")
    models = (move.model_before or "(none)", move.model_after or "(none)")
    where = routes[0] if routes[0] == routes[1] else " → ".join(routes)
    what = models[0] if models[0] == models[1] else " → ".join(models)
    return f"{move.count:,}: {where}, {what}"


def _example(one: Example) -> Sequence[str]:
    nearest = [
        "-" if near is None else f"{near.utterance} ({near.similarity:.2f})"
        for near in (one.nearest_before, one.nearest_after)
    ]
    confidence = f"{one.confidence_before:.2f} → {one.confidence_after:.2f}"
    return [one.id, one.text or "-", *nearest, confidence, "yes" if one.exact else "no"]


def _most(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
