"""Streamed answers in Gemini's form. Source: https://ai.google.dev/api/generate-content."""

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
from semroute.dialects.shared.error_kinds import told_inside, trouble_of
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
    """An answer an event, each with the next piece. A tool call is sent whole, when it is."""

    def __init__(self, request: ChatRequest) -> None:
        self._id = request.id
        self._model = self._tier = ""
        self._calls: dict[int, ToolCall] = {}
        self._usage: Usage | None = None
        self._finish_reason: FinishReason | None = None
        self._native = False

    @property
    def keep_alive(self) -> bytes:
        """The beginning of the next event, as long as one must come.

        Google's libraries take comments for JSON, and the older ones for JavaScript also trip over blank lines
        (google-genai 3.6.1; @google/genai 1.30.0, @google/generative-ai 0.24.1). White space inside of an event passes.
        """
        return sse.OPENING if self._finish_reason is None else b""

    def chunk(self, chunk: Chunk) -> bytes:
        """The provider's own event where it speaks this dialect, else one in its form."""
        self._model = chunk.model or self._model
        self._tier = chunk.service_tier or self._tier
        self._usage = chunk.usage or self._usage
        self._finish_reason = chunk.finish_reason or self._finish_reason
        if chunk.dialect == NAME:
            self._native = True
            self._id = chunk.id or self._id
            return sse.render(chunk.raw)
        if chunk.parts or chunk.finish_reason is not None:
            self._native = False  # another model goes on, and says here why it ended
        for part in chunk.parts:
            if isinstance(part, ToolCall):
                before = self._calls.get(part.index, part)
                arguments = before.arguments + part.arguments if part.index in self._calls else part.arguments
                self._calls[part.index] = msgspec.structs.replace(before, arguments=arguments)
        said = tuple(part for part in chunk.parts if not isinstance(part, ToolCall))
        candidate = render_candidate(said, None, chunk.logprobs)
        return self._event(candidate) if candidate["content"]["parts"] or "citationMetadata" in candidate else b""

    def end(self, record: Record) -> bytes:
        """The calls, why it ended, and usage; nothing where the provider sent them."""
        if self._native:
            return b""
        calls = tuple(call for _, call in sorted(self._calls.items()))
        return self._event(render_candidate(calls, self._finish_reason or "stop"), self._usage or record.usage)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """An error in place of an answer, and once more without `data:`, as Google itself sends it.

        Google's older libraries for JavaScript raise on the second alone, other people's libraries on the first.
        """
        number, _ = STATUSES.get(trouble_of(error, status), BAD_REQUEST)
        ours = error_body(error, status)["error"] | {"code": number}
        told = msgspec.json.encode({"error": own_error(told_inside(error)) or ours})
        return sse.render(told) + told

    def _event(self, candidate: dict[str, Any], usage: Usage | None = None) -> bytes:
        return sse.render(msgspec.json.encode(render_piece(candidate, usage, self._tier, self._model, self._id)))
