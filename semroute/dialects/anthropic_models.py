"""What the generations of Claude take, by their names.

Sources: https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

import re

from semroute.types import Effort, Frozen


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model takes."""

    adaptive: bool = True
    """It is told an effort; otherwise how many tokens it may think."""
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
    must_think: bool = False
    """Its thinking cannot be turned off."""
    sampling: bool = False
    """It takes `temperature`, `top_p` and `top_k`."""
    schemas: bool = True
    """It takes a JSON Schema for its answer."""


_OLDER = Traits(adaptive=False, efforts=(), sampling=True)
_TRAITS: tuple[tuple[re.Pattern[str], Traits], ...] = (
    (re.compile(r"fable|mythos"), Traits(must_think=True)),
    (re.compile(r"claude-(opus|sonnet|haiku)-4-6"), Traits(efforts=("low", "medium", "high", "max"), sampling=True)),
    (re.compile(r"claude-(opus|sonnet|haiku)-(4-[7-9]|[5-9])"), Traits()),
    (re.compile(r"claude-(opus|sonnet|haiku)-4-[15]"), _OLDER),
)
"""The first that the name matches."""


def traits_of(name: str) -> Traits:
    """The traits of a model by its name; those of the oldest generation for a name unknown here."""
    found = (traits for pattern, traits in _TRAITS if pattern.search(name))
    return next(found, Traits(adaptive=False, efforts=(), sampling=True, schemas=False))
