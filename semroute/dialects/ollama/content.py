"""Reads and writes the content of Ollama's messages. Source: https://docs.ollama.com/api."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from semroute.dialects.shared.body_parsing import (
    arguments_of,
    object_of,
    role_of,
)
from semroute.dialects.shared.data_urls import data_url, image_type
from semroute.dialects.shared.thinking import signed_id, split_id
from semroute.messages import (
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    ToolResult,
)

NAME: Final = "ollama"
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


# --- messages of callers ----------------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str = {}


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class OllamaMessage(msgspec.Struct):
    """A message of `/api/chat`."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    """Pictures in base64."""
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    name: str | None = None
    """The older name of `tool_name`."""
    tool_call_id: str | None = None


def parse_messages(messages: Sequence[OllamaMessage]) -> tuple[Message, ...]:
    """Read the messages. Tool calls and results without ids are matched by the function's name and by their order."""
    read: list[tuple[Role, list[Part]]] = []
    waiting: dict[str, deque[str]] = {}
    named: dict[str, set[str]] = {}
    for number, message in enumerate(messages):
        role = role_of(message.role, _ROLES, f"messages[{number}]")
        text = [Text(text=message.content)] if message.content else []
        if role == "tool":
            result = _result(message, waiting, named)
            if read and read[-1][0] == "tool":
                read[-1][1].append(result)
            else:
                read.append((role, [result]))
            continue
        thought: list[Part] = [Thinking(text=message.thinking)] if message.thinking else []
        calls = [_call(call, number, index) for index, call in enumerate(message.tool_calls or ())]
        for call in calls:
            waiting.setdefault(call.name, deque()).append(call.id)
            named.setdefault(call.id, set()).add(call.name)
        parts = [*thought, *text, *parse_images(message.images), *calls]
        read.append((role, parts or [Text(text="")]))
    return tuple(Message(role=role, parts=tuple(parts)) for role, parts in read)


def _call(call: _Call, number: int, index: int) -> ToolCall:
    id_, signature = split_id(call.id or f"call_{number}_{index}")
    arguments = arguments_of(call.function.arguments)
    return ToolCall(id=id_, name=call.function.name, arguments=arguments, index=index, signature=signature)


def _result(message: OllamaMessage, waiting: dict[str, deque[str]], named: dict[str, set[str]]) -> ToolResult:
    """Read a tool result.

    It answers the oldest call of its function without a result, or without a name the oldest of all. `named` holds the
    functions that were called with each id.
    """
    name = message.tool_name or message.name or ""
    oldest = waiting.get(name) or (not name and next(filter(None, waiting.values()), None)) or ()
    id_ = split_id(message.tool_call_id or "")[0] or (oldest[0] if oldest else name or "call")
    for called in named.get(id_, ()):
        if id_ in waiting[called]:
            waiting[called].remove(id_)
    images = tuple(part for part in parse_images(message.images))
    return ToolResult(id=id_, text=message.content or "", media=images)


def parse_images(images: Sequence[str] | None) -> tuple[Image, ...]:
    """Read the pictures of a message."""
    return tuple(Image(url=_picture(image)) for image in images or ())


def _picture(image: str) -> str:
    """Return the `data:` URL of a picture in base64. The first bytes tell its media type."""
    if image.startswith("data:"):
        return image
    kind = "image/webp" if image.startswith("UklGR") else image_type("", image)
    return data_url(kind or "image/png", image)


# --- content of answers -----------------------------------------------------------------------------------------------


def texts_of_parts(parts: Iterable[Part]) -> tuple[str, str]:
    """Return the text, which includes refusals, and the thoughts."""
    text = "".join([part.text for part in parts if isinstance(part, Text | Refusal)])
    return text, "".join([part.text for part in parts if isinstance(part, Thinking)])


def render_call(call: ToolCall) -> dict[str, Any]:
    """Render a tool call."""
    function = {"index": call.index, "name": call.name, "arguments": object_of(call.arguments)}
    return {"id": signed_id(call), "function": function} if call.id else {"function": function}


def render_logprobs(logprobs: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Render log-probabilities."""
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": list(each.token.encode("utf-8", "surrogatepass")),
            "top_logprobs": [{"token": other.token, "logprob": other.logprob} for other in each.top],
        }
        for each in logprobs
    ]
