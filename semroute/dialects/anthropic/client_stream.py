"""Writes streamed answers in Anthropic's form.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import msgspec

from semroute.dialects import sse
from semroute.dialects.anthropic.client_answer import (
    render_citation,
    render_usage,
    stop_details,
    stop_reason,
    streamed_error,
    thinking_block,
)
from semroute.dialects.anthropic.content import NAME
from semroute.dialects.shared.thinking import seal, signed_id
from semroute.errors import SemrouteError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    ChatRequest,
    Chunk,
    Citation,
    FinishReason,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from semroute.record import Record


class _PassedBlock(msgspec.Struct):
    type: str = ""


class _Passed(msgspec.Struct):
    """The fields that are read of an event that was passed on unchanged."""

    type: str = ""
    index: int = 0
    content_block: _PassedBlock = msgspec.field(default_factory=_PassedBlock)


class AnthropicStream:
    """Writes `message_start`, then the events of each block, then `message_delta` and `message_stop`.

    Only one block is open at a time. If a provider mixes the pieces of several tool calls, the pieces of later calls
    wait.
    """

    keep_alive = sse.KEEP_ALIVE

    def __init__(self, request: ChatRequest, input_tokens: int = 0) -> None:
        """`input_tokens` is an estimate of the request's tokens, until the provider has counted them."""
        self._id = request.id
        self._input_tokens = input_tokens
        self._started = False
        self._stopped = False
        self._native = False
        self._passed: list[bytes] = []
        """The provider's own events except deltas."""
        self._index = -1
        self._kind: tuple[str, int] | None = None
        self._arguments = ""
        self._is_whole: bool | None = None
        """Whether the arguments of the open call are complete. None: more has come since that was looked at."""
        self._thought = Thinking()
        self._waiting: dict[int, list[ToolCall]] = {}
        self._order: list[int] = []
        """The indexes of the waiting calls, as a heap."""
        self._usage = Usage()
        self._finish_reason: FinishReason | None = None
        self._stop_sequence: str | None = None
        self._refused = ""

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk. A provider's event in this dialect is passed on unchanged."""
        self._usage = chunk.usage or self._usage
        self._finish_reason = chunk.finish_reason or self._finish_reason
        self._stop_sequence = chunk.stop_sequence or self._stop_sequence
        if chunk.dialect == NAME:
            self._native = True
            self._stopped = self._stopped or chunk.event == "message_stop"
            if b"content_block_delta" not in chunk.raw:
                self._passed.append(chunk.raw)
            return sse.render(chunk.raw, chunk.event)
        if self._native:
            if not chunk.parts and chunk.finish_reason is None:
                return b""
            self._go_on()
        head = b"" if self._started else self._start(chunk.model, chunk.service_tier)
        return head + b"".join([self._part(part) for part in chunk.parts])

    def end(self, record: Record) -> bytes:
        """Render what ends the message. Empty if the provider has sent that itself."""
        if self._stopped:
            return b""
        if self._native:
            return _event({"type": "message_stop"})
        head = b"" if self._started else self._start(record.model or "")
        usage = self._usage if self._usage != Usage() else record.usage
        delta = {
            "stop_reason": stop_reason(self._finish_reason or "stop", self._stop_sequence),
            "stop_sequence": self._stop_sequence,
            **stop_details(self._finish_reason, self._refused),
        }
        closing = {"type": "message_delta", "delta": delta, "usage": render_usage(usage)}
        return head + self._flush() + _event(closing) + _event({"type": "message_stop"})

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render an `error` event, on which the official clients raise. No `message_stop` follows."""
        return sse.render(streamed_error(self._id, error, status), "error")

    def _go_on(self) -> None:
        """Prepare for another model, which goes on after the provider's own events, in the open or the next block."""
        self._native, self._started = False, True
        for raw in self._passed:
            event = msgspec.json.decode(raw, type=_Passed)
            if event.type == "content_block_start":
                self._index, self._kind = event.index, (event.content_block.type, 0)
            elif event.type == "content_block_stop":
                self._kind = None
        self._passed = []

    def _start(self, model: str, tier: str = "") -> bytes:
        """Start the message. Most providers count at the end, so the input is an estimate here, and the output is 0."""
        self._started = True
        usage = self._usage if self._usage.input_tokens else Usage(input_tokens=self._input_tokens)
        usage = msgspec.structs.replace(usage, output_tokens=0, reasoning_tokens=0)
        message: dict[str, Any] = {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": render_usage(usage, tier),
        }
        return _event({"type": "message_start", "message": message}) + _event({"type": "ping"})

    def _part(self, part: Part) -> bytes:
        match part:
            case Text(text=text, citations=citations):
                opened = self._open("text", {"type": "text", "text": ""})
                texts = self._delta({"type": "text_delta", "text": text}) if text else b""
                return opened + texts + b"".join(self._cite(citation) for citation in citations)
            case Refusal(text=text):
                self._refused += text
                return self._open("text", {"type": "text", "text": ""}) + self._delta(
                    {"type": "text_delta", "text": text}
                )
            case Thinking(redacted=True):
                return self._open("redacted", thinking_block(part)) + self._close()
            case Thinking():
                return self._thinking(part)
            case ToolCall():
                return self._tool_call(part)
            case _:
                return b""

    def _thinking(self, part: Thinking) -> bytes:
        events = self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if part.text:
            events += self._delta({"type": "thinking_delta", "thinking": part.text})
        if part.signature:
            self._thought = part
            events += self._close()
        return events

    def _cite(self, citation: Citation) -> bytes:
        return self._delta({"type": "citations_delta", "citation": render_citation(citation)})

    def _tool_call(self, call: ToolCall) -> bytes:
        if self._kind is None or self._kind[0] != "tool_use" or self._kind[1] == call.index:
            return self._tool_piece(call)
        if call.index not in self._waiting:
            heapq.heappush(self._order, call.index)
        self._waiting.setdefault(call.index, []).append(call)
        return b"".join(self._waited())

    def _waited(self, *, all_: bool = False) -> Iterator[bytes]:
        """Send calls that wait, in order, while the open one is complete. `all_`: send them in any case."""
        while self._order and (all_ or self._complete):
            for call in self._waiting.pop(heapq.heappop(self._order)):
                yield self._tool_piece(call)

    @property
    def _complete(self) -> bool:
        if self._is_whole is None:
            self._is_whole = _is_complete(self._arguments)
        return self._is_whole

    def _tool_piece(self, call: ToolCall) -> bytes:
        block = {"type": "tool_use", "id": signed_id(call), "name": call.name, "input": {}}
        opened = self._open("tool_use", block, call.index)
        if not call.arguments:
            return opened
        self._arguments, self._is_whole = self._arguments + call.arguments, None
        return opened + self._delta({"type": "input_json_delta", "partial_json": call.arguments})

    def _open(self, kind: str, block: dict[str, Any], index: int = 0) -> bytes:
        """Start a block, unless it is already open."""
        if self._kind == (kind, index):
            return b""
        closing = self._close() if kind == "tool_use" else self._flush()
        self._kind, self._arguments, self._is_whole = (kind, index), "", None
        self._index += 1
        return closing + _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if self._kind is None:
            return b""
        signature = b""
        if self._kind[0] == "thinking":
            signature = self._delta({"type": "signature_delta", "signature": seal(self._thought, NAME)})
            self._thought = Thinking()
        self._kind = None
        return signature + _event({"type": "content_block_stop", "index": self._index})

    def _flush(self) -> bytes:
        """Send the waiting calls and close the open block."""
        return b"".join(self._waited(all_=True)) + self._close()


def _event(data: dict[str, Any]) -> bytes:
    return sse.render(msgspec.json.encode(data), data["type"])


def _is_complete(arguments: str) -> bool:
    try:
        msgspec.json.decode(arguments)
    except UNREADABLE:
        return False
    return True
