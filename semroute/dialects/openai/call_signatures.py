"""Where Chat Completions has the signature that Gemini puts on a call of a tool.

Google's own servers send it in a field of the call, and want it back there. Other servers are not sent this field: some
of them refuse a body that has one. Source: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

from typing import Any

from semroute.dialects.gemini.content import SKIP_SIGNATURE

FIELD = "extra_content"


def render(signature: str) -> dict[str, Any]:
    """The field of a call; nothing for a call without a signature."""
    return {FIELD: {"google": {"thought_signature": signature}}} if signature else {}


def read(extra_content: object) -> str:
    """The signature in that field; empty: there is none."""
    match extra_content:
        case {"google": {"thought_signature": str(signature)}}:
            return signature
        case _:
            return ""


def removed(messages: list[Any]) -> list[Any]:
    """The messages without the field, also on their calls."""
    return [
        _removed(message) if isinstance(message, dict) and ("tool_calls" in message or FIELD in message) else message
        for message in messages
    ]


def _removed(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    said = {name: value for name, value in said.items() if name != FIELD}
    if isinstance(calls := said.get("tool_calls"), list):
        said["tool_calls"] = [_removed(call) for call in calls]
    return said


def completed(messages: list[Any]) -> list[Any]:
    """The messages, with a mark on the calls that another model made: Gemini 3 refuses those without a signature."""
    return [_completed(message) for message in messages]


def _completed(message: Any) -> Any:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) for call in calls):
        return message
    if any(read(call.get(FIELD)) for call in calls):  # of parallel calls Gemini signs the first
        return message
    return {**message, "tool_calls": [{**calls[0], **render(SKIP_SIGNATURE)}, *calls[1:]]}
