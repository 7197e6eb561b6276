"""Reads streamed answers of Gemini. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from semroute.dialects.gemini.provider_answer import AnswerReader, decode
from semroute.dialects.shared.error_bodies import refuses, streamed_error
from semroute.dialects.sse import NOTHING, Event
from semroute.errors import BadAnswerError
from semroute.messages import (
    Chunk,
)


class GeminiStreamParser:
    """Reads the events of one streamed answer. Each is an answer with the next piece."""

    def __init__(self) -> None:
        self._reader = AnswerReader()

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended."""
        return self._reader.finished

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event. Raises a `ProviderError` for an error or malformed data."""
        try:
            answer = decode(event.data, event.data)
        except BadAnswerError:
            if event.data.strip() in NOTHING:
                return None
            raise
        if answer.error is not None:
            raise streamed_error(event.data)
        if answer.says_nothing and not refuses(event.data):
            return None
        return self._reader.read(answer, event.data)
