"""The commands that show what trials beside requests found: their names, options and help."""

from __future__ import annotations

from typing import Any

import click

from semroute.cli.loading import run
from semroute.cli.options import json_option, time_option


@click.command(
    "judge",
    epilog="""\b
Examples:
  semroute judge                                 the service's own log
  semroute judge log.jsonl --since 2026-11-24 --json""",
)
@click.argument("log", required=False)
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "now")
@json_option
def judge(**given: Any) -> None:
    """Show how good the judge says that answers are.

    Shows the mean score by route, tier and model with an interval, how far people agree with the judge, and what it
    cost. LOG is a file of `semroute export` or the URL of a database; without it, the log at SEMROUTE_DATABASE_URL is
    read. The route files say what is judged (`judge:`).
    """
    run("judge", given)


@click.command(
    "shadow",
    epilog="""\b
Examples:
  semroute shadow                                the service's own log
  semroute shadow log.jsonl --since 2026-11-24 --json""",
)
@click.argument("log", required=False)
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "now")
@json_option
def shadow(**given: Any) -> None:
    """Show how often the served answer would have done.

    Compares the answers that were served with those that the shadow got, by route, tier and model, with intervals.
    Without a judge that compared them, it shows only what they have in common, and what they cost. LOG is a file of
    `semroute export` or the URL of a database; without it, the log at SEMROUTE_DATABASE_URL is read. The route files
    say what is shadowed (`shadow:`).
    """
    run("shadow", given)
