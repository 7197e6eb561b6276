"""What can still be checked of an entry that has something wrong in it, so that one mistake hides no other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple, get_origin

import msgspec
from msgspec.structs import replace

from semroute.config.error_wording import MAX_NAME_CHARS, Place
from semroute.config.validate import complaints

STAND_IN = "\0"
"""How a text begins that stands for one that cannot be read: no name and no utterance does."""
MAX_ROUNDS = 100


class Salvaged(NamedTuple):
    """An entry without what is wrong in it. It is good for checks, and for nothing else."""

    value: object
    missing: frozenset[Place]
    """What is not in it, by place from the entry on: nothing follows from its absence."""


def salvage(value: object, type_: object, wrong: Iterable[Place]) -> Salvaged | None:
    """What is sound in an entry; None: too little. `wrong`: places that are known to be wrong, from the entry on."""
    missing: set[Place] = set()
    hollow: set[str] = set()
    places = list(wrong)
    for _ in range(MAX_ROUNDS):
        for place in places:
            if place == ():
                added = _fill(value, type_) if isinstance(value, dict) else {}
                if not added or not isinstance(value, dict):
                    return None
                value, hollow = {**value, **added}, hollow | added.keys()
            else:
                missing.add(_meant(place, type_))
                value = _without(value, place)
        places = list(dict.fromkeys(complaint.place for complaint in complaints(value, type_)))
        if not places:
            made = msgspec.convert(value, type_)
            if isinstance(made, msgspec.Struct):
                made = replace(made, **dict.fromkeys(hollow, ()))
            return Salvaged(made, frozenset(missing | {(name,) for name in hollow}))
    return None


def _fill(value: dict[str, object], type_: object) -> dict[str, object]:
    """Stand-ins for lists that must be there and are not; empty: something else is missing."""
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return {}
    lacking = [one for one in msgspec.structs.fields(type_) if one.required and one.encode_name not in value]
    if not all(one.name == one.encode_name and _is_list(one.type) for one in lacking):
        return {}
    return {one.name: [STAND_IN] for one in lacking}


def _is_list(type_: Any) -> bool:
    return get_origin(getattr(type_, "__origin__", type_)) is tuple


def _without(value: object, place: Place) -> object:
    """A copy without what stands at a place. A text of a list keeps its place, for those after it to keep theirs."""
    step, *rest = place
    if isinstance(value, dict) and step in value:
        if rest:
            return {**value, step: _without(value[step], tuple(rest))}
        return {name: item for name, item in value.items() if name != step}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        stand_in = f"{STAND_IN}{step}"
        item = _without(value[step], tuple(rest)) if rest else stand_in
        kept = [] if not rest and value[step] == stand_in else [item]
        return [*value[:step], *kept, *value[step + 1 :]]
    return value


def _meant(place: Place, type_: object) -> Place:
    """The place itself; of an unknown key at the top of an entry, that of the field which its name is closest to."""
    key = place[0]
    if len(place) > 1 or not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return place
    known = [one.encode_name for one in msgspec.structs.fields(type_)]
    if key in known or not isinstance(key, str) or len(key) > MAX_NAME_CHARS:
        return place
    return tuple(difflib.get_close_matches(key, known, n=1)) or place
