"""Reads streamed answers of Converse.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.bedrock.content import NAME, parse_citation, parse_thought
from semroute.dialects.bedrock.provider_answer import Tier, finish_reason_of, kind_of, meant_by, tier_of, usage_of
from semroute.dialects.shared.error_bodies import (
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.finish_and_token_counts import as_said
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.sse import Event
from semroute.json_errors import UNREADABLE
from semroute.messages import Chunk, Part, Text, ToolCall


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
    contentBlockIndex: int = 0
    start: _Start | None = None
    delta: _Delta | None = None
    stopReason: str | None = None
    usage: Any = None
    serviceTier: Tier | None = None


class _Open(msgspec.Struct):
    """A call that has begun and not ended."""

    name: str
    number: int
    has_arguments: bool = False


_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode


class BedrockStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self.finished = False
        """Whether the answer has said why it ended."""
        self._calls = 0
        self._open: dict[int, _Open] = {}
        """The open calls, by the index of their block."""

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event. Raises a `ProviderError` for an error or malformed data."""
        if event.name == "error" or event.name.endswith("Exception"):
            kind = event.name if event.name != "error" else kind_of(event.data)
            raise streamed_error(event.data, meant_by(kind))
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            raise unreadable(event.data, "an event of Converse", error) from error
        fields: dict[str, Any] = {}
        match event.name:
            case "contentBlockStart":
                fields = {"parts": self._begin(piece.start or _Start(), piece.contentBlockIndex)}
            case "contentBlockDelta":
                fields = {"parts": self._delta(piece.delta or _Delta(), piece.contentBlockIndex)}
            case "contentBlockStop":
                fields = {"parts": self._end(piece.contentBlockIndex)}
            case "messageStop":
                reason = finish_reason_of(piece.stopReason or "", event.data)
                self.finished = True
                fields = {"finish_reason": as_said(reason, calls=self._calls > 0)}
            case "metadata":
                fields = {"usage": usage_of(piece.usage), "service_tier": tier_of(piece.serviceTier)}
        return Chunk(**fields, dialect=NAME, raw=event.data, event=event.name)

    def _begin(self, start: _Start, index: int) -> tuple[Part, ...]:
        call = start.toolUse
        if call is None:
            return ()
        opened = self._open[index] = _Open(call.name, self._calls)
        if call.name == ANSWER_TOOL:
            return ()
        self._calls += 1
        return (ToolCall(id=call.toolUseId, name=call.name, index=opened.number),)

    def _delta(self, delta: _Delta, index: int) -> tuple[Part, ...]:
        if delta.text:
            return (Text(text=delta.text),)
        if delta.reasoningContent is not None:
            thought = parse_thought(delta.reasoningContent)
            return (thought,) if thought is not None else ()
        if delta.citation is not None:
            return (Text(text="", citations=(parse_citation(delta.citation),)),)
        opened = self._open.get(index)
        if delta.toolUse is None or not delta.toolUse.input or opened is None:
            return ()
        opened.has_arguments = True
        if opened.name == ANSWER_TOOL:
            return (Text(text=delta.toolUse.input),)
        return (ToolCall(arguments=delta.toolUse.input, index=opened.number),)

    def _end(self, index: int) -> tuple[Part, ...]:
        """End a block. A call without arguments has sent none, but other dialects need an empty object."""
        opened = self._open.pop(index, None)
        if opened is None or opened.name == ANSWER_TOOL or opened.has_arguments:
            return ()
        return (ToolCall(arguments="{}", index=opened.number),)
