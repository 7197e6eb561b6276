"""Anthropic Messages, as spoken to a provider. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.api_versions import FIRST, HEADERS, VERSION_HEADER, keep_to_version
from semroute.dialects.anthropic.content import NAME, parse_citation
from semroute.dialects.anthropic.models import family_of
from semroute.dialects.anthropic.provider_request import render_body
from semroute.dialects.anthropic.same_dialect import suit
from semroute.dialects.anthropic.usage import Counts, newer, tier_of, usage_of
from semroute.dialects.dialect import WireRequest
from semroute.dialects.shared.body_parsing import MINE, as_said, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    refuses,
    snippet,
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.field_limits import fitted
from semroute.dialects.shared.forwarded_headers import travelling
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.shared.thinking import seal
from semroute.dialects.shared.token_counts import read_counts
from semroute.dialects.sse import Event, EventParser
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    ChatRequest,
    Chunk,
    Citation,
    Completion,
    FinishReason,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)

FIRST_TO_KEEP = 5
"""From this generation on, some models read no other model's thinking blocks."""
ENDED, CALLS = "end_turn", "tool_use"
"""Some servers end an answer that calls tools as one that does not. Callers are told that it calls tools."""
_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicProviderDialect:
    """The Messages API of Anthropic, and of who else serves it."""

    name = NAME
    events = EventParser

    def __init__(self, version: str = "") -> None:
        """`version`: of the API, whatever callers say; empty: theirs, or the first."""
        self._version = version

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key, where there is one, and the API's version."""
        return {VERSION_HEADER: self._version or FIRST, **({"x-api-key": api_key} if api_key else {})}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """The caller's own body where it is Anthropic's, so that fields unknown here reach it, or a new one."""
        request = as_chat(request, self.name)
        if request.dialect == NAME:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in MINE}
            if request.params.user:  # Anthropic refuses any other metadata: the rest was for rules
                body["metadata"] = {"user_id": request.params.user}
            suit(body, request, model, dropped)
        else:
            dropped = Dropped(request.unread)
            body = render_body(request, model, dropped)
        body |= {"model": model.name, "stream": request.stream}
        headers = travelling(request, NAME, HEADERS, dropped)
        said = headers.pop(VERSION_HEADER, FIRST)
        version = self._version or said
        keep_to_version(body, version, dropped)
        if version not in (FIRST, self._version):
            headers[VERSION_HEADER] = version
        wire = fitted(NAME, body, request, model, dropped, path="/v1/messages")
        return msgspec.structs.replace(wire, headers=headers) if headers else wire

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises a `ProviderError` where it is none."""
        try:
            answer = _decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a message", error) from error
        if answer.error is not None or answer.type == "error":
            raise no_answer(body)
        if answer.content is None:
            raise no_answer(body, f"expected a message, got one without content: {snippet(body)}")
        parts = (*_parts(answer.content, _thinker(answer.model)), *_refusal(answer.stop_details))
        reason = _FINISH_REASONS.get(answer.stop_reason or "", "stop")
        usage = read_counts(answer.usage, Counts)
        if answer.stop_reason == ENDED and has_calls(parts):
            body = msgspec.json.encode({**msgspec.json.decode(body), "stop_reason": CALLS})
        return Completion(
            parts=parts,
            finish_reason=as_said(reason, calls=has_calls(parts)),
            usage=usage_of(usage),
            model=answer.model or "",
            id=answer.id or "",
            stop_sequence=answer.stop_sequence,
            service_tier=tier_of(usage),
            dialect=NAME,
            raw=_marked(body, parts),
        )

    def stream_parser(self) -> AnthropicStreamParser:
        """A parser for one streamed answer."""
        return AnthropicStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means. 529: Anthropic is overloaded."""
        return answered_error(status, headers, body)


class AnthropicStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self._finished = False
        self._usage = Counts()
        self._calls = 0
        self._open: _Block | None = None
        self._has_arguments = False
        self._id = self._model = self._thinker = ""

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended."""
        return self._finished

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds. Raises a `ProviderError` for an error or malformed data."""
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            raise unreadable(event.data, "an event of a message", error) from error
        if piece.type == "error" or event.name == "error" or (not piece.type and refuses(event.data)):
            raise streamed_error(event.data)
        fields: dict[str, Any] = {}
        match piece.type:
            case "message_start":
                self._start(piece.message or _Answer())
                fields = {"usage": usage_of(self._usage)}
            case "content_block_start":
                fields = {"parts": self._begin(piece.content_block or _Block())}
            case "content_block_delta":
                fields = {"parts": self._delta(piece.delta or _Delta())}
            case "content_block_stop":
                fields = {"parts": self._end()}
            case "message_delta":
                fields = self._close(piece.delta or _Delta(), piece.usage)
            case "message_stop":
                self._finished = True
        raw = self._passed_on(event.data, piece, fields)
        return Chunk(**fields, model=self._model, id=self._id, dialect=NAME, raw=raw, event=event.name)

    def _passed_on(self, raw: bytes, piece: _Piece, fields: dict[str, Any]) -> bytes:
        """Return the event as callers of this dialect get it."""
        delta = piece.delta
        if delta is not None and delta.stop_reason == ENDED and self._calls:
            said = msgspec.json.decode(raw)
            return msgspec.json.encode({**said, "delta": {**said["delta"], "stop_reason": CALLS}})
        if self._thinker and (piece.content_block is not None or (delta is not None and delta.signature)):
            return _marked(raw, fields["parts"])
        return raw

    def _start(self, message: _Answer) -> None:
        self._id, self._model = message.id or "", message.model or ""
        self._thinker = _thinker(message.model)
        self._usage = read_counts(message.usage, Counts) or self._usage

    def _begin(self, block: _Block) -> tuple[Part, ...]:
        self._open, self._has_arguments = block, False
        if block.type == "tool_use" and block.name != ANSWER_TOOL:
            self._calls += 1
            return (ToolCall(id=block.id or "", name=block.name or "", index=self._calls - 1),)
        if block.type == "tool_use":
            return ()
        return _block_parts(block, 0, self._thinker)

    def _delta(self, delta: _Delta) -> tuple[Part, ...]:
        if delta.text:
            return (Text(text=delta.text),)
        if delta.thinking:
            return (Thinking(text=delta.thinking),)
        if delta.signature:
            return (Thinking(signature=delta.signature, origin=NAME, model=self._thinker),)
        if delta.citation is not None:
            return (Text(text="", citations=(parse_citation(delta.citation),)),)
        return self._arguments(delta.partial_json)

    def _arguments(self, piece: str | None) -> tuple[Part, ...]:
        block = self._open
        if not piece or block is None or block.type != "tool_use":
            return ()
        self._has_arguments = True
        if block.name == ANSWER_TOOL:
            return (Text(text=piece),)
        return (ToolCall(arguments=piece, index=self._calls - 1),)

    def _end(self) -> tuple[Part, ...]:
        """A call without arguments sends none at all: other dialects want an empty object."""
        block, self._open = self._open, None
        if block is None or block.type != "tool_use" or self._has_arguments:
            return ()
        arguments = _json(block.input)  # some servers send them with the start
        if block.name == ANSWER_TOOL:
            return (Text(text=arguments),) if block.input else ()
        return (ToolCall(arguments=arguments, index=self._calls - 1),)

    def _close(self, delta: _Delta, said: object) -> dict[str, Any]:
        usage = read_counts(said, Counts)
        if usage is not None:
            self._usage = newer(self._usage, usage)
        if delta.stop_reason is None:
            return {"usage": usage_of(self._usage)}
        self._finished = True
        reason = _FINISH_REASONS.get(delta.stop_reason, "stop")
        return {
            "parts": _refusal(delta.stop_details),
            "finish_reason": as_said(reason, calls=self._calls > 0),
            "stop_sequence": delta.stop_sequence,
            "usage": usage_of(self._usage),
            "service_tier": tier_of(self._usage),
        }


# --- what is read of an answer; the rest of it stays in `raw` --------------------------------------------------------


class _StopDetails(msgspec.Struct):
    """Why the model declined. Source: https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback."""

    category: str | None = None
    explanation: str | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    citations: list[dict[str, Any]] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Answer(msgspec.Struct):
    id: str | None = None
    type: str | None = None
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None
    usage: Any = None
    error: Any = None


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None


class _Piece(msgspec.Struct):
    type: str = ""
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode


def _parts(blocks: list[_Block], thinker: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for block in blocks:
        if block.type == "tool_use" and block.name == ANSWER_TOOL:
            parts.append(Text(text=_json(block.input)))
        else:
            parts += _block_parts(block, sum(isinstance(part, ToolCall) for part in parts), thinker)
    return tuple(parts)


def _block_parts(block: _Block, index: int, thinker: str) -> tuple[Part, ...]:
    match block.type:
        case "text":
            citations: tuple[Citation, ...] = tuple(parse_citation(each) for each in block.citations or ())
            return (Text(text=block.text, citations=citations),) if block.text else ()
        case "thinking":
            signature = block.signature or ""
            thought = Thinking(text=block.thinking or "", signature=signature, origin=NAME, model=thinker)
            return (thought,) if thought.text or thought.signature else ()
        case "redacted_thinking":
            return (Thinking(signature=block.data or "", origin=NAME, model=thinker, redacted=True),)
        case "tool_use":
            return (ToolCall(id=block.id or "", name=block.name or "", arguments=_json(block.input), index=index),)
        case kind:
            return (Opaque(kind=kind),)


def _json(value: object) -> str:
    return msgspec.json.encode({} if value is None else value).decode()


def _refusal(details: _StopDetails | None) -> tuple[Part, ...]:
    """Why the model declined, where it says so in words."""
    return (Refusal(text=details.explanation),) if details is not None and details.explanation else ()


def _thinker(model: str | None) -> str:
    """The kind of model whose thoughts are marked as its own: those of the generations that read no others'."""
    family = family_of(model or "")
    return family if family and int(family.split("-")[1]) >= FIRST_TO_KEEP else ""


def _marked(raw: bytes, parts: tuple[Part, ...]) -> bytes:
    """A provider's body whose signatures say which model's they are: a later request may go to another one."""
    for part in parts:
        if isinstance(part, Thinking) and part.model and part.signature:
            raw = _sealed(raw, part)
    return raw


def _sealed(raw: bytes, thought: Thinking) -> bytes:
    written = rb'("(?:signature|data)"\s*:\s*)' + re.escape(msgspec.json.encode(thought.signature))
    sealed = msgspec.json.encode(seal(thought, NAME))
    return re.sub(written, lambda match: match[1] + sealed, raw, count=1)
