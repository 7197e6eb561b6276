"""The options and help of `semroute experiment`. `semroute.cli.experiment` does the work."""

from __future__ import annotations

from typing import Any

import click

from semroute.cli.loading import InOrder, run
from semroute.cli.options import json_option, routes_option


@click.group("experiment", cls=InOrder)
def experiment() -> None:
    """Show and stop the experiments of the route files.

    What is known of an experiment is in the database at SEMROUTE_DATABASE_URL, which is also that of the service.
    """


@experiment.command(
    "status",
    epilog="""\b
Examples:
  semroute experiment status
  semroute experiment status cheap-first --json""",
)
@click.argument("name", required=False)
@routes_option
@json_option
def status(**given: Any) -> None:
    """Show what is known of an experiment, or of all.

    Compares each arm with the control arm: quality, cost, latency, errors and abstentions, each with an interval. The
    intervals stay valid however often you look: all of them hold together with 95% probability. Exits with 1 if the
    arms did not get their shares of the users, because nothing can be trusted then.
    """
    run("experiment", given, "status")


@experiment.command(
    "stop",
    epilog="""\b
Examples:
  semroute experiment stop cheap-first
  semroute experiment stop cheap-first --adopt cheap""",
)
@click.argument("name")
@click.option("--adopt", metavar="ARM", help="Write what this arm changes into adopted.yaml, so that all get it.")
@routes_option
@json_option
def stop(**given: Any) -> None:
    """End an experiment.

    Within a second or two all requests go to the control arm, or are served as the adopted arm was. An experiment that
    has ended does not start again. To repeat it, give it another name.
    """
    run("experiment", given, "stop")
