"""Reads bodies of callers. Errors name the field, what it got and what it expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from semroute.config.error_wording import got
from semroute.config.error_wording import render as render_path
from semroute.config.validate import Complaint, complaints
from semroute.errors import RequestError, SemrouteError
from semroute.json_errors import UNREADABLE
from semroute.messages import CacheTtl, Media, Part, Role, Text, ToolCall, ToolResult

Body = TypeVar("Body")
OURS = ("models", "strict")
"""Fields that only semroute knows. They are not sent to providers."""
MINE = frozenset({"model", "stream", "metadata", *OURS})
"""Fields that semroute reads in bodies of every dialect."""
_MISSING = re.compile(r"`(\w+)` is missing, ")
_OF_YAML = (("a mapping", "an object"), (" (quote it)", ""))
"""Words of messages about route files, and what JSON calls it."""


def convert(value: Mapping[str, Any], body_type: type[Body]) -> Body:
    """Check a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
    try:
        return msgspec.convert(value, body_type)
    except msgspec.ValidationError:
        place, message = _complaint(value, body_type)
        if missing := _MISSING.match(message):
            place, message = (*place, missing[1]), f"it is missing, {message[missing.end() :]}"
        path = render_path(place).removeprefix("$").removeprefix(".")
        raise problem(path, _as_json(message)) if path else RequestError(f"$: {_as_json(message)}") from None


def _complaint(value: object, body_type: type[Any]) -> Complaint:
    """Return the first complaint. An unknown field is one only if the struct forbids unknown fields."""
    found = complaints(value, body_type)
    closed = body_type.__struct_config__.forbid_unknown_fields
    return next((each for each in found if closed or not each.message.startswith("unknown key")), found[0])


MISSING_CONTENT = "it is missing, expected text or a list of parts"


def problem(path: str, message: str) -> RequestError:
    """Make an error about one field of the body. `path`: in the caller's own names, such as `input[0].content`."""
    return RequestError(f"$.{path}: {message}", param=path)


def error_moved_to(error: RequestError, path: str) -> RequestError:
    """The same error at another place of the body."""
    return problem(path, str(error).removeprefix(f"$.{error.param}: "))


def message_of(error: SemrouteError, written: Callable[[str], str] = str) -> str:
    """What an error says, with the field's path as a vendor's API writes it. `written`: turns our form into that."""
    message, path = str(error), error.param if isinstance(error, RequestError) else None
    here = f"$.{path}: "
    return f"{written(path)}: {message.removeprefix(here)}" if path and message.startswith(here) else message


def shown(value: object) -> str:
    """A value of a body as messages show it: short, and a list or an object by its kind only."""
    return _as_json(got(value))


def _as_json(message: str) -> str:
    for said, meant in _OF_YAML:
        message = message.replace(said, meant)
    return message


def role_of(said: str, roles: Mapping[str, Role], path: str) -> Role:
    """Return the role of a message. `roles` are the dialect's. `path` is that of the message. Raises `RequestError`."""
    role = roles.get(said)
    if role is None:
        raise problem(f"{path}.role", f"got {shown(said)}, expected one of {', '.join(roles)}")
    return role


def refuse_auto(model: str, said: str) -> None:
    """Refuse to route embeddings: vectors of different models cannot be compared. `said` is what the caller wrote."""
    if model == "auto" or model.startswith("auto:"):
        raise problem("model", f"got {shown(said)}, expected a model's id: embeddings are not routed")


def texts_of(value: str | list[str] | None) -> tuple[str, ...]:
    """Return the texts of a field that holds one text or a list of texts."""
    return (value,) if isinstance(value, str) else tuple(value or ())


@cache
def _known(read: tuple[str, ...]) -> frozenset[str]:
    return MINE.union(read)


def unread_fields(body: Mapping[str, Any], read: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of fields that semroute does not read, if they are not empty."""
    known = _known(read)
    return tuple(name for name, value in body.items() if name not in known and value not in (None, False, [], {}))


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out values that are None or an empty list."""
    return {key: value for key, value in values.items() if value is not None and value != []}


def objects(value: object, path: str) -> list[dict[str, Any]]:
    """Return a list of objects, or an empty one for None. Raises `RequestError` if it is something else."""
    if not isinstance(value, list | None):
        raise problem(path, f"got {shown(value)}, expected a list")
    found: list[dict[str, Any]] = []
    for number, item in enumerate(value or ()):
        if not isinstance(item, dict):
            raise problem(f"{path}[{number}]", f"got {shown(item)}, expected an object")
        found.append(item)
    return found


def objects_of(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list. Anything else is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def object_at(value: object, path: str) -> dict[str, Any]:
    """An object; None: an empty one. Raises `RequestError` where it is something else."""
    if not isinstance(value, dict | None):
        raise problem(path, f"got {shown(value)}, expected an object")
    return value or {}


def tool_result(
    id_: str, parts: Collection[Part], *, is_error: bool = False, cache: CacheTtl | None = None
) -> ToolResult:
    """Make a tool result from its parts: one text, in which each text part is a line, and the media."""
    text = "\n".join(part.text for part in parts if isinstance(part, Text))
    return ToolResult(id=id_, text=text, media=media_of(parts), is_error=is_error, cache=cache)


def media_of(parts: Iterable[Part | None]) -> tuple[Media, ...]:
    """Return the parts that a tool result may hold beside text."""
    return tuple(part for part in parts if isinstance(part, Media))


def has_calls(parts: Iterable[Part]) -> bool:
    """Whether any part is a tool call."""
    return any([isinstance(part, ToolCall) for part in parts])


def arguments_of(value: object) -> str:
    """Return a tool call's arguments as JSON text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def object_of(arguments: str) -> dict[str, Any]:
    """Return a tool call's arguments as an object. Anything else becomes the value of `arguments`."""
    try:
        decoded = msgspec.json.decode(arguments or "{}")
    except UNREADABLE:
        decoded = arguments
    return decoded if isinstance(decoded, dict) else {"arguments": decoded}
