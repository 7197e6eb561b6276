"""Writes streamed answers in Ollama's form: one JSON object on each line. Source: https://docs.ollama.com/api."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from semroute.dialects.ollama.client_answer import Said, account_of, now
from semroute.dialects.ollama.content import render_call, render_logprobs, texts_of_parts
from semroute.dialects.shared.body_parsing import message_of
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
    FinishReason,
    ToolCall,
    Usage,
)
from semroute.record import Record

LINES: Final = "application/x-ndjson"
"""The media type of a streamed answer."""
SILENT: Final = (
    b'{"model":"","created_at":"1970-01-01T00:00:00Z","message":{"role":"assistant","content":""},"response":"",'
    b'"done":false}\n'
)
"""A line without content, which keeps the connection alive. It fits both `/api/chat` and `/api/generate`."""


class OllamaStream:
    """Writes one JSON object on each line. The last has `done` and the token counts. Tool calls are sent whole."""

    keep_alive = SILENT

    def __init__(self, request: ChatRequest, said: Said) -> None:
        self._said = said
        self._model = ""
        self._calls: dict[int, ToolCall] = {}
        self._usage: Usage | None = None
        self._finish_reason: FinishReason = "stop"

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk as a line."""
        self._usage = chunk.usage or self._usage
        self._model = chunk.model or self._model
        self._finish_reason = chunk.finish_reason or self._finish_reason
        for part in chunk.parts:
            if isinstance(part, ToolCall):
                begun = self._calls.get(part.index, ToolCall(index=part.index))
                self._calls[part.index] = ToolCall(
                    id=begun.id or part.id,
                    name=begun.name + part.name if not part.id else begun.name or part.name,  # it may come in pieces
                    arguments=begun.arguments + part.arguments,
                    index=part.index,
                    signature=begun.signature or part.signature,
                )
        text, thinking = texts_of_parts(chunk.parts)
        if not text and not thinking:
            return b""
        logprobs = {"logprobs": render_logprobs(chunk.logprobs)} if chunk.logprobs else {}
        return self._line(self._said(text, thinking, []) | logprobs | {"done": False})

    def end(self, record: Record) -> bytes:
        """Render the tool calls, and the last line."""
        calls = [render_call(call) for _, call in sorted(self._calls.items())]
        lines = self._line(self._said("", "", calls) | {"done": False}) if calls else b""
        account = account_of(self._finish_reason, self._usage or record.usage, record)
        return lines + self._line(self._said("", "", []) | account)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render a line with the error. No line with `done` follows."""
        return msgspec.json.encode({"error": message_of(error)}) + b"\n"

    def _line(self, fields: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"model": self._model, "created_at": now(), **fields}) + b"\n"
