"""How the coding agents are run: each time in a folder and a home of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEADLINE_S = 150
SEARCHED = {"work/weather.txt": "18 degrees"}
"""The file that a program finds where a model lets it search."""


class ProgramFailed(Exception):
    """What a program says of its failure."""


def run(command: list[str], files: dict[str, Any] | None = None, enough: str = "", **environ: str) -> str:
    """What a program prints. `files` are written into its home first; those that hold no text as JSON.

    Some programs try again for a minute. Once one has printed the text `enough` twice, it is ended.
    """
    with tempfile.TemporaryDirectory() as home:
        for name, content in {**SEARCHED, **(files or {})}.items():
            place = Path(home, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content if isinstance(content, str) else json.dumps(content))
        work = Path(home, "work")
        place = {"cwd": work, "env": {**os.environ, "HOME": home, **environ}}
        if enough:
            return _until(enough, command, place)
        done = subprocess.run(
            command,
            **place,
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


def _until(enough: str, command: list[str], place: dict[str, Any]) -> str:
    printed = ""
    nothing, both = subprocess.DEVNULL, {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **place, **both, stdin=nothing, text=True) as program:
        late = threading.Timer(DEADLINE_S, program.kill)
        late.start()
        for line in program.stdout or ():
            printed += line
            if printed.count(enough) > 1:
                program.kill()
        late.cancel()
    if os.environ.get("SHOW"):
        print(command, program.returncode, printed)  # noqa: T201
    return printed


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
