"""The commands that read the log to say what should change: their names, options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from semroute.cli.loading import run
from semroute.cli.options import (
    FILE,
    SHARE,
    OutputFile,
    engine_option,
    format_option,
    json_option,
    routes_option,
    time_option,
)


@click.command(
    "replay",
    epilog="""\b
Examples:
  semroute replay --routes candidate             the service's own log, decided by another folder
  semroute replay log.jsonl --html replay.html
  semroute replay big.parquet --resume replay.state
  semroute replay exports/ --engine ray          a folder of Parquet files, on a Ray cluster""",
)
@click.argument("log", required=False)
@routes_option
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "now")
@click.option("--html", type=OutputFile(), help="Write a report with charts to this file.")
@click.option(
    "--resume",
    type=OutputFile(),
    help="Keep the progress in this file. If the replay is interrupted, the same command goes on from there.",
)
@engine_option
@json_option
def replay(**given: Any) -> None:
    """Decide logged requests anew, and show what changes.

    LOG is a file of `semroute export`, a folder of such files in Parquet, or the URL of a database. Without LOG, the
    database at SEMROUTE_DATABASE_URL is read. No model is called. Requests whose text or features the log kept are
    decided exactly; others approximately.
    """
    run("replay", given)


@click.command(
    "diff",
    epilog="""\b
Examples:
  semroute diff routes candidate
  semroute diff routes candidate --eval prompts.jsonl --log log.jsonl
  semroute diff base/routes routes --format github --max-changed 0.02      in a pull request""",
)
@click.argument("old", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--eval", "eval_file", type=FILE, help="Also compare on these labelled prompts, as for `semroute eval`.")
@click.option("--log", help="Also compare on this log: a file of `semroute export`, or the URL of a database.")
@format_option("How to print what changes.")
@click.option("--max-changed", type=SHARE, help="Exit with 1 if a larger share (0 to 1) of the decisions changes.")
@json_option
def diff(**given: Any) -> None:
    """Show what a change of route files does to decisions.

    OLD and NEW are two routes folders. Both decide the same prompts: their own utterances, and the prompts of --eval
    and --log. No model is called.
    """
    run("diff", given)


@click.command(
    "sweep",
    epilog="""\b
Examples:
  semroute sweep                                 all dials that the route files use, on the service's own log
  semroute sweep log.jsonl --dial strong_share --floor 0.98 --html sweep.html
  semroute sweep --dial strong_share --write     set the dial that saves most above the floor""",
)
@click.argument("log", required=False)
@routes_option
@click.option("--dial", "dials", multiple=True, help="The dial to move; can be repeated.  [default: all that are used]")
@click.option("--floor", type=SHARE, help="The share of today's quality to keep (0 to 1).  [default: 0.97]")
@click.option("--min-quality", type=SHARE, help="The mean quality to keep (0 to 1), instead of --floor.")
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "the last record")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the intervals.")
@click.option("--write", is_flag=True, help="Write the best setting to swept.yaml. Without this, nothing is written.")
@click.option("--html", type=OutputFile(), help="Write a report with charts to this file.")
@engine_option
@json_option
def sweep(**given: Any) -> None:
    """Show what each setting of a dial would have cost and kept.

    Moves one dial at a time, such as strong_share, over the logged requests. Estimates the quality from feedback,
    judges and shadow calls, with intervals, and marks the setting that saves most above a floor. A request counts only
    for a model that answered it; where the log cannot tell, the report says how many more labels could. LOG is a file
    of `semroute export`, a folder of such files in Parquet, or the URL of a database; without it, the log at
    SEMROUTE_DATABASE_URL is read. To undo --write, delete swept.yaml in the routes folder.
    """
    run("sweep", given)


@click.command(
    "suggest",
    epilog="""\b
Examples:
  semroute suggest > suggested.yaml              from the service's own log
  semroute suggest november.jsonl --since 2026-11-15 --json""",
)
@click.argument("log", required=False)
@routes_option
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "the last record")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the sample of a large log.")
@engine_option
@json_option
def suggest(**given: Any) -> None:
    """Suggest better route files from the log.

    Reads prompts that no route was sure of, and feedback. Suggests utterances to add, new routes and negatives, and
    names utterances that pull prompts to the wrong route and routes to merge. Prints a route file to review. Nothing is
    applied. The log must keep the text of prompts. LOG is a file of `semroute export`, a folder of such files in
    Parquet, or the URL of a database; without it, the log at SEMROUTE_DATABASE_URL is read.
    """
    run("suggest", given)


@click.command(
    "drift",
    epilog="""\b
Examples:
  semroute drift --window 7                      the last week against the weeks before
  semroute drift log.jsonl --since 2026-11-24 --fail      for cron: exits with 1 if something moved""",
)
@click.argument("log", required=False)
@time_option("--since", "The window begins here", "as --window says")
@time_option("--until", "The window ends here", "the last record")
@click.option(
    "--window", type=click.FloatRange(min=0, min_open=True), default=7, show_default=True, help="Days of the window."
)
@click.option(
    "--reference",
    type=click.FloatRange(min=0, min_open=True),
    default=28,
    show_default=True,
    help="Days before the window to compare it with.",
)
@click.option("--alpha", type=SHARE, default=0.01, show_default=True, help="The chance of a false alarm in one report.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of samples and permutations.")
@click.option("--fail", is_flag=True, help="Exit with 1 if something moved.")
@engine_option
@json_option
def drift(**given: Any) -> None:
    """Show what moved in the traffic, and since when.

    Compares the share of each route, the in-scope scores, the abstentions, the vectors of the prompts, the quality by
    tier and the cost of a request. Says what moved and since when, and shows prompts that are new. LOG is a file of
    `semroute export`, a folder of such files in Parquet, or the URL of a database; without it, the log at
    SEMROUTE_DATABASE_URL is read.
    """
    run("drift", given)


@click.command(
    "learned",
    epilog="""\b
Examples:
  semroute learned
  semroute learned --routes candidate --json      as other route files would use the same grades""",
)
@routes_option
@json_option
def learned(**given: Any) -> None:
    """Show how good each model is on each route.

    Reads the grades of people and judges at SEMROUTE_DATABASE_URL. `learned` is the quality that is expected after all
    grades, beside an interval that holds it with 95%. `weight` says how many grades of today the grades count as.
    `used` says whether decisions go by it: the policy of the route has `learn`.
    """
    run("learned", given)
