"""Declare commands without importing what they need. A command's module is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class InOrder(click.Group):
    """A group that lists its commands as they are declared: in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of their declaration."""
        return list(self.commands)


def run(module: str, given: dict[str, Any], function: str = "command") -> None:
    """Call a function of a module of `semroute.cli` with the options of the same names."""
    getattr(import_module(f"semroute.cli.{module}"), function)(**given)
