"""`semroute shadow [LOG]`."""

from __future__ import annotations

import datetime

from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.judge import estimates, failures, rows_of, say, say_verdicts, shown
from semroute.cli.output import Bar, console, counted, print_json, progress_bar
from semroute.cli.suggest import tell_torn
from semroute.learning.logged_decisions import open_log
from semroute.learning.shadow_report import AnswerMeans, CandidateFound, ShadowFound, ShadowReport, shadow_report

TOLD = {
    "same_text": "the same text",
    "same_finish_reason": "the same finish reason",
    "same_json": "the same JSON",
    "same_tool_calls": "the same tool calls",
}


def command(log: str | None, since: datetime.datetime | None, until: datetime.datetime | None, as_json: bool) -> None:
    """Show what the shadow found."""
    source = open_log(log, settings_module.read().database_url)
    with progress_bar("reading the log") as progress:
        found = shadow_report(rows_of(source, since, until, Bar(progress)))
    tell_torn(source)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(report: ShadowReport) -> None:
    if not report.shadows:
        say(f"{counted(report.requests, 'request')}, and none was shadowed: write `shadow:` into the route files")
    for found in report.shadows:
        _show_shadow(found)


def _show_shadow(found: ShadowFound) -> None:
    if found.candidate is not None:
        _show_candidate(found.candidate)
    say(f"{found.to}: {found.answered:,} of {found.asked:,} answered{failures(found.failed)}")
    if found.would_do is None:
        say("whether the served answers would have done is not known, because no judge compared them:")
        say("write `judge: {model: …, pairwise: shadow}`; until then, this is what the answers have in common")
    else:
        would_do = shown(found.would_do, ".1%")
        say(f"the served answer would have done: {would_do}, from {counted(found.compared, 'comparison')}")
        say_verdicts(found.verdicts, found.flipped, found.to)
    for name, estimate in found.alike.items():
        say(f"{TOLD[name]}: {shown(estimate, '.1%')}, {counted(estimate.n, 'pair')}")
    if found.served is not None and found.tried is not None:
        _show_means(found.to, found.served, found.tried)
    say(f"cost: {found.cost_usd:.6f} USD, and the judge {found.judge_usd:.6f} USD")
    for title, groups in (("route", found.by_route), ("tier", found.by_tier), ("model", found.by_model)):
        if groups:
            estimates(f"{title}: would have done", groups, ".1%")


def _show_candidate(found: CandidateFound) -> None:
    say(f"the candidate folder (version {found.version}) decided {counted(found.decided, 'request')}")
    for what, changed in (("model", found.model_changed), ("route", found.route_changed)):
        if changed is not None:
            say(f"another {what}: {shown(changed, '.1%')}")
    estimates("route: another model", found.by_route, ".1%")


def _show_means(to: str, served: AnswerMeans, tried: AnswerMeans) -> None:
    table = Table("an answer on average", "served", to, box=None, pad_edge=False)
    table.add_row("USD", f"{served.cost_usd:.6f}", f"{tried.cost_usd:.6f}")
    table.add_row("ms", f"{served.latency_ms:,.0f}", f"{tried.latency_ms:,.0f}")
    table.add_row("output tokens", f"{served.output_tokens:,.0f}", f"{tried.output_tokens:,.0f}")
    table.add_row("characters", f"{served.chars:,.0f}", f"{tried.chars:,.0f}")
    console.print(table, highlight=False)
