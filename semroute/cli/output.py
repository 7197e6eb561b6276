"""What commands share: where they print, and which folder they work on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semroute.config.error_wording import counted as counted
from semroute.config.load import default_folder
from semroute.settings import variable

PIPED_WIDTH = 150

errors = Console(stderr=True, emoji=False)  # `file:100:` is no 💯


class _Stdout(Console):
    """Standard output. If the reader stops early, as `| head` does, the command still ends normally."""

    def on_broken_pipe(self) -> None:
        discard_output()


def discard_output() -> None:
    """Send further output nowhere. Otherwise the interpreter flushes once more at its end, and reports an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Console:
    plain = _Stdout(emoji=False)
    # A pipe has no width, so tables get more room than 80 columns.
    return plain if plain.is_terminal else _Stdout(emoji=False, width=PIPED_WIDTH)


console = _console()


def folder_of(routes: Path | None) -> Path:
    """Return the routes folder that a command works on."""
    named = os.environ.get(variable("routes"))
    return routes or (Path(named) if named else default_folder())


def workflow_command(level: str, message: str, **properties: str) -> str:
    """Return a workflow command: GitHub shows the message, at the line of a file if the properties name one.

    Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
    """
    fields = ",".join(f"{key}={_escape(value, ':,')}" for key, value in properties.items())
    return f"::{level} {fields}::{_escape(message)}"


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def warn(lines: Iterable[str]) -> None:
    """Print warnings on standard error."""
    for line in lines:
        errors.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def write_whole(file: Path, text: str) -> None:
    """Write a file. If that fails, as on a full disk, the old content stays. Raises `OSError`, which names the file."""
    target = file.resolve()  # a link stays a link
    is_device = target.exists() and not target.is_file()  # such as /dev/stdout, which cannot be replaced
    beside = target if is_device else target.with_name(f".{target.name}.new")
    try:
        beside.write_text(text, "utf-8")
        if not is_device:
            if target.exists():
                beside.chmod(target.stat().st_mode)
            beside.replace(target)
    except OSError as error:
        if not is_device:
            beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from None


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    encoded = msgspec.json.Encoder(decimal_format="number").encode(value)
    click.echo(msgspec.json.format(encoded, indent=2))  # bytes: JSON is UTF-8, whatever the terminal is


def write_report(file: Path, page: str, *, as_json: bool) -> None:
    """Write a report as a page, after its figures were printed: they are not lost if the page cannot be written."""
    write_whole(file, page)
    if not as_json:
        console.print(f"report: {file}", markup=False, highlight=False)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on standard error, and remove it at the end. Without a terminal it shows nothing."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        yield progress


class Bar:
    """A callback that moves one bar. It gets the work done and the work in all."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def __call__(self, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)
