"""`semroute replay [LOG]`."""

from __future__ import annotations

import datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.engine import EngineName, open_engine
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, console, folder_of, print_json, progress_bar, warn, write_report
from semroute.learning.logged_decisions import open_log
from semroute.learning.replay_log import Replay
from semroute.learning.replay_page import exactness, figures, moved, page, share_rows
from semroute.learning.replay_tally import ReplayReport
from semroute.router import Router
from semroute.stores.interfaces import Query

MOVES = 10
LISTED = 20
"""The most routes that are shown."""


def command(
    log: str | None,
    routes: Path | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    html: Path | None,
    resume: Path | None,
    engine: EngineName,
    as_json: bool,
) -> None:
    """Decide logged requests anew, and show what changes."""
    logged = open_log(log, settings_module.read().database_url)
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    replay = Replay(router, logged, Query(since=timestamp(since), until=timestamp(until)), resume)
    with open_engine(engine, logged) as running, progress_bar("replaying") as progress:
        report = replay.run(Bar(progress), running)
    warn(report.torn_told)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if html is not None:
        write_report(html, page(report), as_json=as_json)


def _show(report: ReplayReport) -> None:
    console.print(f"{report.rows:,} logged requests of {report.log}", style="bold", highlight=False)
    for line in exactness(report):
        console.print(line, markup=False, highlight=False)
    if not report.replayed:
        return
    share = report.changed / report.replayed
    console.print(
        f"changed: {report.changed:,} of {report.replayed:,} ({share:.1%}): the route of {report.changed_routes:,}, "
        f"the model of {report.changed_models:,}; {report.changed_exact:,} of these are exact",
        highlight=False,
    )
    sums = Table("", "before", "after", box=None, pad_edge=False)
    for row in figures(report):
        sums.add_row(*row)
    console.print(sums)
    for what, shares in (("route", report.by_route), ("model", report.by_model)):
        table = Table(what, "before", "after", "left", "came", box=None, pad_edge=False)
        for cells in share_rows(shares)[:LISTED]:
            table.add_row(*map(escape, cells))
        console.print(table)
        if len(shares) > LISTED:
            console.print(f"and {len(shares) - LISTED} more: --json and --html list all", highlight=False)
    for move in report.moves[:MOVES]:
        console.print(moved(move), markup=False, highlight=False)
        for example in move.examples[:1]:
            before, after = (
                "-" if near is None else f'"{near.utterance}" ({near.similarity:.2f})'
                for near in (example.nearest_before, example.nearest_after)
            )
            told = f"  {example.text or example.id}: nearest {before}, now {after}"
            console.print(told, markup=False, highlight=False)
