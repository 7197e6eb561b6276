"""Reason about conditions: whether one can hold at all, and whether it holds whenever another does.

Both answers are careful: "impossible" and "implies" are said only where the written conditions prove it. A value
of the metadata may be a list: one element may meet one condition, and another element the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import fields, replace

from semroute.config.schema.rules import Compare, When

NUMBERS = tuple(field.name for field in fields(When) if field.type == Compare | None)
"""Conditions on a number."""
COUNTS = frozenset({"input_tokens", "prompt_tokens", "turns", "max_tokens"})
"""Conditions on counts, which are never below 0."""
SETS = ("language", "script", "harness")


class Interval(NamedTuple):
    """The numbers within some bounds. An open end does not belong to it."""

    low: float = -math.inf
    low_open: bool = False
    high: float = math.inf
    high_open: bool = False

    @property
    def empty(self) -> bool:
        """Return whether no number is in it."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def __and__(self, other: Interval) -> Interval:
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low, low_open, high, not high_closed)

    def within(self, other: Interval) -> bool:
        """Return whether all of it lies in the other."""
        return self & other == self


def interval(bounds: Compare) -> Interval:
    """Return the numbers that meet a comparison."""
    ends = (
        Interval() if bounds.gt is None else Interval(low=bounds.gt, low_open=True),
        Interval() if bounds.gte is None else Interval(low=bounds.gte),
        Interval() if bounds.lt is None else Interval(high=bounds.lt, high_open=True),
        Interval() if bounds.lte is None else Interval(high=bounds.lte),
    )
    return ends[0] & ends[1] & ends[2] & ends[3]


class Value(NamedTuple):
    """A value that metadata or a header may have: `true` is not 1."""

    kind: str
    value: object


def impossible(when: When) -> str | None:
    """Return why conditions can never hold together, or None if nothing proves it."""
    parts = list(_conjuncts(when))
    for name, ranges in _ranges(parts).items():
        meeting = _together(name, [*ranges, Interval(low=0)] if name in COUNTS else ranges)
        if any(one.empty for one in meeting):
            return f"no number meets all bounds of `{name}`"
    for name, sets in _values(parts).items():
        if not all(_allowed(name, sets)):
            return f"no value of `{name}` is in all its lists"
    for part in parts:
        if part.any and all(impossible(When(all=(_without_any(when), branch))) for branch in part.any):
            return "no branch of `any` can hold"
        if part.not_ is not None and implies(_without_not(when), part.not_):
            return "`not` excludes all that the other conditions require"
    return None


def implies(when: When, other: When) -> bool:
    """Return whether `other` holds whenever `when` does."""
    mine = list(_conjuncts(when))
    return all(_implies_one(when, mine, part) for part in _conjuncts(other))


def _implies_one(when: When, mine: list[When], part: When) -> bool:
    ranges, values = _ranges(mine), _values(mine)
    return (
        all(
            any(one.within(_meet(wanted)) for one in _together(name, ranges.get(name, [])))
            for name, wanted in _ranges([part]).items()
        )
        and all(
            name in values and any(one <= wanted[0] for one in _allowed(name, values[name]))
            for name, wanted in _values([part]).items()
        )
        and (not part.keywords or any(_same_words(one, part) for one in mine))
        and (part.regex is None or any((one.regex, one.look_at) == (part.regex, part.look_at) for one in mine))
        and (part.system is None or any(one.system == part.system for one in mine))
        and {trait for one in mine for trait in one.has} >= set(part.has)
        and (not part.any or any(one.any == part.any for one in mine) or any(implies(when, b) for b in part.any))
        and (part.not_ is None or any(one.not_ is not None and implies(part.not_, one.not_) for one in mine))
    )


def _same_words(one: When, other: When) -> bool:
    """Return whether the keywords of `other` are found wherever those of `one` are."""
    return bool(one.keywords) and set(one.keywords) <= set(other.keywords) and one.look_at == other.look_at


def _conjuncts(when: When) -> Iterator[When]:
    """Yield the conditions that must all hold, with `all` taken apart."""
    yield replace(when, all=())
    for part in when.all:
        yield from _conjuncts(part)


def _without_not(when: When) -> When:
    return replace(when, not_=None, all=tuple(map(_without_not, when.all)))


def _without_any(when: When) -> When:
    return replace(when, any=(), all=tuple(map(_without_any, when.all)))


def _ranges(parts: Iterable[When]) -> dict[str, list[Interval]]:
    """Return every comparison, by the value that it compares."""
    ranges: dict[str, list[Interval]] = {}
    for part in parts:
        for name in NUMBERS:
            bounds: Compare | None = getattr(part, name)
            if bounds is not None:
                ranges.setdefault(name, []).append(interval(bounds))
        for key, wanted in part.metadata.items():
            if isinstance(wanted, Compare):
                ranges.setdefault(f"metadata.{key}", []).append(interval(wanted))
    return ranges


def _may_be_a_list(name: str) -> bool:
    return name == "retrieval_score" or name.startswith("metadata.")


def _together(name: str, ranges: list[Interval]) -> list[Interval]:
    """Intersect bounds into one interval. Bounds that different values may meet stay apart."""
    return ranges if _may_be_a_list(name) or not ranges else [_meet(ranges)]


def _allowed(name: str, sets: list[frozenset[object]]) -> list[frozenset[object]]:
    """Intersect lists of values, as `_together` does bounds."""
    return sets if _may_be_a_list(name) else [frozenset.intersection(*sets)]


def _meet(ranges: list[Interval]) -> Interval:
    meeting = Interval()
    for one in ranges:
        meeting &= one
    return meeting


def _values(parts: Iterable[When]) -> dict[str, list[frozenset[object]]]:
    """Return every list of allowed values, by the value that must be in it."""
    values: dict[str, list[frozenset[object]]] = {}
    for part in parts:
        for name in SETS:
            if allowed := getattr(part, name):
                values.setdefault(name, []).append(frozenset(allowed))
        for where, entries in (("metadata", part.metadata), ("headers", part.headers)):
            for key, wanted in entries.items():
                if not isinstance(wanted, Compare):
                    alternatives = wanted if isinstance(wanted, tuple) else (wanted,)
                    allowed = frozenset(Value(_kind(one), one) for one in alternatives)
                    values.setdefault(f"{where}.{key.lower() if where == 'headers' else key}", []).append(allowed)
    return values


def _kind(value: object) -> str:
    """Return the kind of a value. Only values of one kind can be equal: `1` and `1.0`, but not `1` and `true`."""
    return "bool" if isinstance(value, bool) else "str" if isinstance(value, str) else "number"
