"""`semroute route TEXT`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from semroute.cli.output import Bar, console, folder_of, print_json, progress_bar
from semroute.decision import Decision, Details
from semroute.messages import ChatRequest, Message, Text, new_id
from semroute.router import Router
from semroute.routing.decide import THRESHOLDS


def command(
    text: str,
    plan: bool,
    cost_quality: float | None,
    model: str,
    routes: Path | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Decide one prompt, and show the decision."""
    if text == "-":
        text = _standard_input()
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    router.match([text])  # the first embedding of a process is slow: do not count it
    messages = (Message(role="user", parts=(Text(text=text),)),)
    request = ChatRequest(id=new_id(), messages=messages, model=model, cost_quality=cost_quality)
    decision = router.route(request, explain=explain)
    if as_json:
        print_json(decision)
        return
    _show(decision, router)
    if plan:
        _show_plan(decision)


def _standard_input() -> str:
    if sys.stdin is None:
        raise click.UsageError("standard input is closed")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input cannot be read: byte {error.start} is not UTF-8") from None


def _show_plan(decision: Decision) -> None:
    table = Table("", "model", "tier", "quality", "USD", "latency", "why", box=None, pad_edge=False)
    for number, entry in enumerate(decision.plan_details, start=1):
        table.add_row(
            str(number),
            escape(entry.model),
            entry.tier,
            f"{entry.quality:.2f}",
            f"{entry.cost_usd:.6f}",
            "?" if entry.latency_ms is None else f"{entry.latency_ms:.0f} ms",
            escape(entry.why),
        )
    console.print(table)
    if decision.difficulty is not None:
        parts = ", ".join(f"{name} {part:+.2f}" for name, part in decision.contributions.items())
        wants = f", wants {decision.wants}" if decision.wants else ""
        console.print(f"difficulty {decision.difficulty:.2f}{wants}: {parts}", highlight=False)
    if decision.narrowed_by:
        console.print(f"models were left out by rules: {', '.join(decision.narrowed_by)}", highlight=False)


BAR = 24
"""Width of the longest bar."""
WORDS = 48
"""Characters that are shown of the words left out together. Of a long prompt, several are left out at a time."""


def _show_details(decision: Decision, details: Details) -> None:
    """Show a bar for each word: green speaks for the best candidate, red against it."""
    if details.flip is not None:
        console.print(f"what would have changed it: {details.flip.explanation}.", markup=False, highlight=False)
    if not details.words:
        return
    best = decision.candidates[0].route
    most = max(abs(word.effect) for word in details.words) or 1.0
    table = Table(box=None, pad_edge=False)
    table.add_column("word", no_wrap=True, overflow="ellipsis", max_width=WORDS)
    for column in (f"for {best}", "", "without it"):
        table.add_column(column)
    for word in details.words:
        bar = "█" * round(BAR * abs(word.effect) / most)
        flips = word.route_without != decision.route
        table.add_row(
            escape(" ".join(word.text.split())),
            f"{word.effect:+.3f}",
            f"[{'green' if word.effect > 0 else 'red'}]{bar}[/]",
            (word.route_without or "no route") if flips else "",
        )
    console.print(table)


def _show(decision: Decision, router: Router) -> None:
    model = escape(decision.model or ("its own answer" if decision.answer is not None else "no model"))
    console.print(f"[bold]{decision.route or 'default'}[/] -> [bold]{model}[/]", highlight=False)
    console.print(f"{decision.explanation}.", markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, expand=True)
    for column in ("route", "confidence", "similarity"):
        table.add_column(column, no_wrap=True)
    table.add_column("nearest utterance", no_wrap=True, overflow="ellipsis", ratio=1)
    for candidate in decision.candidates:
        near = candidate.nearest
        table.add_row(
            candidate.route,
            f"{candidate.confidence:.3f}",
            f"{near.similarity:.3f}" if near else "",
            escape(" ".join(near.utterance.split())) if near else "",
        )
    if decision.candidates:
        console.print(table)
        source = THRESHOLDS[decision.threshold_from] if decision.threshold_from else ""
        console.print(f"threshold {decision.threshold:.3f} ({source}), margin {decision.margin:.3f}", highlight=False)
        if decision.details is not None and decision.threshold_from == "calibrated":
            console.print(f"calibrated thresholds: {router.threshold_claim}", markup=False, highlight=False)
    if decision.details is not None:
        _show_details(decision, decision.details)
    if decision.answer is not None:
        console.print(f"answer: {decision.answer}", markup=False, highlight=False)
    else:
        console.print(f"plan: {', then '.join(decision.plan) or 'none'}", markup=False, highlight=False)
    for left_out, reason in decision.rejected.items():
        console.print(f"left out: {left_out} ({reason})", markup=False, highlight=False)
    for provider in router.config.providers.values():
        models = [m for m in decision.plan if router.config.models[m].provider == provider.id]
        if models and provider.unavailable:
            reason = f"not callable here: {', '.join(models)} ({provider.unavailable})"
            console.print(reason, markup=False, style="yellow")
    estimate = decision.estimate
    console.print(
        f"about {estimate.input_tokens} tokens in, {estimate.output_tokens} out, "
        f"{estimate.cost_usd:f} USD; decided in {decision.latency_ms:.1f} ms",
        highlight=False,
    )
