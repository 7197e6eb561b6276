"""Put an answer together from its pieces, and compare two answers by what can be told without a judge. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from semroute.execution.answer_quality import wording
from semroute.execution.json_repair import json_in
from semroute.json_errors import UNREADABLE
from semroute.messages import Completion, FinishReason, Part, Refusal, Text, ToolCall

MAX_JSON_CHARS = 64 * 1024
"""A longer answer is not read as JSON, because that would hold up the event loop."""
_UNREAD = object()


def whole(parts: Iterable[Part], finish_reason: FinishReason | None, model: str = "") -> Completion:
    """Return an answer whose text and calls of tools are each in one piece. A judge has to read a refusal, too."""
    texts: list[str] = []
    calls: dict[int, ToolCall] = {}
    for part in parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            begun = calls.get(part.index)
            if begun is None or (part.id and begun.id and part.id != begun.id):
                calls[part.index if begun is None else len(calls)] = part
            else:
                calls[part.index] = msgspec.structs.replace(
                    begun, name=begun.name + part.name, arguments=begun.arguments + part.arguments
                )
    text = (Text(text="".join(texts)),) if texts else ()
    reason = finish_reason or ("tool_calls" if calls else "stop")
    return Completion(parts=(*text, *calls.values()), finish_reason=reason, usage=None, model=model)


def same(first: Completion, second: Completion) -> bool:
    """Return whether a judge would read the same twice. White space does not count."""
    return wording(first).split() == wording(second).split()


def likeness(served: Completion, tried: Completion) -> dict[str, Any]:
    """Return what two answers have in common, by name. A name is left out where the question makes no sense."""
    found: dict[str, Any] = {
        "same_text": same(served, tried),
        "same_finish_reason": served.finish_reason == tried.finish_reason,
        "served_chars": len(wording(served)),
        "chars": len(wording(tried)),
    }
    calls, tried_calls = _calls(served), _calls(tried)
    if calls or tried_calls:
        found["same_tool_calls"] = calls == tried_calls
    document = _document(served.text)
    if document is not _UNREAD:
        found["same_json"] = document == _document(tried.text)
    return found


def _calls(answer: Completion) -> list[tuple[str, object]]:
    """Return the tools that are called, with their arguments. Neither the order nor the ids count."""
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    found = [(call.name, _document(call.arguments or "{}", call.arguments)) for call in calls]
    return sorted(found, key=repr)


def _document(text: str, otherwise: object = _UNREAD) -> object:
    """Return the object or array that a text holds as JSON. `otherwise`: returned if it holds none."""
    if len(text) > MAX_JSON_CHARS:
        return otherwise
    try:
        found = msgspec.json.decode(json_in(text))
    except UNREADABLE:
        return otherwise
    return found if isinstance(found, dict | list) else otherwise
