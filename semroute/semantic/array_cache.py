"""Arrays on disk, so that a restart with unchanged routes trains nothing.

An entry is a file of its own: a line that names format and key, the SHA-256 of the rest, and a NumPy archive without
pickles. An entry that is damaged, cut off or under a wrong name is not used. If the folder cannot be written,
nothing is kept. Neither is an error.

The caches of joblib and diskcache keep pickles, which can run code when they are read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

MAGIC = "semroute-cache 1"
SUFFIX = ".cache"
LINE = 128
"""The most bytes of the first line, and of the second."""
UNKNOWN = b"?" * 64 + b"\n"
"""Stands where the digest will be, until the rest is written."""
KEPT = 16
"""Entries that stay in the folder. Of more, those that were unused longest are deleted."""

logger = logging.getLogger(__name__)


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$SEMROUTE_CACHE_DIR`, else the platform's folder for caches of the user."""
    if environ.get("SEMROUTE_CACHE_DIR"):
        return Path(environ["SEMROUTE_CACHE_DIR"])
    if sys.platform == "darwin":
        return Path("~/Library/Caches/semroute").expanduser()
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "semroute" / "Cache"
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "semroute"


class Cache:
    """Entries in a folder, by key. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> Arrays | None:
        """Read the arrays of an entry. None: there is none that can be trusted. `key`: hexadecimal."""
        path = self._path(key)
        try:
            os.utime(path)
            with path.open("rb") as file:
                return self._checked(file, key, path)
        except OSError:
            return None

    def _checked(self, file: BufferedReader, key: str, path: Path) -> Arrays | None:
        """Read the arrays of an open entry. The file is never in memory as a whole."""
        header, stated = file.readline(LINE), file.readline(LINE)
        start = file.tell()
        if header != _header(key) or stated != _digest_line(file):
            logger.warning("%s: the cached arrays are damaged or belong to another entry: they are built again", path)
            return None
        file.seek(start)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s: the cached arrays cannot be read (%s), so they are built again", path, error)
            return None

    def write(self, key: str, arrays: Arrays) -> None:
        """Store an entry whole or not at all."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", suffix=SUFFIX, delete=False) as file:
                try:
                    file.write(_header(key) + UNKNOWN)
                    np.savez(file, allow_pickle=False, **arrays)
                    file.close()
                    with Path(file.name).open("r+b") as whole:
                        whole.seek(len(_header(key) + UNKNOWN))
                        stated = _digest_line(whole)
                        whole.seek(len(_header(key)))
                        whole.write(stated)
                    Path(file.name).replace(self._path(key))
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self._forget_unused()
        except OSError as error:
            logger.warning(
                "%s: the trained head cannot be kept, so the next start trains again: %s",
                self._folder,
                error,
            )

    def _forget_unused(self) -> None:
        entries = [(path.stat().st_mtime, path) for path in self._folder.glob(f"*{SUFFIX}")]
        for _, path in sorted(entries, reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"


def _header(key: str) -> bytes:
    return f"{MAGIC} {key}\n".encode("ascii")


def _digest_line(file: BufferedReader | BufferedRandom) -> bytes:
    """Return the SHA-256 of the rest of a file, as it stands in an entry."""
    return hashlib.file_digest(file, "sha256").hexdigest().encode("ascii") + b"\n"
