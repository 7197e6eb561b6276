"""Writes streamed answers of semroute's own dialect."""

from __future__ import annotations

from typing import Any

from semroute.decision import Decision
from semroute.dialects import sse
from semroute.dialects.native.client_answer import account_of, encoder, error_body
from semroute.errors import SemrouteError
from semroute.messages import Chunk, Text, Thinking, ToolCall, Usage
from semroute.record import Record


class NativeStream:
    """Writes events named `decision`, `delta`, then `end` (usage and cost) or `error`."""

    keep_alive = sse.KEEP_ALIVE

    def __init__(self, decision: Decision) -> None:
        self._decision: Decision | None = decision
        self._usage: Usage | None = None

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk as a `delta`. The decision comes before the first."""
        head = b""
        if self._decision is not None:
            head, self._decision = sse.render(encoder.encode(self._decision), "decision"), None
        self._usage = chunk.usage or self._usage
        delta: dict[str, Any] = {}
        text = "".join(part.text for part in chunk.parts if isinstance(part, Text))
        thinking = "".join(part.text for part in chunk.parts if isinstance(part, Thinking))
        calls = [part for part in chunk.parts if isinstance(part, ToolCall)]
        if text:
            delta["content"] = text
        if thinking:
            delta["thinking"] = thinking
        if calls:
            delta["tool_calls"] = calls
        if chunk.finish_reason:
            delta["finish_reason"] = chunk.finish_reason
        return head + sse.render(encoder.encode(delta), "delta") if delta else head

    def end(self, record: Record) -> bytes:
        """Render the usage and the cost."""
        account = account_of(record) | ({"usage": self._usage} if self._usage is not None else {})
        return sse.render(encoder.encode({"model": record.model, **account}), "end")

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render an `error` event with the usage so far. No `end` follows."""
        consumed = {"usage": self._usage} if self._usage is not None else {}
        return sse.render(encoder.encode(error_body(error) | consumed), "error")
