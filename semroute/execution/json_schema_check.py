"""Check a document against a JSON Schema. Pure.

The library is jsonschema. Its own keywords for patterns and for unique items take time that grows with the square of a
document, or exponentially. The keywords of this file take linear time. Some schemas are still slow (references in
circles, alternatives within alternatives), so `check_processes` sets a time limit.

jsonschema-rs 0.61 is over a hundred times as fast. But it accepts every document if references go in a circle. If no
alternative fits, it does not say what is wrong with the nearest one. It also refuses a `$schema` that it does not know,
and a document of 100,000 levels ends the process (2026-11-30, `bench/libraries.py schema`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY

from semroute.config.json_schemas import MAX_MESSAGE_CHARS, SchemaFaultError, draft_of, place_of, usable
from semroute.config.regular_expressions import contains_match

MAX_PROBLEMS = 100
"""The most problems that are compared to find the one to report."""
SHALLOW = 50
"""Checking a document with fewer levels needs no deep recursion, unless the schema is to blame."""


def schema_error(schema: dict[str, Any], document: Any) -> str | None:
    """Return why a JSON Schema does not accept a document. None: it does. References are never fetched.

    Raises `SchemaFaultError` for a schema that cannot be used, whatever the document is.
    """
    validator = _validator(_written(schema))
    try:
        problem = best_match(islice(validator.iter_errors(document), MAX_PROBLEMS))
    except RecursionError:
        if _is_shallow(document):
            raise SchemaFaultError("$: it refers to itself without end") from None
        return "its JSON is nested too deeply to be checked"
    except OverflowError:
        return "its JSON holds a number that is too large to be checked"
    if problem is None:
        return None
    place = place_of(problem.absolute_path)
    return f"its JSON breaks the schema at ${place}: {problem.message[:MAX_MESSAGE_CHARS]}"


def _written(schema: Any) -> bytes:
    try:
        return msgspec.json.encode(schema)
    except (TypeError, RecursionError):
        return msgspec.json.encode(usable(schema))  # which says what is wrong with it


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Validator:
    document = usable(msgspec.json.decode(schema))
    made: Validator = _linear(draft_of(document))(document, registry=EMPTY_REGISTRY)
    return made


def _is_shallow(document: Any) -> bool:
    """Return whether a document has fewer than `SHALLOW` levels."""
    level = [document]
    for _ in range(SHALLOW):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return True
    return False


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


@lru_cache
def _linear(kind: type[Validator]) -> Any:
    """Return the validator of a draft of JSON Schema, with the keywords of this file."""
    own = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    known = {name: check for name, check in own.items() if name in kind.VALIDATORS}
    return extend(kind, known)  # type: ignore[no-untyped-call]  # the library has no types for it


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches, by RE2. If RE2 does not know the syntax, Python's `re` decides."""
    try:
        return contains_match(pattern, text)
    except ValueError:
        return re.search(pattern, text) is not None


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _matches(pattern, instance):
        yield ValidationError(f"{_shown(instance)} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if validator.is_type(allowed, "object"):
            yield from validator.descend(value, allowed, path=name)
        elif not allowed:
            yield ValidationError(f"additional properties are not allowed, got {_shown(name)}")


def _unique_items(validator: Any, unique: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not unique or not validator.is_type(instance, "array"):
        return
    seen: set[bytes] = set()
    for place, item in enumerate(instance):
        written = msgspec.json.encode(_plain(item), order="sorted")
        if written in seen:
            yield ValidationError(f"expected unique items, got {_shown(item)} again at [{place}]")
            return
        seen.add(written)


def _plain(value: Any) -> Any:
    """Return the same value with 1 in place of 1.0, because they are equal in JSON Schema."""
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case _:
            return value


def _shown(value: Any) -> str:
    """Return a value, cut to the length that a message has room for."""
    return repr(value if isinstance(value, (int, float)) else value[:MAX_MESSAGE_CHARS]) if _flat(value) else "a value"


def _flat(value: Any) -> bool:
    return isinstance(value, (str, int, float))
