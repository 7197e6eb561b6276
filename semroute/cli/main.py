"""`semroute`: run a command, and turn errors into messages."""

from __future__ import annotations

import gc
import io
import sys

from semroute.cli.commands import group
from semroute.errors import ConfigError, SemrouteError

FOUND_BAD, WRONG_USAGE = 1, 2
YOUNG = 100_000
"""How many new objects make the garbage collector look for some that refer to each other. Modules bring many that stay,
and with Python's 700 a tenth of a start went into looking through them."""


def main() -> None:
    """Run the command line, and turn errors into messages."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal may not know a character
    try:
        group(prog_name="semroute")
    except SemrouteError as error:
        problems = error.problems if isinstance(error, ConfigError) else [error]
        _tell(*map(str, problems))
        sys.exit(WRONG_USAGE if error.code == "settings_invalid" else FOUND_BAD)
    except OSError as error:
        if error.strerror is None:
            raise
        if error.filename is None:
            _discard_output()
        what = "output" if error.filename is None else error.filename
        _tell(f"{what}: {error.strerror}")
        sys.exit(WRONG_USAGE)


def _tell(*messages: str) -> None:
    from semroute.cli.output import errors  # help needs no rich, and comes sooner without

    for message in messages:
        errors.print(message, style="red", markup=False, highlight=False, soft_wrap=True)


def _discard_output() -> None:
    from semroute.cli.output import discard_output

    discard_output()
