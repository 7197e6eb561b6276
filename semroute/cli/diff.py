"""`semroute diff OLD NEW`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.bases import Frozen
from semroute.cli.output import Bar, console, errors, print_json, progress_bar, warn, workflow_command
from semroute.decision_changes import DecisionDiff, describe, diff_utterances, summary
from semroute.evaluation.jsonl import read_lines
from semroute.evaluation.measure import Row
from semroute.learning.folder_diff import LogDiff, diff_log, diff_rows
from semroute.learning.logged_decisions import open_log
from semroute.router import Router

MOVES, EXAMPLES = 10, 10
MAX_NOTES = 50
"""The most notes at lines. GitHub shows few."""


class FolderDiff(Frozen, frozen=True, kw_only=True):
    """What `semroute diff` reports."""

    before: str
    """The version of the old files."""
    after: str
    parts: tuple[DecisionDiff, ...]
    log: LogDiff | None = None
    """How exact the part of the log is."""


def command(
    old: Path,
    new: Path,
    eval_file: Path | None,
    log: str | None,
    format_: str,
    max_changed: float | None,
    as_json: bool,
) -> None:
    """Compare the decisions of two folders."""
    with progress_bar("embedding utterances") as progress:
        before = Router.load(old, progress=Bar(progress))
    with progress_bar("embedding utterances") as progress:
        after = Router.load(new, previous=before, progress=Bar(progress))
    with progress_bar("comparing") as progress:
        parts = [diff_utterances(before, after, progress=Bar(progress))]
    if eval_file is not None:
        rows = [row for _, row in read_lines(eval_file, Row, '{"text": …, "route": name or null}')]
        with progress_bar("comparing") as progress:
            parts.append(diff_rows(before, after, rows, eval_file.name, Bar(progress)))
    logged: LogDiff | None = None
    if log is not None:
        with progress_bar("comparing") as progress:
            logged = diff_log(before, after, open_log(log, settings_module.read().database_url), Bar(progress))
        parts.append(logged.diff)
        warn(logged.torn)
    found = FolderDiff(before=before.config.version, after=after.config.version, parts=tuple(parts), log=logged)
    over = [part for part in parts if max_changed is not None and part.share > max_changed]
    if as_json or format_ == "json":
        print_json(found)
    elif format_ == "github":
        _print_notes(found, before, after, over)
    else:
        _show(found, before, after)
    for part in over:
        told = f"{part.on}: {part.share:.2%} of the decisions change, expected at most {max_changed:.2%}"
        errors.print(told, style="red", markup=False, highlight=False)
    sys.exit(1 if over else 0)


def _show(found: FolderDiff, before: Router, after: Router) -> None:
    for part in found.parts:
        console.print(summary(part, before, after), markup=False, highlight=False, soft_wrap=True)
        if part.right_before is not None:
            told = f"right routes: {part.right_before:.1%} before, {part.right_after:.1%} after"
            console.print(told, markup=False, highlight=False)
        if found.log is not None and part is found.log.diff:
            told = f"approximate: {found.log.approximate:,}; not compared: {found.log.not_compared:,}"
            console.print(told, markup=False, highlight=False)
        if not part.changed:
            continue
        cost = f"estimated cost: {part.cost_before_usd:,.6f} USD before, {part.cost_after_usd:,.6f} after"
        console.print(cost, markup=False, highlight=False)
        table = Table("prompt", "before", "after", "confidence", box=None, pad_edge=False)
        for one in part.examples[:EXAMPLES]:
            here, there = (
                f"{route or '(none)'}, {model or '(none)'}"
                for route, model in ((one.route_before, one.model_before), (one.route_after, one.model_after))
            )
            confidence = f"{one.confidence_before:.2f} → {one.confidence_after:.2f}"
            table.add_row(*map(escape, (one.text, here, there, confidence)))
        console.print(table)
        for move in part.moves[:MOVES]:
            console.print(f"{move.count:,}: {describe(move)}", markup=False, highlight=False)


def _print_notes(found: FolderDiff, before: Router, after: Router, over: Sequence[DecisionDiff]) -> None:
    """Print workflow commands of GitHub: a note at each route that gains or loses prompts, and one for each part."""
    sources, notes = after.config.sources, dict[str, list[str]]()
    for part in found.parts:
        level = "error" if part in over else "notice"
        click.echo(workflow_command(level, summary(part, before, after), title="semroute diff"))
        for move in part.moves:
            if route := move.route_after or move.route_before:
                notes.setdefault(route, []).append(f"{part.on}: {move.count} {describe(move)}")
    for route, told in list(notes.items())[:MAX_NOTES]:
        source = sources.get(f"routes.{route}")
        where = {} if source is None else {"file": source.file, "line": str(source.line)}
        click.echo(workflow_command("notice", "; ".join(told[:MOVES]), **where, title=f"route {route}"))
