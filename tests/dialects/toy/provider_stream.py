"""Streamed answers of the toy dialect, from a provider."""

from __future__ import annotations

import msgspec

from semroute.dialects.shared.error_bodies import no_answer
from semroute.dialects.sse import Event
from semroute.json_errors import UNREADABLE
from semroute.messages import Chunk, Text, Usage


class _Piece(msgspec.Struct):
    piece: str = ""
    over: bool = False
    words: tuple[int, int] | None = None


class LineReader:
    """Cuts bytes into lines."""

    whole_starts = (b"<",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [Event(data=line) for line in lines if line]

    def close(self) -> list[Event]:
        return self.feed(b"\n")


class ToyStreamParser:
    finished = False

    def event(self, event: Event) -> Chunk | None:
        try:
            piece = msgspec.json.decode(event.data, type=_Piece)
        except UNREADABLE as error:
            raise no_answer(event.data) from error
        self.finished = piece.over
        usage = Usage(input_tokens=piece.words[0], output_tokens=piece.words[1]) if piece.words else None
        return Chunk(
            parts=(Text(text=piece.piece),) if piece.piece else (),
            finish_reason="stop" if piece.over else None,
            usage=usage,
        )
