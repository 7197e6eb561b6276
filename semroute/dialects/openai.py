"""OpenAI Chat Completions as callers speak it. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec

from semroute.config.validate import complaints
from semroute.config.wording import render as render_path
from semroute.dialects import sse
from semroute.errors import ProviderRequestError, RequestError, SemrouteError
from semroute.record import Record
from semroute.types import (
    ChatRequest,
    Chunk,
    Completion,
    Decision,
    Image,
    Message,
    Opaque,
    Params,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

NAME = "openai"
Body = TypeVar("Body")
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _ToolCall(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """The fields that are read here. All others are passed on as they are."""

    messages: list[_Message]
    model: str = "auto"
    models: list[str] | None = None
    tools: list[_Tool] | None = None
    metadata: dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    response_format: dict[str, Any] | None = None


class OpenAI:
    """The client side of OpenAI's dialect."""

    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError` naming the field, what it got and what it expected."""
        fields = convert(body, _Body)
        if not fields.messages:
            raise RequestError("$.messages: got an empty list, expected at least one message", param="messages")
        return ChatRequest(
            id=request_id,
            messages=tuple(_message(message, number) for number, message in enumerate(fields.messages)),
            model=fields.model,
            models=tuple(fields.models or ()),
            tools=tuple(_tool(tool.function) for tool in fields.tools or () if tool.function),
            params=_params(fields),
            stream=bool(fields.stream),
            stream_usage=bool(fields.stream_options and fields.stream_options.include_usage),
            metadata=fields.metadata or {},
            dialect=NAME,
            raw=body,
        )

    def render_completion(self, completion: Completion, record: Record) -> bytes:
        """The provider's own body where it speaks this dialect, else one in its form."""
        if completion.dialect == NAME:
            return completion.raw
        return msgspec.json.encode(
            {
                "id": f"chatcmpl-{record.request_id}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": completion.model,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", **_render_parts(completion.parts), "refusal": None},
                        "logprobs": None,
                        "finish_reason": completion.finish_reason,
                    }
                ],
                "usage": render_usage(record.usage),
            }
        )

    def stream(self, request: ChatRequest, decision: Decision) -> OpenAIStream:
        """A renderer for one streamed answer."""
        return OpenAIStream(request)

    def render_error(self, error: SemrouteError, status: int) -> bytes:
        """The body of an error answer: the provider's own where it refused the request in this dialect."""
        if isinstance(error, ProviderRequestError) and error.body and _is_error_body(error.body):
            return error.body
        return msgspec.json.encode(_error(error, status))


class OpenAIStream:
    """`chat.completion.chunk` events, closed by `[DONE]`."""

    def __init__(self, request: ChatRequest) -> None:
        self._id = f"chatcmpl-{request.id}"
        self._created = int(time.time())
        self._with_usage = request.stream_usage
        self._usage_sent = False
        self._model = ""
        self._started = False

    def chunk(self, chunk: Chunk) -> bytes:
        """The provider's own event where it speaks this dialect, else one in its form."""
        self._model = chunk.model or self._model
        usage_only = chunk.usage is not None and not chunk.parts and chunk.finish_reason is None
        if usage_only and not self._with_usage:
            return b""
        if chunk.usage is not None:
            self._usage_sent = True
        if chunk.dialect == NAME:
            self._id = chunk.id or self._id
            return sse.render(chunk.raw)
        if usage_only:
            return self._event([], usage=chunk.usage)
        delta = _render_delta(chunk.parts)
        if not self._started:
            self._started = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": chunk.finish_reason}
        return self._event([choice])

    def end(self, record: Record) -> bytes:
        """Usage, where it was asked for and not yet sent, and `[DONE]`."""
        usage = b"" if self._usage_sent or not self._with_usage else self._event([], usage=record.usage)
        return usage + sse.render(b"[DONE]")

    def error(self, error: SemrouteError, status: int) -> bytes:
        """An error event, and no `[DONE]`: the official clients raise on it."""
        return sse.render(msgspec.json.encode(_error(error, status)))

    def _event(self, choices: list[dict[str, Any]], *, usage: Usage | None = None) -> bytes:
        event: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if usage is not None:
            event["usage"] = render_usage(usage)
        return sse.render(msgspec.json.encode(event))


def convert(value: dict[str, Any], body_type: type[Body]) -> Body:
    """Check a caller's body. Raises `RequestError` that names the field, what it got and what it expected."""
    try:
        return msgspec.convert(value, body_type)
    except msgspec.ValidationError:
        place, message = complaints(value, body_type)[0]
        path = render_path(place)
        raise RequestError(f"{path}: {message}", param=path.removeprefix("$").removeprefix(".") or None) from None


def render_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage: the prompt's tokens include the cached ones."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _message(message: _Message, number: int) -> Message:
    role = ROLES.get(message.role)
    if role is None:
        raise RequestError(
            f"$.messages[{number}].role: got {message.role!r}, expected one of {', '.join(ROLES)}",
            param=f"messages[{number}].role",
        )
    parts = _content(message.content, f"messages[{number}].content")
    if role == "tool":
        text = "\n".join(part.text for part in parts if isinstance(part, Text))
        return Message(role=role, parts=(ToolResult(id=message.tool_call_id or "", text=text),))
    calls = [
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments, index=index)
        for index, call in enumerate(message.tool_calls or ())
    ]
    return Message(role=role, parts=(*parts, *calls))


def _content(content: str | list[dict[str, Any]] | None, param: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_part(part, f"{param}[{number}]") for number, part in enumerate(content))


def _part(part: dict[str, Any], param: str) -> Part:
    match part:
        case {"type": "text", "text": str(text)}:
            return Text(text=text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return Image(url=url)
        case {"type": "text" | "image_url" as kind}:
            raise RequestError(f"$.{param}: got a part of type {kind!r} without its {kind!r}", param=param)
        case {"type": str(kind)}:
            return Opaque(kind=kind)
        case _:
            raise RequestError(f"$.{param}.type: expected the part's type, such as 'text'", param=param)


def _tool(function: _Function) -> Tool:
    return Tool(name=function.name, description=function.description or "", parameters=function.parameters or {})


def _params(fields: _Body) -> Params:
    stop = (fields.stop,) if isinstance(fields.stop, str) else tuple(fields.stop or ())
    return Params(
        max_tokens=fields.max_completion_tokens or fields.max_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        stop=stop,
        json_output=(fields.response_format or {}).get("type") in {"json_object", "json_schema"},
    )


def _render_parts(parts: tuple[Part, ...]) -> dict[str, Any]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thinking = "".join(part.text for part in parts if isinstance(part, Thinking))
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        for part in parts
        if isinstance(part, ToolCall)
    ]
    message: dict[str, Any] = {"content": text or (None if calls else "")}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _render_delta(parts: tuple[Part, ...]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    for part in parts:
        match part:
            case Text(text=text):
                delta["content"] = delta.get("content", "") + text
            case Thinking(text=text):
                delta["reasoning_content"] = delta.get("reasoning_content", "") + text
            case ToolCall():
                function = {"name": part.name} if part.name else {}
                call = {"id": part.id, "type": "function"} if part.id else {}
                delta.setdefault("tool_calls", []).append(
                    {"index": part.index, **call, "function": {**function, "arguments": part.arguments}}
                )
            case _:
                pass
    return delta


def _is_error_body(body: bytes) -> bool:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    match decoded:
        case {"error": {"message": str()}, **rest}:
            return "type" not in rest
        case _:
            return False


def _error(error: SemrouteError, status: int) -> dict[str, Any]:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    param = error.param if isinstance(error, RequestError) else None
    return {"error": {"message": str(error), "type": kind, "param": param, "code": error.code}}
