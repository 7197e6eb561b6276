"""Regular expressions that people write, run by RE2: its time is linear in the text, whatever the pattern.

Syntax: https://github.com/google/re2/wiki/Syntax (no look-around, no back references).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import re2

MAX_PATTERN_BYTES = 8 << 20
"""What a compiled pattern may take."""


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> object | None:
        """Anything but null: it is found."""

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


def found(pattern: str, text: str) -> bool:
    """Whether a pattern is anywhere in a text. Lone surrogates, which have no UTF-8, count as `?`."""
    return compiled(pattern).search(encodable(text)) is not None


def encodable(text: str) -> str:
    """The text with `?` for each lone surrogate."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def escape(text: str) -> str:
    """A pattern for this very text."""
    return str(re2.escape(text))
