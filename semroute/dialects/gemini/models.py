"""What the generations of Gemini accept, by name."""

from __future__ import annotations

from functools import lru_cache

from semroute.bases import Frozen
from semroute.dialects.shared import model_abilities
from semroute.dialects.shared.model_abilities import Line
from semroute.messages import Effort


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model accepts."""

    levels: tuple[Effort, ...] = ("low", "medium", "high")
    """The thinking levels that it knows. Empty: it takes a number of tokens instead."""
    sampling: bool = False
    """It takes `temperature`, `topP` and `topK`."""
    prefill: bool = False
    """It continues a last turn of the model."""
    signs_calls: bool = True
    """It refuses tool calls without a thought signature."""


_DOCS = "https://ai.google.dev/gemini-api/docs/"
LINES: tuple[Line[Traits], ...] = (
    Line(
        r"gemini-(1|2)[.-]",
        Traits(levels=(), sampling=True, prefill=True, signs_calls=False),
        _DOCS + "generate-content/thinking",
        "2026-11-30",
    ),
    # 3.7 and later refuse minimal thinking, and 3.6 and later refuse a last turn of the model. Sampling is deprecated
    # since 2026-07-21. All models of generation 3 accept what these traits allow.
    Line(r"gemini-([3-9]|\d\d)", Traits(), _DOCS + "generate-content/whats-new-gemini-3.6", "2026-11-30"),
)
"""The first line that matches a name counts."""
_UNKNOWN = Traits(sampling=True, prefill=True, signs_calls=False)


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """Return the traits of a model by its name. An unknown model gets levels, and refuses nothing."""
    return model_abilities.first_match(LINES, name, _UNKNOWN)
