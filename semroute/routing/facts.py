"""What can be read off a request without understanding it."""

from __future__ import annotations

from typing import Any

from semroute.config.schema import RouteOn
from semroute.routing.pricing import estimate_input_tokens
from semroute.types import ChatRequest, Feature, Frozen, Image, ToolResult


class Facts(Frozen, frozen=True, kw_only=True):
    """What rules and constraints look at."""

    text: str
    """What is matched against the utterances: the last user turn, or all of them; empty: none has text."""
    input_tokens: int
    """Estimated, over the whole conversation."""
    max_tokens: int | None
    needs: tuple[Feature, ...]
    """What a model must be able to do."""
    metadata: dict[str, Any]


def read_facts(request: ChatRequest, route_on: RouteOn = "last_user") -> Facts:
    """Look at a request once. `route_on`: what of the conversation is matched."""
    texts = user_texts(request)
    return Facts(
        text="\n".join(texts) if route_on == "conversation" else texts[-1] if texts else "",
        input_tokens=estimate_input_tokens(request),
        max_tokens=request.params.max_tokens,
        needs=_needs(request),
        metadata=request.metadata,
    )


def user_texts(request: ChatRequest) -> list[str]:
    """What the user said, turn by turn.

    A turn that brings a tool's result is the agent's, not the user's, even where it carries text: it changes nothing in
    what the user wants, and so keeps the decision of the turn before it.
    """
    return [
        text
        for message in request.messages
        if message.role == "user"
        and (text := message.text.strip())
        and not any(isinstance(part, ToolResult) for part in message.parts)
    ]


def _needs(request: ChatRequest) -> tuple[Feature, ...]:
    needs: list[Feature] = []
    if request.tools:
        needs.append("tools")
    if request.params.json_output:
        needs.append("json")
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        needs.append("vision")
    return tuple(needs)
