"""Reading callers' bodies: complaints that name the field, what it got and what it expected."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from semroute.config.error_wording import render as render_path
from semroute.config.validate import Complaint, complaints
from semroute.errors import RequestError
from semroute.json_errors import UNREADABLE
from semroute.messages import CacheTtl, FinishReason, Media, Part, Role, Text, ToolCall, ToolResult

Body = TypeVar("Body")
OURS = ("models", "strict")
"""The fields of semroute's own. No provider knows them."""
MINE = frozenset({"model", "stream", "metadata", *OURS})
"""The fields that semroute reads in a body of any dialect."""


def convert(value: Mapping[str, Any], body_type: type[Body]) -> Body:
    """Check a caller's body. Raises `RequestError` that names the field, what it got and what it expected."""
    try:
        return msgspec.convert(value, body_type)
    except msgspec.ValidationError:
        place, message = _complaint(value, body_type)
        path = render_path(place)
        raise RequestError(f"{path}: {message}", param=path.removeprefix("$").removeprefix(".") or None) from None


def _complaint(value: object, body_type: type[Any]) -> Complaint:
    """The first; a field unknown here is no reason for one, unless the body says so."""
    found = complaints(value, body_type)
    closed = body_type.__struct_config__.forbid_unknown_fields
    return next((each for each in found if closed or not each.message.startswith("unknown key")), found[0])


def problem(path: str, message: str) -> RequestError:
    """An error at a field of the body."""
    return RequestError(f"$.{path}: {message}", param=path)


def role_of(said: str, roles: Mapping[str, Role], path: str) -> Role:
    """The role that a message names. `roles`: those of the dialect. `path`: of the message. Raises `RequestError`."""
    role = roles.get(said)
    if role is None:
        raise problem(f"{path}.role", f"got {said!r}, expected one of {', '.join(roles)}")
    return role


def refuse_auto(model: str, said: str) -> None:
    """Refuse to route embeddings: vectors of different models do not compare. `said`: as the caller wrote it."""
    if model == "auto" or model.startswith("auto:"):
        raise problem("model", f"got {said!r}, expected a model's id: embeddings are not routed")


def texts_of(value: str | list[str] | None) -> tuple[str, ...]:
    """What may be written as one text or as a list of texts."""
    return (value,) if isinstance(value, str) else tuple(value or ())


@cache
def _known(read: tuple[str, ...]) -> frozenset[str]:
    return MINE.union(read)


def unread_fields(body: Mapping[str, Any], read: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that a dialect's common vocabulary does not hold, where they say anything."""
    known = _known(read)
    return tuple(name for name, value in body.items() if name not in known and value not in (None, False, [], {}))


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None or an empty list."""
    return {key: value for key, value in values.items() if value is not None and value != []}


def objects(value: Iterable[Any] | None, path: str) -> list[dict[str, Any]]:
    """A list of objects. Raises `RequestError` where one is none."""
    found: list[dict[str, Any]] = []
    for number, item in enumerate(value or ()):
        if not isinstance(item, dict):
            raise problem(f"{path}[{number}]", f"got {type(item).__name__}, expected an object")
        found.append(item)
    return found


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects in a list. Anything else is passed over."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def tool_result(
    id_: str, parts: Collection[Part], *, is_error: bool = False, cache: CacheTtl | None = None
) -> ToolResult:
    """A tool's result from its parts: the texts, one a line, and what it gave beside them."""
    text = "\n".join(part.text for part in parts if isinstance(part, Text))
    return ToolResult(id=id_, text=text, media=media_of(parts), is_error=is_error, cache=cache)


def media_of(parts: Iterable[Part | None]) -> tuple[Media, ...]:
    """The parts that a tool may give beside text."""
    return tuple(part for part in parts if isinstance(part, Media))


def has_calls(parts: Iterable[Part]) -> bool:
    """Whether a tool is called."""
    return any([isinstance(part, ToolCall) for part in parts])


def as_said(reason: FinishReason, *, calls: bool) -> FinishReason:
    """Why an answer ended, by what it holds: some servers say `stop` after calls, or name calls that are not there."""
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if calls else "stop"
    return reason


def arguments_of(value: object) -> str:
    """A tool call's arguments as JSON text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def object_of(arguments: str) -> dict[str, Any]:
    """A tool call's arguments as an object; what is none stands under `arguments`."""
    try:
        decoded = msgspec.json.decode(arguments or "{}")
    except UNREADABLE:
        decoded = arguments
    return decoded if isinstance(decoded, dict) else {"arguments": decoded}
