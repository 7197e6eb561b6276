"""Regular expressions that people write, run by RE2: its time is linear in the text, whatever the pattern.

Syntax: https://github.com/google/re2/wiki/Syntax (no look-around, no back references).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Protocol

import re2

MAX_PATTERN_BYTES = 8 << 20
"""What a compiled pattern may take."""


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> object | None:
        """Anything but None: it is found."""

    def findall(self, text: str) -> list[str]:
        """Each place where it is found."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Pattern:
    """A pattern in RE2's syntax, without backtracking. Raises `ValueError` that says what is wrong with it."""
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
"""What a pattern is made of: quotations, escapes, classes, flags, and what RE2 reads in its own way."""


class Misread(NamedTuple):
    """What RE2 takes without a word, and other engines read otherwise."""

    message: str
    suggestion: str
    is_error: bool
    """Nobody means it so."""


def misread(pattern: str) -> Misread | None:
    """The first such thing in a pattern; None: there is none.

    An open repeat, `{,20}`, is plain text to RE2. `$` is the very end of the text, also before a line feed.
    """
    by_line = False
    for token in _TOKEN.finditer(pattern):
        if (flags := token["flags"]) is not None:
            by_line = by_line or "m" in flags.partition("-")[0]
        elif (repeat := token["repeat"]) is not None and token.start() > 0:
            message = f"got `{repeat}`, which RE2 takes for this very text, expected `{{0{repeat[1:]}`"
            return Misread(message, f"write `\\{repeat}` where the text is meant", is_error=True)
        elif token["end"] is not None and not by_line:
            message = "got a `$` with more behind it: RE2 finds `$` at the very end of the text only"
            return Misread(message, "write `(?m)` in front for the ends of lines, `\\$` for a dollar", is_error=False)
    return None


def found(pattern: str, text: str) -> bool:
    """Whether a pattern is anywhere in a text. Lone surrogates, which have no UTF-8, count as `?`."""
    return compiled(pattern).search(encodable(text)) is not None


def encodable(text: str) -> str:
    """The text with `?` for each lone surrogate."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def escape(text: str) -> str:
    """A pattern for this very text."""
    return str(re2.escape(text))
