"""Find code between fences of backticks, and check its brackets. Takes time in proportion to the text. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

FENCE = "```"
THINK, END_OF_THINK = "<think>", "</think>"
MAX_LANGUAGE_CHARS = 64
_LANGUAGE = re.compile(r"[\w+#.-]*")
_MARK = re.compile(r"[\"'/()\[\]{}]")
_LETTER = re.compile(r"'(?:\\.|[^'\\\n])'", re.DOTALL)
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*+\"", re.DOTALL)
_PAIRS = {")": "(", "]": "[", "}": "{"}


class CodeBlock(NamedTuple):
    """The text between two fences."""

    language: str
    """In lower case. Empty: none is given."""
    code: str


def blocks(text: str) -> list[CodeBlock]:
    """Return the fenced code in a text, in order. A fence that is not closed reaches to the end of the text.

    Fences within one line do not count.
    """
    found = []
    for piece in text.split(FENCE)[1::2]:
        head, line_end, code = piece.partition("\n")
        if line_end:
            language = _LANGUAGE.match(head[:MAX_LANGUAGE_CHARS].lstrip(" \t"))
            found.append(CodeBlock(language[0].lower() if language else "", code))
    return found


def unfenced(text: str) -> str:
    """Return the text inside the only code fence. Return the text itself if it begins with none, or has several."""
    fenced = blocks(text) if text.lstrip().startswith(FENCE) else []
    return fenced[0].code if len(fenced) == 1 else text.strip()


def without_thoughts(text: str) -> str:
    """Return a text without the thoughts before it. Local models write them between `<think>` and `</think>`."""
    if not text.lstrip().startswith(THINK):
        return text
    _, closed, said = text.partition(END_OF_THINK)
    return said if closed else text


def unbalanced(code: str) -> str | None:
    """Say which bracket has no partner. None: all have one. Brackets in strings and comments do not count."""
    opened: list[str] = []
    place, plain_until, open_comment = 0, 0, False
    while (mark := _MARK.search(code, place)) is not None:
        place, letter = mark.end(), mark[0]
        if letter == '"' and place > plain_until:
            if (string := _STRING.match(code, place - 1)) is not None:
                place = string.end()
            else:  # no later quote on this line begins a string: trying each of them would take quadratic time
                plain_until = _line_end(code, place)
        elif letter == "'":
            place = character.end() if (character := _LETTER.match(code, place - 1)) is not None else place
        elif letter == "/" and code.startswith("/", place):
            place = _line_end(code, place)
        elif letter == "/" and code.startswith("*", place) and not open_comment:
            end = code.find("*/", place + 1)
            open_comment = end < 0
            place = place if open_comment else end + 2
        elif letter in "([{":
            opened.append(letter)
        elif letter in _PAIRS and (not opened or opened.pop() != _PAIRS[letter]):
            return f"{letter!r} closes nothing"
    return f"{opened[-1]!r} is not closed" if opened else None


def _line_end(code: str, place: int) -> int:
    end = code.find("\n", place)
    return len(code) if end < 0 else end
