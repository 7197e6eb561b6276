"""`semroute drift [LOG]`."""

from __future__ import annotations

import datetime
import sys
from functools import partial

from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.engine import EngineName, open_engine
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, console, counted, errors, print_json, progress_bar
from semroute.cli.suggest import tell_torn
from semroute.errors import RequestError
from semroute.learning.compare_windows import Change, Drift, compare
from semroute.learning.drift_windows import TwoWindows, Window
from semroute.learning.engines import TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions, open_log
from semroute.stores.interfaces import Query

DAY_S = 86_400
SHOWN = 12
"""The most comparisons that are shown if nothing moved in them."""


def command(
    log: str | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    window: float,
    reference: float,
    alpha: float,
    seed: int,
    fail: bool,
    engine: EngineName,
    as_json: bool,
) -> None:
    """Compare a window of the log with the time before it."""
    source = open_log(log, settings_module.read().database_url)
    end = timestamp(until) or _last(source)
    begin = timestamp(since) or end - window * DAY_S
    if begin >= end:
        raise RequestError(f"the window begins at {_time(begin)} and ends at {_time(end)}: expected a later end")
    first = begin - reference * DAY_S
    work = TallyRows(
        partial(TwoWindows.between, first, begin, end, seed), TwoWindows.add, Query(since=first, until=end)
    )
    with open_engine(engine, source) as running, progress_bar("reading the log") as progress:
        bar, total = Bar(progress), source.count() if errors.is_terminal else 0
        windows = read_log(running, source, work, lambda done: bar(done, max(done, total)))
    tell_torn(source)
    with progress_bar("comparing"):
        found = compare(windows.reference, windows.window, alpha, seed)
    if as_json:
        print_json(found)
    else:
        _show(found)
    sys.exit(1 if fail and found.moved else 0)


def _last(source: LoggedDecisions) -> float:
    """Return a moment just after the last row."""
    with progress_bar("looking for the last request"):
        last = source.last_at()
    if last is None:
        tell_torn(source)
        raise RequestError(f"{source.name}: got a log without rows, expected some to compare")
    return last + 0.001


def _show(found: Drift) -> None:
    for name, window in (("reference", found.reference), ("window", found.window)):
        _print(f"{name}: {_time(window.since)} to {_time(window.until)}, {_rows(window)}")
    moved = [change for change in found.changes if change.moved]
    still = [change for change in found.changes if not change.moved]
    _print(f"{len(moved)} of {len(found.changes)} comparisons moved" if moved else "nothing moved")
    table = Table("", "before", "after", "effect", "p", "since", box=None, pad_edge=False)
    for change in (*moved, *still[:SHOWN]):
        before, after = ("" if value is None else f"{value:.4g}" for value in (change.before, change.after))
        since = "" if change.since is None else _time(change.since)
        style = "bold" if change.moved else "dim"
        table.add_row(escape(change.what), before, after, f"{change.effect:+.4f}", _chance(change), since, style=style)
    console.print(table)
    if len(still) > SHOWN:
        _print(f"and {counted(len(still) - SHOWN, 'comparison')} without a change")
    for one in found.new:
        what = "prompts" if one.are_prompts else "prompts, told by their nearest utterances"
        routes = ", ".join(f"{name or 'the default'} {number}" for name, number in list(one.routes.items())[:3])
        _print(f"new {what}: {one.share:.1%} of the window; they went to {routes}")
        for example in one.examples:
            _print(f"  {example}")
    for note in found.notes:
        _print(f"note: {note}")


def _print(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _rows(window: Window) -> str:
    sampled = f", a random {window.compared} compared" if window.compared < window.rows else ""
    return f"{counted(window.rows, 'request')}{sampled}"


def _chance(change: Change) -> str:
    return "< .001" if change.p < 0.001 else f"{change.p:.3f}"


def _time(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M")
