"""What single models take, as tables by their names: one table a vendor, with where each line was read and when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar, get_args

from semroute.bases import Frozen
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import Effort

EFFORTS: tuple[Effort, ...] = get_args(Effort)
_EFFORTS: dict[str, Effort] = {effort: effort for effort in EFFORTS}
"""The least first."""

Abilities = TypeVar("Abilities")


class Line(Frozen, Generic[Abilities], frozen=True):
    """What the models of a name take."""

    pattern: str
    """A regular expression that the name holds somewhere."""
    abilities: Abilities
    source: str
    """Documentation, or a report with the provider's own words."""
    seen: str
    """The day on which it was read, as YYYY-MM-DD."""


def of(lines: Iterable[Line[Abilities]], name: str, unknown: Abilities) -> Abilities:
    """The abilities in the first line that fits; `unknown` where none does."""
    return next((line.abilities for line in lines if re.search(line.pattern, name)), unknown)


def nearest(effort: Effort, allowed: Iterable[Effort]) -> Effort:
    """The next lower effort of those that are allowed, else the lowest of them. None allowed: the same effort."""
    known = [each for each in EFFORTS if each in set(allowed)]
    lower = [each for each in known if EFFORTS.index(each) <= EFFORTS.index(effort)]
    return lower[-1] if lower else (known or [effort])[0]


def parse_effort(value: object) -> Effort | None:
    """A reasoning effort; None for one that is not known here."""
    return _EFFORTS.get(value) if isinstance(value, str) else None


def fitting_effort(effort: Effort, allowed: Iterable[Effort], dropped: Dropped) -> Effort:
    """The nearest effort of those that are allowed. Another one than was asked for is noted."""
    found = nearest(effort, allowed)
    if found != effort:
        dropped.add(f"reasoning effort {effort}: sent as {found}")
    return found
