"""Keep the sound parts of a wrong entry, so that one mistake hides no other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple, get_origin

import msgspec
from msgspec.structs import replace

from semroute.config.error_wording import MAX_NAME_CHARS, Place
from semroute.config.validate import complaints

STAND_IN = "\0"
"""The first character of a text that replaces an unreadable one. No real name or utterance begins with it."""
MAX_ROUNDS = 100


class Salvaged(NamedTuple):
    """An entry without its wrong parts. Use it for checks only."""

    value: object
    missing: frozenset[Place]
    """The places, within the entry, of the parts that were left out. Do not conclude anything from their absence."""


def salvage(value: object, type_: object, wrong: Iterable[Place]) -> Salvaged | None:
    """Return the sound parts of an entry, or None if too little is sound. `wrong`: the known wrong places within the
    entry.
    """
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
    """Return stand-ins for required lists that are missing. Empty: something else is missing, too."""
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return {}
    lacking = [one for one in msgspec.structs.fields(type_) if one.required and one.encode_name not in value]
    if not all(one.name == one.encode_name and _is_list(one.type) for one in lacking):
        return {}
    return {one.name: [STAND_IN] for one in lacking}


def _is_list(type_: Any) -> bool:
    return get_origin(getattr(type_, "__origin__", type_)) is tuple


def _without(value: object, place: Place) -> object:
    """Return a copy without the value at a place. In a list of texts a stand-in is left, so that later indexes stay the
    same.
    """
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
    """Return the place itself. For an unknown key at the top of an entry, return the place of the field with the
    closest name.
    """
    key = place[0]
    if len(place) > 1 or not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return place
    known = [one.encode_name for one in msgspec.structs.fields(type_)]
    if key in known or not isinstance(key, str) or len(key) > MAX_NAME_CHARS:
        return place
    return tuple(difflib.get_close_matches(key, known, n=1)) or place
