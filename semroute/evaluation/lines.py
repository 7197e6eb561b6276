"""JSON Lines, as every file of labelled prompts and every log is read."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from semroute.errors import RequestError

T = TypeVar("T")


def numbered_lines(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a file that are not blank, numbered from 1. Raises `RequestError` where there are none."""
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    filled = [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    if not filled:
        raise RequestError(f"{path}: holds no rows")
    return filled


def read_lines(path: Path, type_: type[T], expected: str) -> Iterator[tuple[int, T]]:
    """Each line as a value, with its number. Raises `RequestError` with the line at fault, and what was `expected`."""
    for number, line in numbered_lines(path):
        try:
            yield number, msgspec.json.decode(line, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RequestError(f"{path}:{number}: {error}; expected {expected}") from None
