"""Read JSON Lines: files of labelled prompts, and logs."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from semroute.config.error_wording import render
from semroute.config.validate import complaints
from semroute.errors import RequestError
from semroute.json_errors import UNREADABLE, why_unreadable

T = TypeVar("T")


def numbered_lines(path: Path) -> list[tuple[int, bytes]]:
    """Return the lines of a file that are not blank, numbered from 1. Raises `RequestError` if there are none."""
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    filled = [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    if not filled:
        raise RequestError(f"{path}: holds no rows")
    return filled


def read_lines(path: Path, type_: type[T], expected: str) -> Iterator[tuple[int, T]]:
    """Read each line as a value, with its number.

    Raises `RequestError`, which names the line at fault and what was `expected`.
    """
    for number, line in numbered_lines(path):
        try:
            yield number, msgspec.json.decode(line, type=type_)
        except UNREADABLE as error:
            raise RequestError(f"{path}:{number}: {why_not(error, line, type_)}; expected {expected}") from None


def why_not(error: Exception, line: bytes, type_: object) -> str:
    """Say the first thing that is wrong with a line that raised one of `UNREADABLE`."""
    if isinstance(error, msgspec.ValidationError):
        try:
            value = msgspec.json.decode(line)
            if is_logged(value) and "decision" not in getattr(type_, "__struct_fields__", ()):
                return "got a logged decision, which `semroute tune` and `semroute replay` read"
            return first_complaint(value, type_) or f"got {why_unreadable(error, line)}"
        except UNREADABLE as worse:
            error = worse
    return f"got {why_unreadable(error, line)}"


def is_logged(value: object) -> bool:
    """Return whether a line is a logged decision, as `semroute export` writes it."""
    return isinstance(value, dict) and "id" in value and isinstance(value.get("decision"), dict)


def first_complaint(value: object, type_: object) -> str:
    """Say the first thing that is wrong with a value, and where. Empty: the value has the type."""
    return next((f"{render(place)}: {message}" for place, message in complaints(value, type_)), "")
