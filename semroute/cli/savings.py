"""`semroute savings LOG.jsonl`."""

from __future__ import annotations

from pathlib import Path

import click

from semroute.cli.output import Bar, console, folder_of, json_option, print_json, progress_bar, routes_option
from semroute.evaluation.baseline_savings import Savings, read_log, savings
from semroute.router import Router


@click.command("savings", short_help="What routing saves on a log of requests.")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--baseline", help="The model they go to without routing.  [default: `baseline`]")
@routes_option
@json_option
def command(log: Path, baseline: str | None, routes: Path | None, as_json: bool) -> None:
    """Decide each request of LOG, and compare the cost with that of sending all of them to one model.

    A JSON object a line: {"prompt": …, "output_tokens": …}; optional: "input_tokens". No model is called.
    """
    rows = read_log(log)
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    with progress_bar("deciding") as progress:
        found = savings(router, rows, baseline, Bar(progress))
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: Savings) -> None:
    console.print(f"{found.requests:,} requests", style="bold", highlight=False)
    console.print(f"all to {found.baseline}: {found.before_usd:,.2f} USD", markup=False, highlight=False)
    change = f"{abs(found.saved):.1%} {'less' if found.saved >= 0 else 'more'}"
    console.print(f"routed: {found.after_usd:,.2f} USD, {change}", highlight=False)
    for title, counts in (("models", found.by_model), ("routes", found.by_route)):
        shares = ", ".join(f"{name} {count / found.requests:.1%}" for name, count in counts.items())
        console.print(f"{title}: {shares}", markup=False, highlight=False)
