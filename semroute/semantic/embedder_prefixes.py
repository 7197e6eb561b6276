"""Prefixes for models that were trained with them. fastembed adds none itself.

Utterances are prompts too, so both get the same prefix, as each model's card says for texts of one kind. Models that
want a prefix only for questions that are compared with documents, such as BGE, get none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_PREFIXES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"/(multilingual-)?e5-"), "query: ", "https://huggingface.co/intfloat/multilingual-e5-large"),
    (re.compile(r"^nomic-ai/"), "classification: ", "https://huggingface.co/nomic-ai/nomic-embed-text-v1.5"),
    (
        re.compile(r"/embeddinggemma"),
        "task: classification | query: ",
        "https://huggingface.co/google/embeddinggemma-300m",
    ),
    (
        re.compile(r"^Qwen/Qwen3-Embedding"),
        "Instruct: Classify the intent of the request\nQuery:",
        "https://huggingface.co/Qwen/Qwen3-Embedding-0.6B",
    ),
)
"""Prefixes by a part of the model's name, each with the page that says so."""


class Prefixes(NamedTuple):
    """What texts begin with. Empty: no prefix."""

    query: str
    """Prompts."""
    passage: str
    """Utterances."""

    def tokens(self, count: Callable[[str], int]) -> int:
        """Return the tokens of the longer prefix. `count`: counts the tokens of a text, without special ones."""
        return max(map(count, self))


def prefixes_of(model: str, query: str | None, passage: str | None) -> Prefixes:
    """Return the given prefixes, or else those of the model's family."""
    family = next((prefix for name, prefix, _ in _PREFIXES if name.search(model)), "")
    query = family if query is None else query
    return Prefixes(query, query if passage is None else passage)
