"""Whether a JSON Schema can be used. Everything that it says is looked at, and what its references lead to.

The library that checks documents trusts a schema. It raises all kinds of errors for one that is not valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft3Validator, Draft202012Validator, validator_for
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY, specification_with

from semroute.errors import SemrouteError

MAX_MESSAGE_CHARS = 200
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NOT_TO_BE_READ = (Unresolvable, LookupError, TypeError, ValueError, AttributeError)
"""What the library raises for a reference that leads nowhere: through a number, or to what is no address."""


class SchemaFaultError(SemrouteError):
    """A JSON Schema cannot be used, so nothing can be checked by it. No answer is to blame for that."""

    code = "json_schema_invalid"


def draft_of(schema: Any) -> type[Validator]:
    """Return the draft that a schema is written in. The newest one stands for a draft that nobody knows."""
    return validator_for(schema, default=Draft202012Validator)


def usable(schema: Any) -> Any:
    """Return a schema in the form that JSON has. Raises `SchemaFaultError`, which says what is wrong and where."""
    try:
        plain = msgspec.json.decode(msgspec.json.encode(schema))
        _check_kind(plain, "$")
        if isinstance(plain, dict) and not isinstance(plain.get("$schema", ""), str):
            raise SchemaFaultError(f"$.$schema: got {_shown(plain['$schema'])}, expected a text")
        draft = draft_of(plain)
        if draft is Draft3Validator:
            raise SchemaFaultError("$.$schema: got draft 3, expected draft 4 or newer")
        _check(plain, "$", draft)
        _check_references(plain, draft)
    except RecursionError:
        raise SchemaFaultError("$: it is nested too deeply") from None
    except (TypeError, UnicodeError, msgspec.DecodeError) as error:  # what JSON cannot say, such as a key that is None
        raise SchemaFaultError(f"$: {error}") from None
    return plain


def _check(schema: Any, path: str, draft: type[Validator]) -> None:
    """Check one schema, and all those inside of it."""
    _check_kind(schema, path)
    try:
        draft.check_schema(schema)
    except SchemaError as problem:
        raise SchemaFaultError(f"{path}{place_of(problem.absolute_path)}: {_cut(problem.message)}") from None
    except OverflowError as error:  # a count in a regular expression
        raise SchemaFaultError(f"{path}: {error}") from None


def _check_kind(schema: Any, path: str) -> None:
    if not isinstance(schema, dict | bool):
        raise SchemaFaultError(f"{path}: got {_shown(schema)}, expected an object or a boolean")


def _check_references(schema: Any, draft: type[Validator]) -> None:
    """Follow each reference once. What it leads to may stand where no schema is expected, so that is checked too."""
    known = specification_with(draft.META_SCHEMA["$schema"], default=DRAFT202012)
    root = known.create_resource(schema)
    seen: set[int] = set()
    pending: list[tuple[Resource[Any], Any]] = [(root, EMPTY_REGISTRY.resolver_with_root(root))]
    while pending:
        resource, resolver = pending.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        pending += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]
        for name, reference in _references(resource.contents):
            try:
                led_to = resolver.lookup(reference)
            except _NOT_TO_BE_READ:
                raise SchemaFaultError(f"got a reference that leads nowhere: {_cut(reference)}") from None
            _check(led_to.contents, f"{name} {_cut(reference)}", draft)
            pending.append((known.create_resource(led_to.contents), led_to.resolver))


def _references(schema: Any) -> Iterator[tuple[str, str]]:
    if isinstance(schema, dict):
        yield from ((name, schema[name]) for name in _REFERENCES if isinstance(schema.get(name), str))


def place_of(path: Any) -> str:
    """Return steps into a document as they follow `$`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _shown(value: Any) -> str:
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"
