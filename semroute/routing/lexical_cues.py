"""Patterns for the words of a prompt. Each runs in time linear to the text (RE2)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from semroute.config.regular_expressions import contains_match, escape

MAX_CHARS = 8000
"""Characters at the head of a text that semroute's own patterns read."""
APOSTROPHE = "['\u2019]"
"""The apostrophe of keyboards, and that of telephones."""


_UNSPACED = "".join(
    rf"\p{{{script}}}"
    for script in (
        *("Han", "Hiragana", "Katakana", "Bopomofo", "Hangul", "Yi"),
        *("Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Javanese", "Balinese", "Tai_Tham", "Tai_Le", "New_Tai_Lue"),
    )
)
"""Scripts without spaces between words, and Hangul, which has none before particles."""
_UNSPACED += "\u3005\u3006\u30fc"  # marks of repetition and length, which several scripts share
_EDGE = rf"[^\pL\pM\pN_]|[{_UNSPACED}]"
"""A character that may stand beside a word. Marks (vowel signs, accents) belong to the letter before them."""
_SPACE = r"[\s\v\pZ\x{85}]+"
"""White space of any kind."""


@lru_cache(maxsize=1024)
def any_of(words: tuple[str, ...]) -> str:
    """Return a pattern for any of these words or phrases, whole and in any case. For texts that are `composed`."""
    return f"(?i)(?:{'|'.join(_whole(composed(word)) for word in words)})"


def composed(text: str) -> str:
    """Join each accent with its letter in one character, if Unicode has it (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _whole(word: str) -> str:
    """Return a pattern for a whole word. In scripts without spaces, it may be inside a longer one."""
    pieces = word.split()
    if not pieces:
        return escape(word)
    pattern = _SPACE.join(APOSTROPHE.join(map(escape, re.split(APOSTROPHE, piece))) for piece in pieces)
    first, last = pieces[0][0], pieces[-1][-1]
    before = rf"(?:^|{_EDGE})" if _borders(first) else ""
    if _borders(last):
        return rf"{before}{pattern}(?:$|{_EDGE})"
    return before + pattern + (r"(?:$|\PM)" if _unspaced(last) else "")


def _borders(letter: str) -> bool:
    """Return whether a word that begins or ends with this character has a border there."""
    return (letter.isalnum() or unicodedata.category(letter).startswith("M")) and not _unspaced(letter)


def _unspaced(letter: str) -> bool:
    return not letter.isascii() and contains_match(f"[{_UNSPACED}]", letter)


_CODE = "|".join(
    (
        r"```",
        # Prose begins with some of these words, too ("package arrived damaged"), so more of the line must look like
        # code.
        r"(?m:^\s*(?:def|func|fn|impl|#include)\s+[\w.<\"]+)",
        r"(?m:^\s*(?:class|interface|struct|enum)\s+\w+(?:\(|\s*[{<]|:\s*$|\s+(?:extends|implements)\s))",
        r"(?m:^\s*from\s+[\w.]+\s+import\s)",
        r"(?m:^\s*import\s+(?:[\w.*]+;|\w+\.\w|\w+\s+as\s|\w+\s*\n|[{*\"']))",
        r"(?m:^\s*package\s+(?:main\b|[\w.]+;))",
        r"(?m:^\s*(?:public|private|protected|static)\s+[\w<>\[\], ]+(?:\w\(|\s=\s|;\s*$|\{))",
        r"(?:\b(?:const|let|var)\s+\w+\s*=)",
        r"(?:=>|\bself\.\w|\bconsole\.log|\bprintln!?\(|\bprintf?\(|\breturn\s+[\w(]+;)",
        r"\bSELECT\s+[\w*,.\s]+\s+FROM\s+\w|\bselect\s+\*\s+from\s",
        r"(?:[{;]\s*\n)",
        r"(?:</?(?:div|html|span|body|script|table|p|a)\b)",
        r"(?:\b[A-Z]\w*(?:Error|Exception)\b:?)",
        r"(?:\w+\(\w*\)\s*[{:;])",
    )
)


def looks_like_code(text: str) -> bool:
    """Return whether a text holds program code, or an error message of a program."""
    return contains_match(_CODE, text[:MAX_CHARS])
