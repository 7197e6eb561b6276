"""Check a plain value against a type and find every mistake. `msgspec.convert` stops at the first."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from semroute.config.error_wording import MAX_NAME_CHARS, Place, did_you_mean, got, kind, listed, quote


class Complaint(NamedTuple):
    """One thing wrong with a value."""

    place: Place
    message: str


def complaints(value: object, type_: object, place: Place = ()) -> list[Complaint]:
    """Yield every mistake for which `msgspec.convert(value, type_)` fails. Empty: it works."""
    refusal = _refusal(value, type_)
    if refusal is None:
        return []
    meant = _meant(value, type_)
    inside = list(_inside(value, meant, place))
    if inside:
        return inside
    if isinstance(value, dict) and _holds(value, meant):  # a check of the whole struct failed
        return [Complaint(place, refusal)]
    return [Complaint(place, _mismatch(value, type_, place))]


def _refusal(value: object, type_: object) -> str | None:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _meant(value: object, type_: object) -> object:
    """Return a type without its constraints. Of a union, return the member that fits the kind of the value."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    if get_origin(type_) not in (Union, types.UnionType):
        return type_
    members = [_meant(value, member) for member in get_args(type_)]
    fitting = [member for member in members if _holds(value, member)]
    return fitting[0] if len(fitting) == 1 else type_


def _holds(value: object, type_: object) -> bool:
    if isinstance(value, dict):
        return _is_struct(type_) or get_origin(type_) is dict
    return isinstance(value, list) and get_origin(type_) in (tuple, list)


def _is_struct(type_: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _inside(value: object, type_: object, place: Place) -> Iterator[Complaint]:
    """Yield the mistakes in the parts of a value."""
    if not _holds(value, type_):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from complaints(item, get_args(type_)[0], (*place, index))
    elif isinstance(value, dict) and _is_struct(type_):
        yield from _fields(value, type_, place)
    elif isinstance(value, dict):
        names, item_type = get_args(type_)
        for key, item in value.items():
            if get_origin(names) is Literal and key not in get_args(names):
                yield unknown_key(key, get_args(names), place)
            else:
                yield from complaints(item, item_type, (*place, key))


def _fields(value: dict[str, object], struct: type[msgspec.Struct], place: Place) -> Iterator[Complaint]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, item in value.items():
        if key in fields:
            yield from complaints(item, fields[key].type, (*place, key))
        elif struct.__struct_config__.forbid_unknown_fields:
            yield unknown_key(key, fields, place)
    for key, field in fields.items():
        if field.required and key not in value:
            expected = _expected(inspect.type_info(field.type), None)
            yield Complaint(place, f"`{key}` is missing, expected {expected}")


def unknown_key(key: str, allowed: Iterable[str], place: Place) -> Complaint:
    """Return the complaint about a key that the mapping at `place` does not know."""
    shown = key if len(key) <= MAX_NAME_CHARS else f"{key[:MAX_NAME_CHARS]}…"
    message = f"unknown key `{shown}`{did_you_mean(key, allowed) or ','} allowed: {listed(allowed)}"
    return Complaint((*place, shown), message)


def _mismatch(value: object, type_: object, place: Place) -> str:
    """Say why a value is refused although its parts are right."""
    info = inspect.type_info(type_)
    shown = kind(value) if _is_secret(place) else got(value)
    return f"got {shown}, expected {_expected(info, value)}{_hint(value, info)}"


def _is_secret(place: Place) -> bool:
    """Return whether a value is secret: a key or a header of a provider, or part of a webhook.

    Messages reach logs, so they must not repeat it.
    """
    return place[:2] == ("alarms", "webhook") or (
        place[:1] == ("providers",) and place[2:3] in (("api_key",), ("headers",))
    )


def _hint(value: object, info: inspect.Type) -> str:
    members = _members(info)
    if value is not None and not isinstance(value, str) and all(isinstance(m, inspect.StrType) for m in members):
        return " (quote it)"
    names = [str(name) for member in members if isinstance(member, inspect.LiteralType) for name in member.values]
    return did_you_mean(value, names) if isinstance(value, str) else ""


def _members(info: inspect.Type) -> list[inspect.Type]:
    """Return the types that a type allows besides None."""
    if isinstance(info, inspect.Metadata):
        return _members(info.type)
    if isinstance(info, inspect.UnionType):
        return [inner for member in info.types for inner in _members(member)]
    return [] if isinstance(info, inspect.NoneType) else [info]


def _expected(info: inspect.Type, value: object) -> str:
    """Describe a type in words. Limits of length are named only if the value may break them."""
    *others, last = (_words(member, value) for member in _members(info))
    return f"{', '.join(others)} or {last}" if others else last


def _words(info: inspect.Type, value: object) -> str:
    if isinstance(info, inspect.LiteralType):
        return "one of " + ", ".join(quote(str(value)) for value in sorted(info.values, key=str))
    if isinstance(info, inspect.IntType):
        return "a whole number" + _bounds(info)
    if isinstance(info, inspect.FloatType):
        return "a number" + _bounds(info)
    if isinstance(info, inspect.StrType):
        return "a string" + (_length(info, "characters") if isinstance(value, str) else "")
    if isinstance(info, inspect.StructType):
        return "a mapping with keys such as " + " and ".join(f"`{field.encode_name}`" for field in info.fields[:2])
    if isinstance(info, inspect.CollectionType):
        return "a list" + (_length(info, "items") if isinstance(value, list) else "")
    names = {
        inspect.BoolType: "true or false",
        inspect.DecimalType: "a number",
        inspect.DateType: "a date such as 2026-01-31",
        inspect.DictType: "a mapping",
    }
    return names.get(type(info), type(info).__name__)


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge:g} to {info.le:g}"
    bounds = {" over ": info.gt, " of at least ": info.ge, " under ": info.lt, " of at most ": info.le}
    return " and".join(f"{word}{bound:g}" for word, bound in bounds.items() if bound is not None)


def _length(info: inspect.StrType | inspect.CollectionType, unit: str) -> str:
    least, most = info.min_length or 0, info.max_length
    if most is not None:
        return f" of {least} to {most} {unit}"
    return " that is not empty" if least == 1 else f" of at least {least} {unit}" if least else ""
