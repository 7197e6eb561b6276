"""Say why bytes are not the expected JSON, in words that do not depend on a library's release."""

from __future__ import annotations

import re

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for such bytes. Which one it raises for a mistake depends on its release."""

_AT_BYTE = re.compile(r"\bbyte (\d+)\b")
"""Finds the byte at which msgspec says that JSON is malformed. Without it our message only lacks the place."""


def why_unreadable(error: Exception, data: bytes | str) -> str:
    """Say what is wrong with `data`, in words that follow "got".

    `error` is one of `UNREADABLE`, which msgspec raised for `data`. Its own words are used only if the JSON is sound
    but has another shape.
    """
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply"
    if (start := _not_utf8(data)) is not None:
        return f"text that is not UTF-8 at byte {start}"
    if isinstance(error, msgspec.ValidationError):
        return f"JSON of another shape: {error}"
    place = _AT_BYTE.search(str(error))
    return f"text that is not JSON at byte {place[1]}" if place else "no complete JSON"


def _not_utf8(data: bytes | str) -> int | None:
    """Return the place of the first byte that is not UTF-8, or None if all bytes are."""
    try:
        data.encode() if isinstance(data, str) else data.decode()
    except UnicodeError as error:
        return error.start if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else 0
    return None
