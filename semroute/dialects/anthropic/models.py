"""What the generations of Claude accept, by name, whoever serves them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from semroute.bases import Frozen
from semroute.dialects.shared import model_abilities
from semroute.dialects.shared.model_abilities import Line
from semroute.messages import Effort


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model accepts."""

    adaptive: bool = True
    """It takes an effort. False: it takes a number of thinking tokens instead."""
    budgets: bool = False
    """It takes a budget of thinking tokens."""
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
    off: Literal["disabled", "between_tools", ""] = "disabled"
    """The setting that turns thinking off. Empty: there is none."""
    off_up_to: Effort | None = None
    """The highest effort at which thinking can be turned off. None: at any effort."""
    sampling: bool = False
    """It takes `temperature`, `top_p` and `top_k`."""
    schemas: bool = True
    """It takes a JSON Schema for its answer."""
    forced: bool = True
    """It can be forced to call a tool, as long as it does not think."""
    prefill: bool = False
    """It continues a last turn of the assistant."""
    reads: tuple[str, ...] | None = None
    """The families whose thinking blocks it reads, beside its own. None: all families that do not have `keeps`."""
    keeps: bool = False
    """Only models with its family in `reads` can read its thinking blocks."""


_OLDER = Traits(adaptive=False, budgets=True, efforts=(), sampling=True, prefill=True)
_OLDEST = Traits(adaptive=False, budgets=True, efforts=(), sampling=True, schemas=False, prefill=True)
_MODELS = "https://platform.claude.com/docs/en/models/"
_BUILD = "https://platform.claude.com/docs/en/build-with-claude/"

LINES: tuple[Line[Traits], ...] = (
    Line(
        r"claude-opus-5-5",
        Traits(off="", forced=False, reads=(), keeps=True),
        _MODELS + "opus-5-5/whats-new-opus-5-5",
        "2026-11-30",
    ),
    Line(
        r"claude-sonnet-5-5",
        Traits(off="between_tools", forced=False, reads=(), keeps=True),
        _MODELS + "sonnet-5-5/whats-new-sonnet-5-5",
        "2026-11-30",
    ),
    Line(
        r"claude-haiku-5-5",
        Traits(off_up_to="high", reads=(), keeps=True),
        _MODELS + "haiku-5-5/whats-new-haiku-5-5",
        "2026-11-30",
    ),
    Line(
        r"(fable|mythos)-5-[1-9]",
        Traits(off="", forced=False, reads=("opus-5", "opus-5-5"), keeps=True),
        _BUILD + "preserved-thinking",
        "2026-11-30",
    ),
    Line(r"fable|mythos", Traits(off=""), _BUILD + "thinking", "2026-11-30"),
    Line(
        r"claude-opus-5",
        Traits(off_up_to="high"),
        "https://platform.claude.com/docs/en/about-claude/models/whats-new-opus-5",
        "2026-11-30",
    ),
    Line(
        r"claude-opus-4-6",
        Traits(efforts=("low", "medium", "high", "max"), budgets=True, sampling=True),
        _BUILD + "adaptive-thinking",
        "2026-11-30",
    ),
    Line(
        r"claude-(sonnet|haiku)-4-6",
        Traits(efforts=("low", "medium", "high", "max"), budgets=True, sampling=True, prefill=True),
        _BUILD + "adaptive-thinking",
        "2026-11-30",
    ),
    Line(r"claude-(opus|sonnet|haiku)-(4-[7-9]|[5-9])", Traits(), _BUILD + "adaptive-thinking", "2026-11-30"),
    Line(r"claude-(opus|sonnet|haiku)-4-[15]", _OLDER, _BUILD + "structured-outputs", "2026-11-30"),
)
"""The first line that matches a name counts."""
_FAMILY = re.compile(r"(?:opus|sonnet|haiku|fable|mythos)-\d{1,2}(?!\d)(?:-\d(?!\d))?")


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """Return the traits of a model by its name. An unknown name gets those of the oldest generation."""
    return model_abilities.first_match(LINES, name, _OLDEST)


def family_of(name: str) -> str:
    """Return the family in a model's name on any platform, such as `opus-5-5`. Empty: the name holds none."""
    found = _FAMILY.search(name)
    return found[0] if found else ""


def reads_thoughts(name: str, maker: str) -> bool:
    """Whether a model reads thinking blocks of a family. `maker` is that family. Empty: it is not known."""
    own = family_of(name)
    if not maker or not own or maker == own:
        return True
    reads = traits_of(name).reads
    if reads is not None:
        return maker in reads
    return not traits_of(f"claude-{maker}").keeps
