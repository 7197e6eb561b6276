"""Writes streamed answers in Gemini's form. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects import sse
from semroute.dialects.gemini.client_answer import (
    BAD_REQUEST,
    STATUSES,
    error_body,
    own_error,
    render_candidate,
    render_piece,
)
from semroute.dialects.gemini.content import NAME
from semroute.dialects.shared.error_kinds import error_in_stream, error_kind
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
    FinishReason,
    ToolCall,
    Usage,
)
from semroute.record import Record


class GeminiStream:
    """Writes events that are answers with the next piece. Tool calls are sent whole, at the end."""

    def __init__(self, request: ChatRequest) -> None:
        self._id = request.id
        self._model = self._tier = ""
        self._calls: dict[int, ToolCall] = {}
        self._usage: Usage | None = None
        self._finish_reason: FinishReason | None = None
        self._native = False

    @property
    def keep_alive(self) -> bytes:
        """The start of the next event, until the answer has ended.

        Google's libraries read comments as JSON, and the older ones for JavaScript fail on blank lines too
        (google-genai 3.6.1; @google/genai 1.30.0, @google/generative-ai 0.24.1). White space inside an event does no
        harm.
        """
        return sse.OPENING if self._finish_reason is None else b""

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk. A provider's event in this dialect is passed on unchanged."""
        self._model = chunk.model or self._model
        self._tier = chunk.service_tier or self._tier
        self._usage = chunk.usage or self._usage
        self._finish_reason = chunk.finish_reason or self._finish_reason
        if chunk.dialect == NAME:
            self._native = True
            self._id = chunk.id or self._id
            return sse.render(chunk.raw)
        if chunk.parts or chunk.finish_reason is not None:
            self._native = False  # another model goes on, and the end is rendered here
        for part in chunk.parts:
            if isinstance(part, ToolCall):
                before = self._calls.get(part.index, part)
                arguments = before.arguments + part.arguments if part.index in self._calls else part.arguments
                name = before.name if part.id or before is part else before.name + part.name  # it may come in pieces
                self._calls[part.index] = msgspec.structs.replace(before, name=name, arguments=arguments)
        said = tuple([part for part in chunk.parts if not isinstance(part, ToolCall)])
        candidate = render_candidate(said, None, chunk.logprobs)
        return self._event(candidate) if candidate["content"]["parts"] or "citationMetadata" in candidate else b""

    def end(self, record: Record) -> bytes:
        """Render the tool calls, the finish reason and the usage. Empty if the provider has sent them itself."""
        if self._native:
            return b""
        calls = tuple(call for _, call in sorted(self._calls.items()))
        return self._event(render_candidate(calls, self._finish_reason or "stop"), self._usage or record.usage)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render an error as an event, and once more as bare JSON, as Google itself sends it.

        Google's older libraries for JavaScript raise only on the bare JSON. Libraries of others raise on the event.
        """
        number, _ = STATUSES.get(error_kind(error, status), BAD_REQUEST)
        ours = error_body(error, status)["error"] | {"code": number}
        told = msgspec.json.encode({"error": own_error(error_in_stream(error)) or ours})
        return sse.render(told) + told

    def _event(self, candidate: dict[str, Any], usage: Usage | None = None) -> bytes:
        return sse.render(msgspec.json.encode(render_piece(candidate, usage, self._tier, self._model, self._id)))
