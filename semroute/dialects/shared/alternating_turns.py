"""Conversations in which user and assistant take turns, as the formats of Anthropic, Bedrock and Gemini require."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from semroute.dialects.shared.dropped import Dropped
from semroute.messages import Message, Part, Text, ToolResult

OPENING = "Continue."
"""A user turn for the start of a conversation that would begin with the assistant."""
GO_ON = "Continue your answer exactly where it stopped. Begin with the very next character, and do not repeat anything."
"""A user turn for the end of a conversation that would end with the assistant, if the model refuses that."""
GO_ON_NOTE = "a conversation that ends with the assistant: a user's turn follows, as the model requires one"
Content = list[dict[str, Any]]
Turn = tuple[Literal["user", "assistant"], Content]


def user_turn(parts: tuple[Part, ...]) -> Message:
    """Make the message of a user turn. Tool results come first. With nothing else it has the role `tool`."""
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    said = tuple(part for part in parts if not isinstance(part, ToolResult))
    return Message(role="tool" if results and not said else "user", parts=(*results, *said))


def has_results(messages: Iterable[Message]) -> bool:
    """Whether any message holds a tool result."""
    return any(isinstance(part, ToolResult) for message in messages for part in message.parts)


def alternate(
    messages: Iterable[Message], render: Callable[[Message], Content], dropped: Dropped
) -> tuple[Content, list[Turn]]:
    """Return the content of the system prompt, and the turns. The first turn and all tool results are the user's.

    `render` returns the content of a message in the wire format.
    """
    system: Content = []
    turns: list[Turn] = []
    for message in messages:
        dropped.add_given(**{"messages.name": message.name})
        content = render(message)
        if message.role == "system":
            if turns:
                dropped.add("place of a system message: sent at the start")
            system += content
            continue
        role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(content)
        elif content:
            turns.append((role, content))
    if turns and turns[0][0] == "assistant":
        dropped.add("a conversation that begins with the assistant")
        turns.insert(0, ("user", render(Message(role="user", parts=(Text(text=OPENING),)))))
    if system and not turns:
        dropped.add("a system prompt alone: sent as the user's")
        return [], [("user", system)]
    return system, turns
