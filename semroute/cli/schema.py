"""`semroute schema`."""

from __future__ import annotations

from semroute.cli.output import print_json
from semroute.config.jsonschema import json_schema


def command() -> None:
    """Print the JSON Schema."""
    print_json(json_schema())
