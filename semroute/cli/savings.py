"""`semroute savings LOG.jsonl`."""

from __future__ import annotations

from pathlib import Path

from semroute.cli.output import Bar, console, folder_of, print_json, progress_bar
from semroute.evaluation.baseline_savings import Savings, read_log, savings
from semroute.router import Router


def command(log: Path, baseline: str | None, routes: Path | None, as_json: bool) -> None:
    """Show what a log of requests would have cost, with routing and without."""
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
