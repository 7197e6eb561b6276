"""Amazon Bedrock's Converse API, as spoken to a provider.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.bedrock.content import NAME, parse_block, parse_citation, parse_thought
from semroute.dialects.bedrock.provider_request import render_body
from semroute.dialects.dialect import WireRequest
from semroute.dialects.shared.body_parsing import as_said, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    read_failure,
    snippet,
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.field_limits import fitted
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.shared.token_counts import Count, read_counts
from semroute.dialects.sse import Event
from semroute.errors import BadAnswerError, ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import ChatRequest, Chunk, Completion, FinishReason, Part, Text, ToolCall, Usage

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_FAILED = {"malformed_model_output", "malformed_tool_use"}
"""Reasons that mean that there is no answer: another call may give one."""
_STATUSES = {
    "ThrottlingException": 429,
    "TooManyRequestsException": 429,
    "ServiceQuotaExceededException": 429,
    "ModelNotReadyException": 429,
    "ModelTimeoutException": 408,
    "ModelErrorException": 500,
    "ModelStreamErrorException": 500,
    "InternalServerException": 500,
    "InternalFailure": 500,
    "ServiceUnavailableException": 503,
    "ServiceUnavailable": 503,
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "IncompleteSignature": 403,
    "ExpiredTokenException": 403,
    "MissingAuthenticationTokenException": 403,
}
"""What AWS's errors mean, whatever status they come with, or inside a stream, with none."""


class BedrockProviderDialect:
    """`Converse` and `ConverseStream`. Needs the extra `bedrock`."""

    name = NAME

    def __init__(self) -> None:
        from semroute.dialects.bedrock.event_stream import FrameParser  # imports botocore

        self.events = FrameParser

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The Bedrock API key; without one each request is signed where it is sent."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """A new body: no client speaks this dialect."""
        request = as_chat(request, self.name)
        dropped = Dropped(request.unread)
        body = render_body(request, model, dropped)
        call = "converse-stream" if request.stream else "converse"
        # A colon stays, as the transport would make one of `%3A`: what is signed is what is sent.
        path = f"/model/{quote(model.name, safe=':')}/{call}"
        wire = fitted(NAME, body, request, model, dropped, path=path)
        return msgspec.structs.replace(wire, model=model.name)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises a `ProviderError` where it is none."""
        try:
            answer = _decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "an answer of Converse", error) from error
        if answer.output is None or answer.output.message is None:
            said = read_failure(body).message or snippet(body)
            raise no_answer(body, f"expected an answer of Converse, got one without a message: {said}")
        parts: list[Part] = []
        for block in answer.output.message.content or ():
            part = parse_block(block, sum(isinstance(each, ToolCall) for each in parts))
            if part is not None:
                parts.append(part)
        shown = tuple(_as_text(part) for part in parts)
        return Completion(
            parts=shown,
            finish_reason=as_said(_finish(answer.stopReason or "", body), calls=has_calls(shown)),
            usage=_usage(answer.usage),
            model="",
            service_tier=_tier(answer.serviceTier),
            dialect=NAME,
            raw=body,
        )

    def stream_parser(self) -> BedrockStreamParser:
        """A parser for one streamed answer."""
        return BedrockStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means. Its type stands in a header, or in the body."""
        kind = headers.get("x-amzn-errortype") or _kind(body)
        return answered_error(status, headers, body, meant=_meant(kind), kind=kind)


class BedrockStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self._finished = False
        self._calls = 0
        self._open: _Call | None = None
        self._has_arguments = False

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended."""
        return self._finished

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds. Raises a `ProviderError` for an error or malformed data."""
        if event.name == "error" or event.name.endswith("Exception"):
            kind = event.name if event.name != "error" else _kind(event.data)
            raise streamed_error(event.data, _meant(kind))
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            raise unreadable(event.data, "an event of Converse", error) from error
        fields: dict[str, Any] = {}
        match event.name:
            case "contentBlockStart":
                fields = {"parts": self._begin(piece.start or _Start())}
            case "contentBlockDelta":
                fields = {"parts": self._delta(piece.delta or _Delta())}
            case "contentBlockStop":
                fields = {"parts": self._end()}
            case "messageStop":
                reason = _finish(piece.stopReason or "", event.data)
                self._finished = True
                fields = {"finish_reason": as_said(reason, calls=self._calls > 0)}
            case "metadata":
                fields = {"usage": _usage(piece.usage), "service_tier": _tier(piece.serviceTier)}
        return Chunk(**fields, dialect=NAME, raw=event.data, event=event.name)

    def _begin(self, start: _Start) -> tuple[Part, ...]:
        self._open, self._has_arguments = start.toolUse, False
        if self._open is None:
            return ()
        if self._open.name == ANSWER_TOOL:
            return ()
        self._calls += 1
        return (ToolCall(id=self._open.toolUseId, name=self._open.name, index=self._calls - 1),)

    def _delta(self, delta: _Delta) -> tuple[Part, ...]:
        if delta.text:
            return (Text(text=delta.text),)
        if delta.reasoningContent is not None:
            thought = parse_thought(delta.reasoningContent)
            return (thought,) if thought is not None else ()
        if delta.citation is not None:
            return (Text(text="", citations=(parse_citation(delta.citation),)),)
        if delta.toolUse is None or not delta.toolUse.input or self._open is None:
            return ()
        self._has_arguments = True
        if self._open.name == ANSWER_TOOL:
            return (Text(text=delta.toolUse.input),)
        return (ToolCall(arguments=delta.toolUse.input, index=self._calls - 1),)

    def _end(self) -> tuple[Part, ...]:
        """A call without arguments sends none at all: other dialects want an empty object."""
        call, self._open = self._open, None
        if call is None or call.name == ANSWER_TOOL or self._has_arguments:
            return ()
        return (ToolCall(arguments="{}", index=self._calls - 1),)


# --- what is read of an answer; the rest of it stays in `raw` --------------------------------------------------------


class _Message(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Written(msgspec.Struct):
    inputTokens: Count = 0
    ttl: str = ""


class _Usage(msgspec.Struct):
    inputTokens: Count | None = None
    """Neither read from the cache nor written to it."""
    outputTokens: Count | None = None
    """Includes thinking."""
    cacheReadInputTokens: Count | None = None
    cacheWriteInputTokens: Count | None = None
    cacheDetails: list[_Written] | None = None
    """The written ones, by how long they are kept."""


class _Tier(msgspec.Struct):
    type: str | None = None


class _Answer(msgspec.Struct):
    output: _Output | None = None
    stopReason: str | None = None
    usage: Any = None
    serviceTier: _Tier | None = None


class _Call(msgspec.Struct):
    toolUseId: str = ""
    name: str = ""


class _Start(msgspec.Struct):
    toolUse: _Call | None = None


class _Input(msgspec.Struct):
    input: str | None = None


class _Delta(msgspec.Struct):
    text: str | None = None
    toolUse: _Input | None = None
    reasoningContent: dict[str, Any] | None = None
    citation: dict[str, Any] | None = None


class _Piece(msgspec.Struct):
    start: _Start | None = None
    delta: _Delta | None = None
    stopReason: str | None = None
    usage: Any = None
    serviceTier: _Tier | None = None


class _Failure(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    code: str | None = None


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode
_decode_failure = msgspec.json.Decoder(_Failure).decode


def _kind(body: bytes) -> str:
    """The type of an error, where its body names it."""
    try:
        failure = _decode_failure(body)
    except UNREADABLE:
        return ""
    return failure.type or failure.code or ""


def _meant(kind: str) -> int | None:
    """The status that an error means, by its type: `ThrottlingException:http://…`, `com.amazon#throttlingException`."""
    name = kind.partition(":")[0].rpartition("#")[2]
    return _STATUSES.get(name[:1].upper() + name[1:])


def _finish(reason: str, raw: bytes) -> FinishReason:
    if reason in _FAILED:
        raise BadAnswerError(f"the model broke the answer off: {reason}", body=raw)
    return _FINISH_REASONS.get(reason, "stop")


def _as_text(part: Part) -> Part:
    """What the tool that takes the answer was given is the answer."""
    return Text(text=part.arguments) if isinstance(part, ToolCall) and part.name == ANSWER_TOOL else part


def _tier(tier: _Tier | None) -> str:
    return (tier and tier.type) or ""


def _usage(said: object) -> Usage | None:
    """Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html."""
    usage = read_counts(said, _Usage)
    if usage is None or (usage.inputTokens is None and usage.outputTokens is None):
        return None
    cached_tokens, cache_write_tokens = usage.cacheReadInputTokens or 0, usage.cacheWriteInputTokens or 0
    an_hour = sum(written.inputTokens for written in usage.cacheDetails or () if written.ttl == "1h")
    return Usage(
        input_tokens=(usage.inputTokens or 0) + cached_tokens + cache_write_tokens,
        output_tokens=usage.outputTokens or 0,
        cached_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=min(cache_write_tokens, an_hour),
    )
