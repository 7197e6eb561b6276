"""Why bytes are not the JSON that was expected, in our own words: a library's words change with its releases."""

from __future__ import annotations

import re

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for such bytes. Which of these it raises for which mistake depends on its release."""

_AT_BYTE = re.compile(r"\bbyte (\d+)\b")
"""Where msgspec says at which byte JSON is malformed. A message without it lacks the place, no more."""


def why_unreadable(error: Exception, data: bytes | str) -> str:
    """What `data` is, which made msgspec raise one of `UNREADABLE`: words that follow "got".

    The library's own words follow only where the JSON has another shape than was asked for.
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
    """The place of the first byte that is not UTF-8; None: all of it is."""
    try:
        data.encode() if isinstance(data, str) else data.decode()
    except UnicodeError as error:
        return error.start if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else 0
    return None
