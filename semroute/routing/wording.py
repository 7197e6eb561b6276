"""What the words of a prompt give away. Every pattern runs in time linear to the text (RE2)."""

from __future__ import annotations

import re
from functools import lru_cache

from semroute.config.patterns import escape, found

MAX_CHARS = 8000
"""What patterns of our own look at: the head of a text."""
APOSTROPHE = "['\u2019]"
"""As keyboards write it, and as telephones do."""


@lru_cache(maxsize=1024)
def any_of(words: tuple[str, ...]) -> str:
    """A pattern for any of these words or phrases, whole and whatever their case."""
    return f"(?i)(?:{'|'.join(_whole(word) for word in words)})"


def _whole(word: str) -> str:
    """Not inside of a longer word; scripts that put no spaces between words (from U+2E80 on) have no such borders."""
    escaped = APOSTROPHE.join(map(escape, re.split(APOSTROPHE, word)))
    before = r"(?:^|[^\pL\pN_])" if _borders(word[0]) else ""
    after = r"(?:$|[^\pL\pN_])" if _borders(word[-1]) else ""
    return before + escaped + after


def _borders(letter: str) -> bool:
    return letter.isalnum() and ord(letter) < 0x2E80


_CODE = "|".join(
    (
        r"```",
        # Prose begins with some of these words, too ("package arrived damaged"): they need more of a line to tell.
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
    """Whether a text holds program code, or an error message of a program."""
    return found(_CODE, text[:MAX_CHARS])
