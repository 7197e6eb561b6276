"""Stored responses: what is kept of them, and how a later request uses it.

Source: https://platform.openai.com/docs/api-reference/responses/input-items.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from semroute.dialects import sse
from semroute.json_errors import UNREADABLE

ENDS = ("response.completed", "response.incomplete")
"""The events that hold the whole response."""
_MARKS = tuple(kind.encode() for kind in ENDS)
_OWN = ("id", "status")
"""Fields that only mean something to the provider that made the item, and not for long."""
_REPLAYED = ("message", "function_call", "custom_tool_call")


def as_items(given: Any) -> list[Any]:
    """Return a request's `input` as a list of items."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, list) else []


def is_reference(item: Any) -> bool:
    """Whether an item is a reference to an item of an earlier answer."""
    return isinstance(item, dict) and item.get("type") == "item_reference"


def replayed(items: Iterable[Any]) -> list[Any]:
    """Return items of an answer as the next request sends them, to any provider.

    Thoughts without encrypted content cannot be sent back, so they are left out.
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
    """Return the id of an item, or one made from its position."""
    id_ = item.get("id") if isinstance(item, dict) else None
    return id_ if isinstance(id_, str) and id_ else f"{response_id}_{number}"


def listed(asked: bytes, response_id: str, *, limit: int, order: str, after: str) -> dict[str, Any]:
    """Render a page of the items that a response answered."""
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
    """The last events of a stream. The very last holds the whole response."""

    before: bytes
    name: str
    event: dict[str, Any]
    response: dict[str, Any]

    def render(self, response: dict[str, Any]) -> bytes:
        """Render the events with another response in them."""
        return self.before + sse.render(msgspec.json.encode({**self.event, "response": response}), self.name)


def closing(events: bytes) -> Ending | None:
    """Read the events that end a stream. None: none of these events ends it."""
    if not any(mark in events for mark in _MARKS):
        return None
    before: list[bytes] = []
    for event in sse.EventParser().feed(events):
        if not any(mark in event.data for mark in _MARKS):
            before.append(sse.render(event.data, event.name))
            continue
        try:
            data = msgspec.json.decode(event.data)
        except UNREADABLE:
            return None
        match data:
            case {"type": kind, "response": dict(response)} if kind in ENDS:
                return Ending(b"".join(before), event.name, data, response)
        before.append(sse.render(event.data, event.name))
    return None
