"""`semroute`: a command a module, each imported when it is called."""

from __future__ import annotations

import importlib
import io
import sys

import click

from semroute import __version__
from semroute.cli.output import discard_output, errors
from semroute.errors import ConfigError, SemrouteError

COMMANDS = {
    "demo": "semroute.cli.demo",
    "serve": "semroute.cli.serve",
    "route": "semroute.cli.route",
    "check": "semroute.cli.check",
    "eval": "semroute.cli.evaluate",
    "train": "semroute.cli.train",
    "savings": "semroute.cli.savings",
    "tune": "semroute.cli.tune",
    "import": "semroute.cli.import_",
    "keys": "semroute.cli.keys",
    "report": "semroute.cli.report",
    "export": "semroute.cli.export",
    "init": "semroute.cli.init",
    "schema": "semroute.cli.schema",
}

FOUND_BAD, WRONG_USAGE = 1, 2


class LazyGroup(click.Group):
    """Imports a command's module, and the libraries below it, only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The `command` of the module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="semroute")
def group() -> None:
    """Send each prompt to the cheapest model that can handle it.

    Exit codes: 0 fine, 1 what was checked is bad, 2 wrong usage.
    """


def main() -> None:
    """Run the command line, and turn errors into messages."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal may not know a character
    try:
        group(prog_name="semroute")
    except SemrouteError as error:
        problems = error.problems if isinstance(error, ConfigError) else [error]
        for problem in problems:
            errors.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(WRONG_USAGE if error.code == "settings_invalid" else FOUND_BAD)
    except OSError as error:
        if error.strerror is None:
            raise
        if error.filename is None:  # the output itself
            discard_output()
        what = "output" if error.filename is None else error.filename
        errors.print(f"{what}: {error.strerror}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(WRONG_USAGE)
