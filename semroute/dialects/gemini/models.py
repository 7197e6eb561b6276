"""What the generations of Gemini take, by their names, and a body as the model that was chosen takes it."""

from __future__ import annotations

from functools import lru_cache

from semroute.bases import Frozen
from semroute.dialects.shared import model_abilities
from semroute.dialects.shared.model_abilities import Line
from semroute.messages import Effort


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model takes."""

    levels: tuple[Effort, ...] = ("low", "medium", "high")
    """How much it can be told to think; empty: it is told how many tokens."""
    sampling: bool = False
    """It takes `temperature`, `topP` and `topK`."""
    prefill: bool = False
    """It goes on with a last turn that is the model's."""
    signs_calls: bool = True
    """It refuses a call of a tool without its thought signature."""


_DOCS = "https://ai.google.dev/gemini-api/docs/"
LINES: tuple[Line[Traits], ...] = (
    Line(
        r"gemini-(1|2)[.-]",
        Traits(levels=(), sampling=True, prefill=True, signs_calls=False),
        _DOCS + "generate-content/thinking",
        "2026-11-30",
    ),
    # Minimal thinking is refused from 3.7 on, sampling is deprecated since 2026-07-21, and a final turn of the model is
    # refused by 3.6 and later; all of 3 take what is sent here.
    Line(r"gemini-([3-9]|\d\d)", Traits(), _DOCS + "generate-content/whats-new-gemini-3.6", "2026-11-30"),
)
"""The first line that fits a name counts."""
_UNKNOWN = Traits(sampling=True, prefill=True, signs_calls=False)


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """The traits of a model by its name; one that stands in no line is told a level, and taken to refuse nothing."""
    return model_abilities.of(LINES, name, _UNKNOWN)
