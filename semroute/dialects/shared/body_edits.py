"""Changes to a caller's own body. The rest of it reaches a provider of the same dialect as the caller wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from semroute.bases import Frozen
from semroute.messages import JsonSchema, Message

Body = dict[str, Any]


class BodyEdits(Frozen, frozen=True, kw_only=True):
    """The changes that a dialect can make. If it cannot make one, a new body is rendered from the `ChatRequest`."""

    add_turns: Callable[[Body, Sequence[Message], int], Body] | None = None
    """Adds turns after the last one, and lowers the token limit by a number of tokens."""
    add_instruction: Callable[[Body, str], Body] | None = None
    """Adds an instruction for the model, before all other messages."""
    ask_for_json: Callable[[Body, JsonSchema | None], Body] | None = None
    """Asks for JSON, and for a schema if there is one."""


def add_to_messages(raw: Body, turns: Sequence[Message], spent_tokens: int) -> Body:
    """Add turns to a body that has `messages`: `BodyEdits.add_turns` of several dialects. Returns {} if it has none."""
    messages = raw.get("messages")
    if not isinstance(messages, list):
        return {}
    body = {**raw, "messages": [*messages, *({"role": turn.role, "content": turn.text} for turn in turns)]}
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(name), int):
            body[name] = max(1, body[name] - spent_tokens)
    return body
