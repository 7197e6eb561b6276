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
from jsonschema.validators import extend, validator_for
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from semroute.config.regular_expressions import found

MAX_PROBLEMS = 100
"""The most problems that are compared to find the one to report."""
MAX_MESSAGE_CHARS = 200


def schema_error(schema: dict[str, Any], document: Any) -> str | None:
    """Return why a JSON Schema does not accept a document. None: it does. References are never fetched."""
    try:
        problem = best_match(islice(_validator(msgspec.json.encode(schema)).iter_errors(document), MAX_PROBLEMS))
    except RecursionError:
        return "its JSON, or the schema, is nested too deeply to be checked"
    except Unresolvable as error:
        return f"its JSON cannot be checked: the schema refers to something outside of it: {error.ref}"
    if problem is None:
        return None
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem.absolute_path)
    return f"its JSON breaks the schema at ${place}: {problem.message[:MAX_MESSAGE_CHARS]}"


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Validator:
    document = msgspec.json.decode(schema)
    made: Validator = _linear(validator_for(document))(document, registry=EMPTY_REGISTRY)
    return made


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
        return found(pattern, text)
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
