"""The names, options and help of all commands. A command's module does the work, and is imported when it is called.

So help and completion only have to import click.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from semroute import __version__
from semroute.cli.experiment_commands import experiment
from semroute.cli.key_commands import keys
from semroute.cli.learning_commands import diff, drift, learned, replay, suggest, sweep
from semroute.cli.loading import InOrder, run
from semroute.cli.options import (
    FILE,
    SHARE,
    OutputFile,
    format_option,
    json_option,
    model_names,
    routes_option,
    time_option,
)
from semroute.cli.trial_commands import judge, shadow
from semroute.stores.rollups import DIMENSIONS

MIN_LABELS = 50
"""The fewest labels that `train` takes, as in `semroute.evaluation.gain_training`, which takes long to import."""


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Begin with:
  semroute demo                      see decisions and answers: no key, no network
  semroute init routes               write a starter folder of route files
  semroute serve --echo              run the service with an echo for every model
\b
Complete commands and options with the tab key:
  bash  eval "$(_SEMROUTE_COMPLETE=bash_source semroute)"     in ~/.bashrc
  zsh   eval "$(_SEMROUTE_COMPLETE=zsh_source semroute)"      in ~/.zshrc
  fish  _SEMROUTE_COMPLETE=fish_source semroute | source      in ~/.config/fish/config.fish
\b
Exit codes: 0 fine, 1 what was checked is bad, 2 wrong usage.""",
)
@click.version_option(__version__, prog_name="semroute")
def group() -> None:
    """Send each prompt to the cheapest model that can handle it."""


@group.command("demo")
@routes_option
@json_option
def demo(**given: Any) -> None:
    """Show decisions and answers offline, and exit.

    Starts the service offline, sends it some prompts, and shows the decisions and the answers. An echo answers instead
    of every model, so this needs no key and no network, and costs nothing.
    """
    run("demo", given)


@group.command(
    "serve",
    epilog="""\b
Examples:
  semroute serve --echo                          offline, to try it
  OPENAI_API_KEY=... semroute serve              with a real provider
  semroute serve --port 9000 --workers 4         four processes""",
)
@routes_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [default: 8000]")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes, about 0.2 GB each.  [default: 1]")
@click.option("--echo", is_flag=True, help="Let an echo answer instead of every model: no key, no network, no cost.")
@click.option(
    "--insecure", is_flag=True, help="Serve callers without a key, even if other machines can reach the service."
)
def serve(**given: Any) -> None:
    """Run the service.

    Each option has an environment variable, such as SEMROUTE_PORT for --port. The option overrides the variable. Ctrl-C
    or SIGTERM stops the service after the running requests have ended.
    """
    run("serve", given)


@group.command(
    "route",
    epilog="""\b
Examples:
  semroute route "why was I charged twice?"
  semroute route --plan --explain "prove that there are infinitely many primes"
  semroute route --json - < prompt.txt""",
)
@click.argument("text")
@click.option(
    "--plan", is_flag=True, help="Show each model of the plan: why it is there, its cost in USD and its latency."
)
@click.option("--cost-quality", type=SHARE, help="The dial, from 0 (cheapest) to 1 (best).")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    shell_complete=model_names,
    help="auto, auto:ROUTE, or the id of a model, as in a request.",
)
@routes_option
@click.option("--explain", is_flag=True, help="Show how much each word counted, and what would change the decision.")
@json_option
def route(**given: Any) -> None:
    """Show where a prompt goes, and why.

    No model is called. TEXT is the prompt; `-` reads it from standard input.
    """
    run("route", given)


@group.command(
    "check",
    epilog="""\b
Examples:
  semroute check                                 the folder in use
  semroute check routes --strict                 in a build: fail on warnings, too
  semroute check routes --format github          notes at the lines of a pull request""",
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--no-embed",
    is_flag=True,
    help="Check the files only. This is faster, but does not compare the meaning of utterances.",
)
@click.option("--ask", is_flag=True, help="Also read the model lists of providers that speak OpenAI's dialects.")
@format_option("How to print what was found.")
@json_option
def check(**given: Any) -> None:
    """Find what is wrong in route files.

    Looks at FOLDER, or else at SEMROUTE_ROUTES, routes/ or the shipped folder. It finds mistakes in the form of the
    files. It also finds mistakes in their meaning: routes that collide, utterances in the wrong route or written twice,
    routes that cannot be reached. Exits with 1 if there is an error.
    """
    run("check", given)


@group.command(
    "eval",
    epilog="""\b
Examples:
  semroute eval                                  cross-validate the utterances
  semroute eval prompts.jsonl --html report.html
  semroute eval prompts.jsonl --min-accuracy 0.9 --max-ece 0.1      in a build""",
)
@click.argument("file", required=False, type=FILE)
@routes_option
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Number of folds of the cross-validation."
)
@click.option("--html", type=OutputFile(), help="Write a report with charts to this file.")
@click.option("--min-accuracy", type=SHARE, help="Exit with 1 if a smaller share of the decisions is right.")
@click.option(
    "--min-in-scope-accuracy",
    type=SHARE,
    help="Exit with 1 if the best route is right for a smaller share of the prompts that have a route.",
)
@click.option(
    "--min-oos-recall",
    type=SHARE,
    help="Exit with 1 if a smaller share of the prompts without a route goes to the default.",
)
@click.option(
    "--min-oos-auroc",
    type=SHARE,
    help="Exit with 1 if prompts with and without a route are told apart less well than this (OOS AUROC).",
)
@click.option("--max-ece", type=SHARE, help="Exit with 1 if the calibration error (ECE) is larger than this.")
@json_option
def evaluate(**given: Any) -> None:
    """Measure the decisions on labelled prompts.

    FILE holds a JSON object on each line: {"text": "...", "route": "name"}. A route of null means that no route should
    match. Without FILE the utterances are cross-validated: each is decided by a router that has not seen it.
    """
    run("evaluate", given)


@group.command("train", epilog="Example:  semroute train labels.jsonl --min-labels 500")
@click.argument("labels", type=FILE)
@click.option(
    "--min-labels",
    type=click.IntRange(min=MIN_LABELS),
    default=MIN_LABELS,
    show_default=True,
    help="Refuse to learn from fewer labels.",
)
@routes_option
@json_option
def train(**given: Any) -> None:
    """Learn from graded answers which prompts need a strong model.

    LABELS holds a JSON object on each line: {"prompt": "...", "quality": {"MODEL": 0 to 1, ...}}, or {"prompt": "...",
    "winner": "MODEL", "loser": "MODEL"}. "route" and "cost": {"MODEL": USD} may be added. The result is written to the
    routes folder. Policies with `difficulty: {by: learned}` use it. Exits with 1 if there was nothing to learn.
    """
    run("train", given)


@group.command("savings", epilog="Example:  semroute savings requests.jsonl --baseline large")
@click.argument("log", type=FILE)
@click.option(
    "--baseline",
    shell_complete=model_names,
    help="The model that all requests would go to without routing.  [default: `baseline` of the route files]",
)
@routes_option
@json_option
def savings(**given: Any) -> None:
    """Compute what routing saves on a log of requests.

    LOG holds a JSON object on each line: {"prompt": "...", "output_tokens": 120}; "input_tokens" may be added. Each
    request is decided, and its cost is compared with that of the baseline, in USD. No model is called.
    """
    run("savings", given)


@group.command(
    "tune",
    epilog="""\b
Examples:
  semroute tune --dry-run
  semroute tune prompts.jsonl --max-false-abstain 0.05""",
)
@click.argument("file", required=False, type=FILE)
@routes_option
@click.option(
    "--max-false-abstain",
    type=SHARE,
    help="Take the highest thresholds that leave at most this share of in-scope prompts (0 to 1) without a route. "
    "Without this, take those with the most right decisions.",
)
@click.option("--dry-run", is_flag=True, help="Show the thresholds, and write nothing.")
@json_option
def tune(**given: Any) -> None:
    """Find thresholds on labelled prompts.

    FILE holds {"text": "...", "route": "name" or null} on each line, or is a log that `semroute export` wrote. The
    labels of a log are its feedback, and "expected" where you add it. Without FILE, eval.jsonl in the routes folder is
    read. The thresholds are written to tuned.yaml in that folder. Your own files are
    not changed. To undo it, delete tuned.yaml.
    """
    run("tune", given)


@group.command(
    "import",
    epilog="""\b
Example:
  semroute import layer.yaml --output routes --model small --model large""",
)
@click.argument("file", type=FILE)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Write into this routes folder.")
@click.option("--model", "models", multiple=True, help="The routes' models, in order.  [default: the folder's default]")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def import_(**given: Any) -> None:
    """Turn semantic-router's routes into a route file.

    FILE is a JSON or YAML file of semantic-router 0.x or 1.x. The route file is printed. With --output it is written
    into a folder, unless that would break the folder. A folder without files also gets a starter models.yaml.
    Comments in the route file name what could not be carried over. Nothing that FILE names is imported or run.
    """
    run("import_", given)


group.add_command(keys)
group.add_command(experiment)


@group.command(
    "report",
    epilog="""\b
Example:
  semroute report --by team --by model --days 7 --html report.html""",
)
@click.option(
    "--by",
    type=click.Choice((*DIMENSIONS[1:], "day")),
    multiple=True,
    help="What to sum by; can be repeated.  [default: model, tier, route, key and day]",
)
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="How many days, up to today.")
@click.option("--html", "file", type=OutputFile(), help="Write a page with charts to this file.")
@json_option
def report(**given: Any) -> None:
    """Show what was asked, what it cost and what was saved.

    Reads the decision log at SEMROUTE_DATABASE_URL. Days are those of UTC, costs are in USD.
    """
    run("report", given)


@group.command(
    "export",
    epilog="""\b
Examples:
  semroute export november.parquet --since 2026-11-01 --until 2026-12-01
  semroute export - | head""",
)
@click.argument("file", type=OutputFile(allow_dash=True))
@time_option("--since", "From this time on", "the first record")
@time_option("--until", "Up to this time", "now")
def export(**given: Any) -> None:
    """Write the decision log to a file.

    FILE ends in .parquet (which needs the extra `parquet`) or in .jsonl; `-` prints JSONL. Reads the decision log at
    SEMROUTE_DATABASE_URL.
    """
    run("export", given)


for each in (replay, diff, sweep, suggest, drift, judge, shadow, learned):
    group.add_command(each)


@group.command(
    "prices",
    epilog="""\b
Examples:
  semroute prices
  semroute prices --update model_prices_and_context_window.json""",
)
@click.option("--update", type=FILE, help="Compare with this list: JSON in LiteLLM's format.")
@routes_option
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--yes", is_flag=True, help="Write without a question.")
@json_option
def prices(**given: Any) -> None:
    """Show the models' prices, and update them from a public list.

    --update shows the prices that differ from the list, and asks before it writes them into the route files. Nothing
    else in those files changes.
    """
    run("prices", given)


@group.command("init", epilog="Example:  semroute init routes && semroute check routes")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite these files if they exist.")
def init(**given: Any) -> None:
    """Write a commented starter folder.

    FOLDER gets models, two routes, a rule, and the JSON Schema for your editor.
    """
    run("init", given)


@group.command("schema", epilog="Example:  semroute schema > routes/schema.json")
def schema() -> None:
    """Print the JSON Schema of route files.

    Editors use the schema to complete and check keys.
    """
    run("schema", {})
