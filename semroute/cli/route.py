"""`semroute route TEXT`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from semroute.cli.output import Bar, console, folder_of, json_option, print_json, progress_bar, routes_option
from semroute.router import Router
from semroute.types import Decision


@click.command("route", short_help="Decide where a prompt goes, and say why.")
@click.argument("text")
@routes_option
@json_option
def command(text: str, routes: Path | None, as_json: bool) -> None:
    """Decide where TEXT goes, and say why. `-` reads it from standard input."""
    if text == "-":
        text = sys.stdin.read()
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    router.route(text)  # the first embedding of a process is slow, and tells nothing
    decision = router.route(text)
    if as_json:
        print_json(decision)
    else:
        _show(decision, router)


def _show(decision: Decision, router: Router) -> None:
    console.print(f"[bold]{decision.route or 'default'}[/] -> [bold]{decision.model or 'no model'}[/]", highlight=False)
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
    console.print(f"plan: {', then '.join(decision.plan) or 'none'}", highlight=False)
    for model, reason in decision.rejected.items():
        console.print(f"not {model}: {reason}", markup=False, highlight=False)
    for provider in router.config.providers.values():
        models = [m for m in decision.plan if router.config.models[m].provider == provider.id]
        if models and provider.missing_variables:
            missing = ", ".join(provider.missing_variables)
            console.print(f"not callable here: {', '.join(models)} ({missing} is not set)", style="yellow")
    estimate = decision.estimate
    console.print(
        f"about {estimate.input_tokens} tokens in, {estimate.output_tokens} out, "
        f"{estimate.cost_usd:f} USD; decided in {decision.latency_ms:.1f} ms",
        highlight=False,
    )
