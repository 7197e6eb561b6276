"""Changes of a caller's own body. What is not changed reaches a provider of the same dialect as the caller wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from semroute.bases import Frozen
from semroute.messages import JsonSchema, Message

Body = dict[str, Any]


class BodyEdits(Frozen, frozen=True, kw_only=True):
    """The changes that a dialect knows. Where it does not know one, a new body is written from the neutral request."""

    add_turns: Callable[[Body, Sequence[Message], int], Body] | None = None
    """Adds turns after the last one, and lowers the limit of tokens by so many."""
    add_instruction: Callable[[Body, str], Body] | None = None
    """Adds an instruction for the model before all others."""
    ask_for_json: Callable[[Body, JsonSchema | None], Body] | None = None
    """Asks for JSON, by a schema where there is one."""


def add_to_messages(raw: Body, turns: Sequence[Message], spent_tokens: int) -> Body:
    """`BodyEdits.add_turns` of the dialects that have `messages`. Empty where the body holds none."""
    messages = raw.get("messages")
    if not isinstance(messages, list):
        return {}
    body = {**raw, "messages": [*messages, *({"role": turn.role, "content": turn.text} for turn in turns)]}
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(name), int):
            body[name] = max(1, body[name] - spent_tokens)
    return body
