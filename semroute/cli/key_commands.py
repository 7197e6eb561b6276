"""The options and help of `semroute keys`. `semroute.cli.keys` does the work."""

from __future__ import annotations

from typing import Any, get_args

import click

from semroute.caller import Scope
from semroute.cli.loading import InOrder, run
from semroute.cli.options import LIMIT, json_option, model_names, route_names, time_option, usd


@click.group("keys", cls=InOrder)
def keys() -> None:
    """Make, list, revoke and rotate access keys.

    Keys are in the database at SEMROUTE_DATABASE_URL. A running service accepts a new key at once. It refuses a revoked
    key after 0.2 seconds at most.
    """


@keys.command(
    "create",
    epilog="""\b
Example:
  semroute keys create --name web --team shop --rpm 60 --usd-per-day 5""",
)
@click.option("--name", default="", help="The key's name in lists, statistics and budgets.")
@click.option("--team", default="", help="The team whose budgets the key uses.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(get_args(Scope)),
    multiple=True,
    help="What the key may do; can be repeated.  [default: route, complete]",
)
@click.option(
    "--route",
    "routes",
    multiple=True,
    shell_complete=route_names,
    help="A route that the key may use; can be repeated.  [default: all]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    shell_complete=model_names,
    help="A model that the key may use; can be repeated.  [default: all]",
)
@click.option("--rpm", type=LIMIT, help="Requests a minute.  [default: no limit]")
@click.option("--tpm", type=LIMIT, help="Tokens a minute.  [default: no limit]")
@click.option("--concurrency", type=LIMIT, help="Requests at once.  [default: no limit]")
@click.option("--usd-per-day", type=usd, help="The key's budget for a day, in USD.  [default: no limit]")
@click.option("--usd-per-month", type=usd, help="The key's budget for a month, in USD.  [default: no limit]")
@time_option("--expires", "When the key ends", "never")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="Metadata that rules can read; can be repeated.")
@json_option
def create_key(**given: Any) -> None:
    """Make a key, and show it this once."""
    run("keys", given, "create")


@keys.command("list")
@json_option
def list_keys(**given: Any) -> None:
    """List all keys, without their secrets."""
    run("keys", given, "list_")


@keys.command("revoke")
@click.argument("id_", metavar="ID")
def revoke_key(**given: Any) -> None:
    """End a key.

    `semroute keys list` shows the ID.
    """
    run("keys", given, "revoke")


@keys.command("rotate")
@click.argument("id_", metavar="ID")
@json_option
def rotate_key(**given: Any) -> None:
    """Give a key a new secret, and show it this once.

    The old secret stops working. `semroute keys list` shows the ID.
    """
    run("keys", given, "rotate")
