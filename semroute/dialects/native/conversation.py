"""What programs ask a Router: a prompt, a conversation in OpenAI's or Anthropic's form, or a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.openai.client import OpenAI
from semroute.errors import RequestError
from semroute.messages import ChatRequest, Message, Text

Asked = str | Sequence[Mapping[str, Any]] | ChatRequest
"""A prompt, the messages of a conversation, or a request."""
_ANTHROPIC = frozenset(
    ("tool_use", "tool_result", "thinking", "redacted_thinking", "document", "search_result", "server_tool_use")
)
"""Types of content blocks that only Anthropic's form has."""


def as_request(asked: Asked, request_id: str, *, explain: bool = False) -> ChatRequest:
    """Read what a program asks. A request stays as it is, but for `explain`.

    Raises `RequestError` for anything else, and for messages that cannot be read.
    """
    if isinstance(asked, str):
        request = ChatRequest(id=request_id, messages=(Message(role="user", parts=(Text(text=asked),)),))
    elif isinstance(asked, ChatRequest):
        request = asked
    elif isinstance(asked, Sequence) and all(isinstance(one, Mapping) for one in asked):
        messages = [{**one} for one in asked if isinstance(one, Mapping)]
        parse = (Anthropic if any(map(_is_anthropics, messages)) else OpenAI)().parse_request
        request = parse({"model": "auto", "messages": messages}, request_id)
    else:
        got = f"a list of {type(asked[0]).__name__}" if isinstance(asked, Sequence) else type(asked).__name__
        raise RequestError(f"got {got}, expected a prompt, a list of messages, or a ChatRequest", param="messages")
    return replace(request, explain=True) if explain else request


def _is_anthropics(message: dict[str, Any]) -> bool:
    """Whether a message has a form that only Anthropic knows."""
    content = message.get("content")
    if not isinstance(content, list):
        return False
    blocks = [block for block in content if isinstance(block, Mapping)]
    return any(block.get("type") in _ANTHROPIC or "source" in block for block in blocks)
