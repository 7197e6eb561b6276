"""What is kept of Responses, and how a later request builds on it.

Source: https://platform.openai.com/docs/api-reference/responses/input-items.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from semroute.dialects import sse
from semroute.json_errors import UNREADABLE

ENDS = ("response.completed", "response.incomplete")
"""The events that hold a response as it is kept."""
_MARKS = tuple(kind.encode() for kind in ENDS)
_OWN = ("id", "status")
"""What an item is called at the provider that made it: another one does not know it, nor that one later on."""
_REPLAYED = ("message", "function_call", "custom_tool_call")


def as_items(given: Any) -> list[Any]:
    """A request's `input` as a list of items."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, list) else []


def is_reference(item: Any) -> bool:
    """Whether an item only names one that was in an earlier answer."""
    return isinstance(item, dict) and item.get("type") == "item_reference"


def replayed(items: Iterable[Any]) -> list[Any]:
    """Items of an answer as the next request says them, to whichever provider.

    A thought whose encrypted content was not asked for cannot be sent back.
    """
    sent: list[Any] = []
    for item in items:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind in _REPLAYED:
            sent.append({key: value for key, value in item.items() if key not in _OWN})
        elif kind != "reasoning" or item.get("encrypted_content"):
            sent.append(item)
    return sent


def item_id(item: Any, response_id: str, number: int) -> str:
    """By what an item is found."""
    id_ = item.get("id") if isinstance(item, dict) else None
    return id_ if isinstance(id_, str) and id_ else f"{response_id}_{number}"


def listed(asked: bytes, response_id: str, *, limit: int, order: str, after: str) -> dict[str, Any]:
    """A page of the items that a response answered."""
    items = [_shown(item, response_id, number) for number, item in enumerate(msgspec.json.decode(asked))]
    if order == "desc":
        items.reverse()
    start = next((number + 1 for number, item in enumerate(items) if item["id"] == after), 0) if after else 0
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def _shown(item: Any, response_id: str, number: int) -> dict[str, Any]:
    fields = item if isinstance(item, dict) else {}
    shown = {"type": "message", **fields, "id": item_id(item, f"in_{response_id}", number)}
    if isinstance(content := shown.get("content"), str):
        kind = "output_text" if shown.get("role") == "assistant" else "input_text"
        shown["content"] = [{"type": kind, "text": content}]
    return shown


class Ending(NamedTuple):
    """Events of a stream, the last of which ends it."""

    before: bytes
    name: str
    event: dict[str, Any]
    response: dict[str, Any]

    def render(self, response: dict[str, Any]) -> bytes:
        """The same events with another response."""
        return self.before + sse.render(msgspec.json.encode({**self.event, "response": response}), self.name)


def closing(events: bytes) -> Ending | None:
    """Events, if one of them ends a stream. It is the last."""
    if not any(mark in events for mark in _MARKS):
        return None
    before = b""
    for event in sse.EventParser().feed(events):
        try:
            data = msgspec.json.decode(event.data)
        except UNREADABLE:
            return None
        match data:
            case {"type": kind, "response": dict(response)} if kind in ENDS:
                return Ending(before, event.name, data, response)
        before += sse.render(event.data, event.name)
    return None
