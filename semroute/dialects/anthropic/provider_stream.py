"""Reads streamed answers of a provider. Source: https://platform.claude.com/docs/en/build-with-claude/streaming."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.anthropic.content import NAME, parse_citation
from semroute.dialects.anthropic.provider_answer import (
    AnthropicAnswer,
    Block,
    Counts,
    StopDetails,
    block_parts,
    ended_by,
    json_text,
    marked,
    newer,
    refusal_of,
    thinker_of,
    tier_of,
    usage_of,
)
from semroute.dialects.shared.error_bodies import (
    refuses,
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.finish_and_token_counts import read_counts
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.sse import NOTHING, Event
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    Chunk,
    Part,
    Text,
    Thinking,
    ToolCall,
)


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class _Piece(msgspec.Struct):
    type: str = ""
    index: int | None = None
    message: AnthropicAnswer | None = None
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: Any = None


class _Open(msgspec.Struct):
    """A block that has begun and not ended."""

    block: Block
    call: int
    """The number of the call, if it is one."""
    has_arguments: bool = False


_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode


class AnthropicStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self.finished = False
        """Whether the answer has said why it ended."""
        self._usage = Counts()
        self._calls = 0
        self._open: dict[int, _Open] = {}
        """The open blocks, by index. Some servers begin a block before the one before it has ended."""
        self._last = 0
        """The index of the block that began last."""
        self._id = self._model = self._thinker = ""

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event. Raises a `ProviderError` for an error or malformed data."""
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            if event.data.strip() in NOTHING:
                return None
            raise unreadable(event.data, "an event of a message", error) from error
        if piece.type == "error" or event.name == "error" or (not piece.type and refuses(event.data)):
            raise streamed_error(event.data)
        fields: dict[str, Any] = {}
        match piece.type:
            case "message_start":
                self._start(piece.message or AnthropicAnswer())
                fields = {"usage": usage_of(self._usage)}
            case "content_block_start":
                fields = {"parts": self._begin(piece.content_block or Block(), piece.index)}
            case "content_block_delta":
                fields = {"parts": self._delta(piece.delta or _Delta(), piece.index)}
            case "content_block_stop":
                fields = {"parts": self._end(self._last if piece.index is None else piece.index)}
            case "message_delta":
                fields = self._close(piece.delta or _Delta(), piece.usage)
            case "message_stop":
                fields = self._stop()
        raw = self._passed_on(event.data, piece, fields)
        return Chunk(**fields, model=self._model, id=self._id, dialect=NAME, raw=raw, event=event.name)

    def _passed_on(self, raw: bytes, piece: _Piece, fields: dict[str, Any]) -> bytes:
        """Return the event as callers of this dialect get it."""
        delta = piece.delta
        if delta is not None and delta.stop_reason is not None:
            _, word = ended_by(delta.stop_reason, calls=self._calls > 0)
            if word != delta.stop_reason:
                said = msgspec.json.decode(raw)
                return msgspec.json.encode({**said, "delta": {**said["delta"], "stop_reason": word}})
        if self._thinker and (piece.content_block is not None or (delta is not None and delta.signature)):
            return marked(raw, fields["parts"])
        return raw

    def _start(self, message: AnthropicAnswer) -> None:
        self._id, self._model = message.id or "", message.model or ""
        self._thinker = thinker_of(message.model)
        self._usage = read_counts(message.usage, Counts) or self._usage

    def _begin(self, block: Block, index: int | None) -> tuple[Part, ...]:
        self._last = self._last if index is None else index
        before = self._end(self._last)  # some servers give all blocks one index, and do not end them
        opened = self._open[self._last] = _Open(block, self._calls)
        if block.type == "tool_use" and block.name != ANSWER_TOOL:
            self._calls += 1
            return (*before, ToolCall(id=block.id or "", name=block.name or "", index=opened.call))
        if block.type == "tool_use":
            return before
        return (*before, *block_parts(block, 0, self._thinker))

    def _delta(self, delta: _Delta, index: int | None) -> tuple[Part, ...]:
        if delta.text:
            return (Text(text=delta.text),)
        if delta.thinking:
            return (Thinking(text=delta.thinking),)
        if delta.signature:
            return (Thinking(signature=delta.signature, origin=NAME, model=self._thinker),)
        if delta.citation is not None:
            return (Text(text="", citations=(parse_citation(delta.citation),)),)
        return self._arguments(delta.partial_json, index)

    def _arguments(self, piece: str | None, index: int | None) -> tuple[Part, ...]:
        opened = self._open.get(self._last if index is None else index)
        if not piece or opened is None or opened.block.type != "tool_use":
            return ()
        opened.has_arguments = True
        if opened.block.name == ANSWER_TOOL:
            return (Text(text=piece),)
        return (ToolCall(arguments=piece, index=opened.call),)

    def _end(self, index: int) -> tuple[Part, ...]:
        """End a block. A call without arguments has sent none, but other dialects need an empty object."""
        opened = self._open.pop(index, None)
        if opened is None or opened.block.type != "tool_use" or opened.has_arguments:
            return ()
        arguments = json_text(opened.block.input)  # some servers send arguments with the start
        if opened.block.name == ANSWER_TOOL:
            return (Text(text=arguments),) if opened.block.input else ()
        return (ToolCall(arguments=arguments, index=opened.call),)

    def _end_all(self) -> tuple[Part, ...]:
        """End the blocks that the server has not ended."""
        return tuple([part for index in tuple(self._open) for part in self._end(index)])

    def _stop(self) -> dict[str, Any]:
        """End the answer. Some servers have not said why it ended."""
        if self.finished:
            return {}
        self.finished = True
        reason, _ = ended_by(None, calls=self._calls > 0)
        return {"parts": self._end_all(), "finish_reason": reason}

    def _close(self, delta: _Delta, said: object) -> dict[str, Any]:
        usage = read_counts(said, Counts)
        if usage is not None:
            self._usage = newer(self._usage, usage)
        if delta.stop_reason is None:
            return {"usage": usage_of(self._usage)}
        self.finished = True
        reason, _ = ended_by(delta.stop_reason, calls=self._calls > 0)
        return {
            "parts": (*self._end_all(), *refusal_of(delta.stop_details)),
            "finish_reason": reason,
            "stop_sequence": delta.stop_sequence,
            "usage": usage_of(self._usage),
            "service_tier": tier_of(self._usage),
        }
