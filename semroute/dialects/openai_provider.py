"""OpenAI Chat Completions, as spoken to a provider. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.dialects.base import WireRequest
from semroute.dialects.failures import UNDECODABLE, answered_error, describe, read_failure, snippet, streamed_error
from semroute.dialects.sse import Event
from semroute.errors import BadAnswerError, ProviderError
from semroute.types import (
    ChatRequest,
    Chunk,
    Completion,
    FinishReason,
    Image,
    Message,
    Model,
    Opaque,
    Params,
    Part,
    Text,
    Thinking,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIProviderDialect:
    """Chat Completions of OpenAI and of the many servers that are compatible with it."""

    name = "openai"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """A bearer token, where there is a key."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """The caller's own body where it is OpenAI's, so that fields unknown here reach the provider, or a new one."""
        body = dict(request.raw) if request.dialect == self.name else _body(request)
        body.pop("models", None)  # ours: the caller's own fallback list
        options = body.pop("stream_options", None)
        body["model"] = model.name
        body["stream"] = request.stream
        if request.params.logprobs:
            body["logprobs"] = True
        if request.stream:
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return WireRequest(path="/chat/completions", body=msgspec.json.encode(body))

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises `BadAnswerError` where it is none."""
        try:
            answer = _decode_answer(body)
        except UNDECODABLE as error:
            raise BadAnswerError(f"expected a completion, got {describe(body, error)}", body=body) from error
        if answer.error or answer.object == "error":
            raise BadAnswerError(f"got an error with status 200: {read_failure(body).message}", body=body)
        if not answer.choices:
            raise BadAnswerError(f"expected a completion, got one without choices: {snippet(body)}", body=body)
        choice = answer.choices[0]
        parts = _parts(choice.message or _Said())
        return Completion(
            parts=parts,
            finish_reason=_finish_reason(choice.finish_reason or "stop"),
            usage=_usage(answer.usage),
            model=answer.model or "",
            id=answer.id or "",
            logprobs=_logprobs(choice.logprobs),
            dialect=self.name,
            raw=body,
        )

    def stream_parser(self) -> OpenAIStreamParser:
        """A parser for one streamed answer."""
        return OpenAIStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means."""
        return answered_error(status, headers, body)


class OpenAIStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._ended = False

    @property
    def finished(self) -> bool:
        """Whether every choice has said why it ended."""
        return self._ended and not self._open

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds; none for `[DONE]`. Raises a `ProviderError` for an error or malformed data."""
        data = event.data.strip()
        if not data or data == b"[DONE]":
            return None
        try:
            piece = _decode_piece(data)
        except UNDECODABLE as error:
            raise BadAnswerError(f"expected a chunk of a completion, got {describe(data, error)}", body=data) from error
        if piece.error or piece.object == "error" or event.name == "error":
            raise streamed_error(data)
        finish_reason: FinishReason | None = None
        parts: tuple[Part, ...] = ()
        for choice in piece.choices or ():
            reason = self._follow(choice)
            if choice.index == 0:
                finish_reason = reason
                parts = _parts(choice.delta) if choice.delta is not None else ()
        return Chunk(
            parts=parts,
            finish_reason=finish_reason,
            usage=_usage(piece.usage) if piece.usage is not None else None,
            model=piece.model or "",
            id=piece.id or "",
            dialect="openai",
            raw=event.data,
        )

    def _follow(self, choice: _ChoicePiece) -> FinishReason | None:
        if not choice.finish_reason:
            self._open.add(choice.index)
            return None
        self._open.discard(choice.index)
        self._ended = True
        return _finish_reason(choice.finish_reason)


# --- what is read of an answer; the rest of it stays in `raw` --------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON text; some servers send the object itself."""


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _ContentPart(msgspec.Struct):
    text: str | None = None


class _Said(msgspec.Struct):
    """A `message`, or a `delta` of one."""

    content: str | list[_ContentPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    """What `tool_calls` was called until 2023."""
    audio: Any = None


class _Token(msgspec.Struct):
    token: str = ""
    logprob: float = 0.0


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    message: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _ChoicePiece(msgspec.Struct):
    index: int = 0
    delta: _Said | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's name for the cached tokens."""


class _Answer(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class _Piece(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[_ChoicePiece] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_piece = msgspec.json.Decoder(_Piece).decode


def _parts(said: _Said) -> tuple[Part, ...]:
    parts: list[Part] = []
    if thought := said.reasoning_content or said.reasoning:
        parts.append(Thinking(text=thought))
    if text := said.content or said.refusal:
        text = text if isinstance(text, str) else "".join(part.text or "" for part in text)
        parts.append(Text(text=text))
    if said.tool_calls:
        parts += [_tool_call(call, position) for position, call in enumerate(said.tool_calls)]
    elif said.function_call is not None:
        parts.append(_tool_call(_Call(function=said.function_call), 0))
    if said.audio:
        parts.append(Opaque(kind="audio"))
    return tuple(parts)


def _tool_call(call: _Call, position: int) -> ToolCall:
    function = call.function or _Function()
    arguments = function.arguments or ""
    return ToolCall(
        id=call.id or "",
        name=function.name or "",
        arguments=arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode(),
        index=position if call.index is None else call.index,
    )


def _finish_reason(reason: str) -> FinishReason:
    if reason == "error":
        raise BadAnswerError("the provider broke the answer off with finish_reason 'error'")
    return _FINISH_REASONS.get(reason, "stop")


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
        return None
    details = usage.prompt_tokens_details
    cached_tokens = details.cached_tokens if details is not None else usage.prompt_cache_hit_tokens
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=cached_tokens or 0,
    )


# --- a body for a request that came in another dialect ---------------------------------------------------------------


def _body(request: ChatRequest) -> dict[str, Any]:
    params = request.params
    body: dict[str, Any] = {
        "messages": _messages(request.messages),
        "tools": [_tool(tool) for tool in request.tools],
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "stop": list(params.stop),
        "response_format": _response_format(params) if params.json_output else None,
    }
    return {key: value for key, value in body.items() if value is not None and value != []}


def _logprobs(said: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    tokens = (said.content if said is not None else None) or ()
    return tuple(TokenLogprob(token=token.token, logprob=token.logprob) for token in tokens)


def _response_format(params: Params) -> dict[str, Any]:
    if params.json_schema is None:
        return {"type": "json_object"}
    schema = params.json_schema
    return {"type": "json_schema", "json_schema": {"name": schema.name, "schema": schema.document}}


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rendered += [{"role": "tool", "tool_call_id": result.id, "content": result.text} for result in results]
        if len(results) < len(message.parts) or not results:
            rendered.append(_turn(message))
    return rendered


def _turn(message: Message) -> dict[str, Any]:
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments or "{}"}}
        for part in message.parts
        if isinstance(part, ToolCall)
    ]
    if calls:
        return {"role": message.role, "content": message.text or None, "tool_calls": calls}
    return {"role": message.role, "content": _content(message)}


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text where it can be: not every compatible server takes a list."""
    if not any(isinstance(part, Image) for part in message.parts):
        return message.text
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            content.append({"type": "image_url", "image_url": {"url": part.url}})
    return content
