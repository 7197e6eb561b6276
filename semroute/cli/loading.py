"""How a command is declared without what it needs: its module is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class InOrder(click.Group):
    """Lists its commands in the order in which they are declared: the one in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Not by the alphabet."""
        return list(self.commands)


def run(module: str, given: dict[str, Any], function: str = "command") -> None:
    """Call a function of a module of `semroute.cli` with the options of the same names."""
    getattr(import_module(f"semroute.cli.{module}"), function)(**given)
