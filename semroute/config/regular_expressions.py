"""Regular expressions that people write. RE2 runs them in time linear in the text, for every pattern.

Syntax: https://github.com/google/re2/wiki/Syntax (no look-around, no back references).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Protocol

import re2

MAX_PATTERN_BYTES = 8 << 20
"""Memory that a compiled pattern may take."""


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> object | None:
        """Find the pattern in a text. None: not found."""

    def findall(self, text: str) -> list[str]:
        """Return each match."""

    def sub(self, replacement: str, text: str) -> str:
        """Replace each match."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Pattern:
    """Compile a pattern in RE2's syntax. Raises `ValueError`, which says what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    try:
        made: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else "not valid"
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None
    return made


_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|(?P<flags>\(\?\^?[a-zA-Z]+(?:-[a-zA-Z]+)?[:)])"
    r"|(?P<repeat>\{,\d*\})|(?P<end>\$(?![)|]|\Z))|.",
    re.DOTALL,
)
"""The parts of a pattern: quotations, escapes, classes, flags, and those that RE2 reads in its own way."""


class Misread(NamedTuple):
    """A part that RE2 accepts but reads differently from other engines."""

    message: str
    suggestion: str
    is_error: bool
    """Whether RE2 reads something that nobody can mean."""


def misread(pattern: str) -> Misread | None:
    """Find the first misread part of a pattern. None: there is none.

    An open repeat, `{,20}`, is plain text to RE2. `$` matches only at the very end of the text, not before a final line
    feed.
    """
    by_line = False
    for token in _TOKEN.finditer(pattern):
        if (flags := token["flags"]) is not None:
            by_line = by_line or "m" in flags.partition("-")[0]
        elif (repeat := token["repeat"]) is not None and token.start() > 0:
            message = f"got `{repeat}`, which RE2 reads as literal text, expected `{{0{repeat[1:]}`"
            return Misread(message, f"write `\\{repeat}` if you mean the text", is_error=True)
        elif token["end"] is not None and not by_line:
            message = "got a `$` before the end of the pattern: RE2 matches `$` only at the very end of the text"
            advice = "begin the pattern with `(?m)` to match ends of lines, or write `\\$` for a dollar sign"
            return Misread(message, advice, is_error=False)
    return None


def contains_match(pattern: str, text: str) -> bool:
    """Return whether a text contains a pattern. Lone surrogates, which UTF-8 cannot hold, count as `?`."""
    return compiled(pattern).search(encodable(text)) is not None


def encodable(text: str) -> str:
    """Replace each lone surrogate by `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def escape(text: str) -> str:
    """Return a pattern that matches exactly this text."""
    return str(re2.escape(text))
