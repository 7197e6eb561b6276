"""`semroute schema`."""

from __future__ import annotations

import click

from semroute.cli.output import print_json
from semroute.config.jsonschema import json_schema


@click.command("schema", short_help="Print the JSON Schema of route files.")
def command() -> None:
    """Print the JSON Schema of route files. An editor that knows it completes and checks keys."""
    print_json(json_schema())
