"""`semroute judge [LOG]`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, console, counted, errors, print_json, progress_bar
from semroute.cli.suggest import tell_torn
from semroute.learning.judge_report import JudgeFound, JudgeReport, judge_report
from semroute.learning.logged_decisions import LoggedDecision, LoggedDecisions, open_log
from semroute.learning.rater_agreement import Agreement
from semroute.learning.weighted_share import Estimate
from semroute.stores.interfaces import Query

SHOWN = 20
"""The most routes that a table shows. `--json` has all."""

FLIPS_TOLD = 10
"""From so many verdicts that changed with the order on, a warning is given if they are at least half of all: as many
as if the judge tossed a coin."""


def command(log: str | None, since: datetime.datetime | None, until: datetime.datetime | None, as_json: bool) -> None:
    """Show what the judge found."""
    source = open_log(log, settings_module.read().database_url)
    with progress_bar("reading the log") as progress:
        found = judge_report(rows_of(source, since, until, Bar(progress)))
    tell_torn(source)
    if as_json:
        print_json(found)
    else:
        _show(found)


def rows_of(
    source: LoggedDecisions, since: datetime.datetime | None, until: datetime.datetime | None, bar: Bar
) -> Iterator[LoggedDecision]:
    """Yield the rows of a log, and show the progress."""
    total = source.count() if errors.is_terminal else 0
    for done, row in enumerate(source.read(Query(since=timestamp(since), until=timestamp(until))), 1):
        if done % 1000 == 0:
            bar(done, max(done, total))
        yield row


def say(text: str) -> None:
    """Print a line as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def shown(estimate: Estimate, form: str = ".3f") -> str:
    """Return an estimate with its interval."""
    return f"{estimate.mean:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def failures(failed: dict[str, int]) -> str:
    """Return how many trials came to nothing, and why."""
    return "; " + ", ".join(f"{number} {why}" for why, number in failed.items()) if failed else ""


def estimates(title: str, found: dict[str, Estimate], form: str = ".3f") -> None:
    """Print estimates by name."""
    table = Table(title, "samples", "estimate (95% interval)", box=None, pad_edge=False)
    for name, estimate in list(found.items())[:SHOWN]:
        table.add_row(escape(name or "(none)"), f"{estimate.n:,}", shown(estimate, form))
    console.print(table, highlight=False)
    if len(found) > SHOWN:
        say(f"and {len(found) - SHOWN} more")


def say_verdicts(verdicts: dict[str, int], flipped: int, other: str) -> None:
    """Print which answers were better, and a warning if the order of the answers decided.

    `flipped`: ties because the verdict changed with the order. `other`: whose answers were compared.
    """
    served, tried, tie = (verdicts.get(name, 0) for name in ("served", "tried", "tie"))
    say(f"better: {served} served, {tried} of {other}; {counted(tie, 'tie')}, {flipped} by the order")
    if flipped >= FLIPS_TOLD and 2 * flipped >= served + tried + tie:
        say("the verdict mostly changed with the order of the answers, which counts as a tie. So this judge cannot")
        say("tell them apart, and the figures say little. Take another judge, another rubric, or ask people")


def _show(report: JudgeReport) -> None:
    if not report.judges:
        say(f"{counted(report.requests, 'request')}, and none was judged: write `judge:` into the route files")
    for found in report.judges:
        _show_judge(found)


def _show_judge(found: JudgeFound) -> None:
    how = f"compares answers with those of {found.against}" if found.method == "pairwise" else "grades answers"
    say(f"{found.judge} {how}: {found.graded:,} of {found.trials:,} graded{failures(found.failed)}")
    if found.quality is not None:
        say(f"mean score: {shown(found.quality)}, from {counted(found.quality.units, 'user')}")
    if found.verdicts:
        say_verdicts(found.verdicts, found.flipped, found.against)
    say(f"agreement with people: {_agreement(found.agreement)}")
    each = f", {found.usd_per_grade:.6f} USD a grade" if found.usd_per_grade is not None else ""
    say(f"cost: {found.cost_usd:.6f} USD{each}")
    for title, groups in (("route", found.by_route), ("tier", found.by_tier), ("model", found.by_model)):
        if groups:
            estimates(title, groups)


def _agreement(found: Agreement) -> str:
    if not found.n:
        return "not known, because people scored none of these answers (`POST /feedback`)"
    if found.kappa is None or found.low is None or found.high is None:
        same = "good" if found.both_good else "bad"
        return f"kappa is not defined: both call all {counted(found.n, 'answer')} {same}"
    interval = f"{found.low:.2f} to {found.high:.2f}"
    return f"kappa {found.kappa:.2f} ({interval}), {found.observed:.1%} of {counted(found.n, 'answer')}"
