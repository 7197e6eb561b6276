"""Tables of what single models accept, by name. Each vendor has one, and each line has a source and a date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar, get_args

from semroute.bases import Frozen
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import Effort

EFFORTS: tuple[Effort, ...] = get_args(Effort)
_EFFORTS: dict[str, Effort] = {effort: effort for effort in EFFORTS}
"""The reasoning efforts, lowest first."""

Abilities = TypeVar("Abilities")


class Line(Frozen, Generic[Abilities], frozen=True):
    """A line of a table: what models with this name accept."""

    pattern: str
    """A regular expression that is searched for in the name."""
    abilities: Abilities
    source: str
    """A page of the documentation, or a report that quotes the provider."""
    seen: str
    """The day on which the source was read, as YYYY-MM-DD."""


def first_match(lines: Iterable[Line[Abilities]], name: str, unknown: Abilities) -> Abilities:
    """Return what the first matching line says, or `unknown` if no line matches."""
    return next((line.abilities for line in lines if re.search(line.pattern, name)), unknown)


def nearest(effort: Effort, allowed: Iterable[Effort]) -> Effort:
    """Return the highest allowed effort up to this one, else the lowest. If none is allowed, return this one."""
    known = [each for each in EFFORTS if each in set(allowed)]
    lower = [each for each in known if EFFORTS.index(each) <= EFFORTS.index(effort)]
    return lower[-1] if lower else (known or [effort])[0]


def parse_effort(value: object) -> Effort | None:
    """Read a reasoning effort. None: this effort is not known."""
    return _EFFORTS.get(value) if isinstance(value, str) else None


def fitting_effort(effort: Effort, allowed: Iterable[Effort], dropped: Dropped) -> Effort:
    """Return the nearest allowed effort, and note it if it is not the one asked for."""
    found = nearest(effort, allowed)
    if found != effort:
        dropped.add(f"reasoning_effort {effort}: sent as {found}")
    return found
