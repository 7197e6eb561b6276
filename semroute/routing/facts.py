"""What can be read off a request without understanding it."""

from __future__ import annotations

from typing import Any

from semroute.routing.pricing import estimate_input_tokens
from semroute.types import ChatRequest, Feature, Frozen, Image


class Facts(Frozen, frozen=True, kw_only=True):
    """What rules and constraints look at."""

    text: str
    """What is matched against the utterances: the last user turn that has text; empty: none."""
    input_tokens: int
    """Estimated, over the whole conversation."""
    max_tokens: int | None
    needs: tuple[Feature, ...]
    """What a model must be able to do."""
    metadata: dict[str, Any]


def read_facts(request: ChatRequest) -> Facts:
    """Look at a request once."""
    return Facts(
        text=_last_user_text(request),
        input_tokens=estimate_input_tokens(request),
        max_tokens=request.params.max_tokens,
        needs=_needs(request),
        metadata=request.metadata,
    )


def _last_user_text(request: ChatRequest) -> str:
    for message in reversed(request.messages):
        if message.role == "user" and (text := message.text.strip()):
            return text
    return ""


def _needs(request: ChatRequest) -> tuple[Feature, ...]:
    needs: list[Feature] = []
    if request.tools:
        needs.append("tools")
    if request.params.json_output:
        needs.append("json")
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        needs.append("vision")
    return tuple(needs)
