"""Read the files of a routes folder as they were at one moment."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.arm_folders import arm_folders
from semroute.errors import Problem

MAX_FILE_BYTES = 64 * 1024 * 1024
SUFFIXES = (".yaml", ".yml")
LEARNED = "difficulty.npz"
"""The name of the file that `semroute train` writes into the routes folder."""
TRIES = 5
"""How often a folder is read again because a file changed meanwhile."""
PAUSE_S = 0.02

Look = tuple[tuple[str, int, int, int], ...]
"""For each file: its name, and the numbers that change when somebody writes the file."""


class RouteFiles(Frozen, frozen=True, kw_only=True):
    """The files of a routes folder."""

    folder: str
    texts: dict[str, bytes]
    """The route files by name, in order."""
    learned: bytes | None = None
    """The file that `semroute train` wrote. None: there is no such file."""
    problems: tuple[Problem, ...] = ()
    """The files that could not be read."""
    arms: dict[str, RouteFiles] = {}
    """The files of the folders that are arms of experiments, by folder as written."""
    seen: Look = ()
    """How the folder looked just before it was read."""

    @property
    def version(self) -> str:
        """12 hexadecimal digits over the names and contents of the route files."""
        arms = {f"\0arm {name}": files.version.encode() for name, files in self.arms.items()}
        return _digest({**self.texts, **arms})[:12]

    @property
    def content(self) -> str:
        """SHA-256 over everything that was read."""
        everything = {**self.texts, **({} if self.learned is None else {LEARNED: self.learned})}
        everything |= {f"\0arm {name}": files.content.encode() for name, files in self.arms.items()}
        return _digest({**everything, "\0problems": repr(self.problems).encode()})

    def look_again(self) -> Look:
        """Return how the files look now, as `seen` says how they looked."""
        folders = (self, *self.arms.values())
        return tuple(each for files in folders for each in look(Path(files.folder)))


def look(folder: Path) -> Look:
    """Return names, sizes and times of a folder's files, without reading them."""
    try:
        found = sorted(path for path in folder.iterdir() if _is_route_file(path) or path.name == LEARNED)
    except OSError:
        return ()
    return tuple(_look_at(path) for path in found)


def read_files(folder: Path, pause: Callable[[float], None] = time.sleep) -> RouteFiles:
    """Read a folder, and those that are arms of its experiments. The experiments of these do not count.

    If somebody writes a file meanwhile, all files of its folder are read again, so that they are of one moment. Files
    that keep changing are returned as they were read last. `seen` is then older than the files, so the watcher reads
    the folder once more.
    """
    files = _read_folder(folder, pause)
    arms = {name: _read_folder(folder / name, pause) for name in arm_folders(files.texts)}
    return replace(files, arms=arms, seen=files.seen + tuple(each for arm in arms.values() for each in arm.seen))


def _read_folder(folder: Path, pause: Callable[[float], None]) -> RouteFiles:
    for again in range(TRIES):
        if again:
            pause(PAUSE_S)
        seen = look(folder)
        texts, problems = _read_all(folder)
        learned = _read_learned(folder)
        if look(folder) == seen:
            break
    return RouteFiles(folder=str(folder), texts=texts, learned=learned, problems=tuple(problems), seen=seen)


def _read_all(folder: Path) -> tuple[dict[str, bytes], list[Problem]]:
    try:
        names = sorted(path.name for path in folder.iterdir() if _is_route_file(path))
    except FileNotFoundError:
        return {}, [_problem(folder, f"no such folder: expected one with *.yaml (`semroute init {folder}` makes it)")]
    except NotADirectoryError:
        return {}, [_problem(folder, "got a file, expected a folder with *.yaml, such as `routes`")]
    except OSError as error:
        return {}, [_problem(folder, f"cannot be read: {error.strerror}")]
    if not names:
        return {}, [_problem(folder, f"no routes: expected at least one *.yaml (`semroute init {folder}` makes some)")]
    texts, problems = {}, []
    for name in names:
        try:
            texts[name] = _read_file(folder / name)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(_problem(folder / name, f"cannot be read: {reason}"))
    return texts, problems


def _read_learned(folder: Path) -> bytes | None:
    """Read the learned file, or return None if there is none. A file that cannot be read counts as broken: it is
    empty.
    """
    path = folder / LEARNED
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return b""


def _is_route_file(path: Path) -> bool:
    return path.suffix in SUFFIXES and not path.name.startswith(".")


def _read_file(path: Path) -> bytes:
    """Read a file. Raises `OSError`, and `ValueError` if it is not a regular file or too large."""
    if path.exists() and not path.is_file():
        raise ValueError("expected a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 1024**2} MiB")
    return data


def _look_at(path: Path) -> tuple[str, int, int, int]:
    try:
        state = path.stat()
    except OSError:
        return (path.name, 0, 0, 0)
    # the change time also shows changes of permissions
    return (path.name, max(state.st_mtime_ns, state.st_ctime_ns), state.st_size, state.st_ino)


def _problem(path: Path, message: str) -> Problem:
    return Problem(file=str(path), line=0, path="$", message=message)


def _digest(parts: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in parts.items():
        for part in (os.fsencode(name), data):
            digest.update(b"%d:" % len(part))
            digest.update(part)
    return digest.hexdigest()
