"""Reads streamed answers of a provider. Source: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.config.presets import PLAIN, Preset
from semroute.dialects.openai.content import parse_logprobs
from semroute.dialects.openai.provider_answer import ChatSaid, Logprobs, ended_by, finish_reason_of, parts_of, usage_of
from semroute.dialects.shared.error_bodies import (
    describe,
    refuses,
    streamed_error,
)
from semroute.dialects.sse import Event
from semroute.errors import MalformedChunkError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    Chunk,
    FinishReason,
    Part,
    ToolCall,
)


class ChoicePiece(msgspec.Struct):
    """A piece of one choice."""

    index: int = 0
    delta: ChatSaid | None = None
    message: ChatSaid | None = None
    """The whole message, as some servers send it in one piece."""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Piece(msgspec.Struct):
    """One event."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[ChoicePiece] | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None


decode_piece = msgspec.json.Decoder(Piece, strict=False).decode


class OpenAIStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self, preset: Preset = PLAIN) -> None:
        self._preset = preset
        self._open: set[int] = set()
        self._ended = False
        self._ids: dict[int, str] = {}
        """Ids of the calls, by the index that the parser gives them."""
        self._places: dict[int, int] = {}
        """The index that the parser gives a call, by the server's index."""
        self._calling: set[int] = set()
        """Choices other than the first that call tools."""
        self._closed: set[int] = set()
        """Choices that have ended. Later events, such as usage, do not open them again."""
        self._said = False
        self._anew = False
        """The content is a list, which OpenAI's clients cannot read. The rest of the answer is rendered anew."""

    @property
    def finished(self) -> bool:
        """Whether every choice has said why it ended."""
        return self._ended and not self._open

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event, if any. Raises a `ProviderError` for an error or malformed data."""
        data = event.data.strip()
        if not data or data == b"[DONE]":
            return None
        try:
            piece = decode_piece(data)
        except UNREADABLE as error:
            if refuses(data):
                raise streamed_error(data) from error
            got = describe(data, error)
            raise MalformedChunkError(f"expected a chunk of a completion, got {got}", body=data) from error
        if piece.error or piece.object == "error" or event.name == "error":
            raise streamed_error(data)
        if piece.choices is None and piece.usage is None and refuses(data):
            raise streamed_error(data)
        said_reason: FinishReason | None = None
        first, raw = ChoicePiece(), event.data
        for choice in piece.choices or ():
            reason = self._follow(choice)
            if choice.index == 0:
                first, said_reason = choice, reason
            else:
                raw = self._beside(choice, reason, raw)
        self._anew = self._anew or (first.delta is not None and type(first.delta.content) is list)
        whole = first.message is not None and not self._said and not parts_of(first.delta or ChatSaid())
        said = first.message if whole else first.delta
        parts = parts_of(said) if said is not None else ()
        if said is not None and (said.tool_calls or said.function_call is not None):
            parts = tuple(self._numbered(part) for part in parts)
        self._said = self._said or bool(parts)
        finish_reason = said_reason
        if said_reason is not None:
            finish_reason, raw = ended_by(said_reason, raw, calls=bool(self._ids))
        return Chunk(
            parts=parts,
            logprobs=parse_logprobs(first.logprobs.content) if first.logprobs is not None else (),
            finish_reason=finish_reason,
            usage=None if piece.usage is None else usage_of(piece.usage, self._preset),
            service_tier=piece.service_tier or "",
            model=piece.model or "",
            id=piece.id or "",
            dialect="" if whole or self._anew else "openai",  # clients could not read the server's own event
            raw=b"" if whole or self._anew else raw,
        )

    def _beside(self, choice: ChoicePiece, reason: FinishReason | None, raw: bytes) -> bytes:
        """Return the event with the right finish reason for a choice that is not the first."""
        said = choice.delta or choice.message
        if said is not None and (said.tool_calls or said.function_call is not None):
            self._calling.add(choice.index)
        if reason is None:
            return raw
        return ended_by(reason, raw, calls=choice.index in self._calling, index=choice.index)[1]

    def _numbered(self, part: Part) -> Part:
        """Give each call its own index.

        Some servers, such as Ollama, give all calls the same. There a name with a new id begins a new call.
        """
        if not isinstance(part, ToolCall):
            return part
        place = self._places.get(part.index)
        if place is None or (part.name and part.id not in ("", self._ids[place])):
            place = part.index if part.index not in self._ids else max(self._ids) + 1
            self._places[part.index] = place
            self._ids[place] = part.id
        return part if place == part.index else msgspec.structs.replace(part, index=place)

    def _follow(self, choice: ChoicePiece) -> FinishReason | None:
        if not choice.finish_reason:
            if choice.index not in self._closed:
                self._open.add(choice.index)
            return None
        self._closed.add(choice.index)
        self._open.discard(choice.index)
        self._ended = True
        return finish_reason_of(choice.finish_reason)
