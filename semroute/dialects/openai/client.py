"""The client side of OpenAI Chat Completions. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from semroute.decision import Decision
from semroute.dialects.openai.client_answer import AskedIn, error_body, own_refusal, render_message
from semroute.dialects.openai.client_stream import OpenAIStream
from semroute.dialects.openai.content import (
    NAME,
    custom_names,
    parse_cache,
    parse_content,
    parse_function,
    parse_schema,
    parse_signature,
    parse_tool_choice,
    render_logprobs,
    render_usage,
)
from semroute.dialects.protocols import StreamRenderer
from semroute.dialects.shared.body_parsing import (
    MISSING_CONTENT,
    convert,
    problem,
    role_of,
    texts_of,
    tool_result,
    unread_fields,
)
from semroute.dialects.shared.custom_tools import arguments_for, function_of
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    Message,
    Params,
    Part,
    Refusal,
    Role,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from semroute.record import Record

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


class _Custom(msgspec.Struct):
    name: str = ""
    input: str = ""


class _ToolCall(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)
    custom: _Custom | None = None
    """A call of a tool that takes plain text."""
    extra_content: dict[str, Any] | None = None
    """Google's own servers put the signature of a call here."""


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | UnsetType | None = UNSET
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    """The form of `tool_calls` until 2023. The next message has the role `function`, and is the result."""
    tool_call_id: str | None = None


class StreamOptions(msgspec.Struct):
    """A caller's options for a stream."""

    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """The fields that semroute reads. All others reach a provider of this dialect unchanged."""

    messages: list[_Message]
    model: str = "auto"
    models: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    strict: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None


class OpenAI:
    """The client side of OpenAI's dialect."""

    name = NAME
    asked_in: ClassVar[AskedIn] = "messages"
    """The field that holds what is asked, as errors name it."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        fields = convert(body, ChatBody)
        if not fields.messages:
            raise problem("messages", "got an empty list, expected at least one message")
        tools, hosted = _tools(fields.tools) if fields.tools else ((), ())
        asked = fields.tool_choice
        choice, unread_choice = parse_tool_choice(asked) if asked is not None else (None, ())
        return ChatRequest(
            id=request_id,
            messages=tuple(_message(message, number) for number, message in enumerate(fields.messages)),
            model=fields.model,
            models=tuple(fields.models or ()),
            tools=tools,
            tool_choice=choice,
            params=_params(fields),
            stream=bool(fields.stream),
            stream_usage=bool(fields.stream_options and fields.stream_options.include_usage),
            strict=fields.strict,
            metadata=fields.metadata or {},
            dialect=NAME,
            raw=body,
            unread=(*unread_fields(body, ChatBody.__struct_fields__), *hosted, *unread_choice),
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged."""
        if completion.dialect == NAME:
            return completion.raw if completion.usage is not None else _with_usage(completion.raw, record.usage)
        logprobs = {"content": render_logprobs(completion.logprobs), "refusal": None} if completion.logprobs else None
        body = {
            "id": f"chatcmpl-{record.request_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": completion.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", **render_message(completion.parts, custom_names(request))},
                    "logprobs": logprobs,
                    "finish_reason": completion.finish_reason,
                }
            ],
            "usage": render_usage(completion.usage or record.usage),
            **({"service_tier": completion.service_tier} if completion.service_tier else {}),
        }
        return msgspec.json.encode(body)

    def stream(self, request: ChatRequest, decision: Decision) -> StreamRenderer:
        """Make the renderer of one streamed answer."""
        return OpenAIStream(request)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render an error. A provider's own refusal in this dialect is passed on unchanged."""
        return own_refusal(error, self.asked_in) or msgspec.json.encode(error_body(error, status, self.asked_in))


def _with_usage(raw: bytes, usage: Usage) -> bytes:
    """Add the usage to a provider's body that has none."""
    return msgspec.json.encode({**msgspec.json.decode(raw), "usage": render_usage(usage)})


def _message(message: _Message, number: int) -> Message:
    path = f"messages[{number}]"
    role = role_of(message.role, ROLES, path)
    content = message.content
    if content is UNSET:
        if role != "assistant":
            raise problem(f"{path}.content", MISSING_CONTENT)
        content = None
    parts = parse_content(content, f"{path}.content")
    name = message.name or ""
    if role == "tool":
        id_ = f"call_{number - 1}" if message.role == "function" else message.tool_call_id or ""
        cache = next((mark for part in parts if (mark := getattr(part, "cache", None))), None)
        return Message(role=role, parts=(tool_result(id_, parts, cache=cache),))
    before: list[Part] = [Thinking(text=message.reasoning_content)] if message.reasoning_content else []
    refusal = [Refusal(text=message.refusal)] if message.refusal else []
    calls = [_call(call, index) for index, call in enumerate(message.tool_calls or ())]
    if message.function_call is not None:
        calls.append(_call(_ToolCall(id=f"call_{number}", function=message.function_call), len(calls)))
    return Message(role=role, parts=(*before, *parts, *refusal, *calls), name=name)


def _call(call: _ToolCall, index: int) -> ToolCall:
    function = call.function
    if call.custom is not None:
        function = _Function(name=call.custom.name, arguments=arguments_for(call.custom.input))
    signature = parse_signature(call.extra_content)
    return ToolCall(id=call.id, name=function.name, arguments=function.arguments, index=index, signature=signature)


def _tools(tools: list[dict[str, Any]]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Return the caller's functions, and the types of the tools that only OpenAI can run."""
    functions, hosted = [], []
    for number, tool in enumerate(tools):
        match tool:
            case {"type": "function", "function": dict(function)}:
                parsed = parse_function(function, f"tools[{number}].function")
                functions.append(msgspec.structs.replace(parsed, cache=parse_cache(tool)))
            case {"type": "custom", "custom": {"name": str(name)}}:
                functions.append(function_of(name, tool["custom"]))
            case _:
                hosted.append(f"tools {tool.get('type')}")
    return tuple(functions), tuple(hosted)


def _params(fields: ChatBody) -> Params:
    answer = fields.response_format or {}
    return Params(
        max_tokens=fields.max_completion_tokens or fields.max_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=fields.top_k,
        frequency_penalty=fields.frequency_penalty,
        presence_penalty=fields.presence_penalty,
        stop=texts_of(fields.stop),
        seed=fields.seed,
        n=fields.n,
        json_output=answer.get("type") in ("json_object", "json_schema"),
        json_schema=parse_schema(answer["json_schema"]) if "json_schema" in answer else None,
        effort=parse_effort(fields.reasoning_effort) if fields.reasoning_effort else None,
        logprobs=bool(fields.logprobs),
        top_logprobs=fields.top_logprobs,
        parallel_tool_calls=fields.parallel_tool_calls,
        user=fields.safety_identifier or fields.user or "",
        service_tier=fields.service_tier or "",
    )
