"""How the coding agents are run: each time in a folder and a home of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEADLINE_S = 150


class ProgramFailed(Exception):
    """What a program says of its failure."""


def run(command: list[str], files: dict[str, Any] | None = None, **environ: str) -> str:
    """What a program prints. `files` are written into its home first; those that hold no text as JSON."""
    with tempfile.TemporaryDirectory() as home:
        for name, content in (files or {}).items():
            place = Path(home, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content if isinstance(content, str) else json.dumps(content))
        work = Path(home, "work")
        work.mkdir()
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, "HOME": home, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    if os.environ.get("SHOW"):
        print(command, done.returncode, done.stdout, done.stderr)  # noqa: T201
    if done.returncode and not done.stdout.strip():
        raise ProgramFailed(done.stderr)
    return done.stdout + (f"\n{done.stderr}" if done.returncode else "")


def exported(shell: str, **places: str) -> dict[str, str]:
    """The variables that lines such as `export NAME=URL` set. `places` says what stands for `URL`."""
    found = {}
    for line in shell.split():
        name, is_set, value = line.partition("=")
        if is_set:
            found[name] = functools.reduce(lambda text, place: text.replace(*place), places.items(), value)
    return found


def lines(printed: str) -> Iterator[dict[str, Any]]:
    """The objects among the lines that a program printed."""
    for line in printed.splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)
