"""Read streamed answers: their bytes within the deadlines, and the chunks in their events.

A whole answer may come in place of a stream. It is read here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from semroute.config.schema.resilience import FIRST_TOKEN_S, STALL_S, TEXT_STALL_S, Timeouts
from semroute.dialects.protocols import ProviderDialect, StreamParser, WireRequest
from semroute.dialects.shared.error_bodies import describe
from semroute.dialects.shared.fitting import Restorer
from semroute.dialects.sse import BYTE_ORDER_MARK, Event
from semroute.errors import (
    BadAnswerError,
    MalformedChunkError,
    ProviderError,
    ProviderTimeoutError,
    SemrouteError,
    SlowCallerError,
    StreamBrokenError,
)
from semroute.json_errors import UNREADABLE
from semroute.messages import Chunk, Completion, Part, Text, Thinking
from semroute.providers.transport import MAX_ANSWER_BYTES, Response

FINISHED_GRACE_S = 5.0
"""Seconds that a stream may take, after its finish reason, to send its usage and close."""


class StreamWatch:
    """Reads the pieces of a stream within a deadline each: first that for the first content, then that for a stall.

    It also measures how long the consumer of the stream was away, because that is not the provider's fault.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._time = asyncio.get_running_loop().time
        self._first_token_s = timeouts.first_token_s or FIRST_TOKEN_S
        self._stall_s = timeouts.stall_s or STALL_S
        self._only_text = timeouts.stall_s is None
        """Whether only text and thoughts have come so far. False if the route files limit pauses themselves."""
        self._begun = False
        self._seen_at = 0.0
        """When the piece came that is being consumed. 0: none is being consumed."""
        self._away_s = 0.0
        self._finished = False
        self._end = self._time() + timeouts.stream_s
        self.deadline = min(self._time() + self._first_token_s, self._end)

    def saw(self, chunk: Chunk, *, finished: bool) -> None:
        """Note that a piece came. Its consumer may take its time: the next deadline is set when reading goes on."""
        parts = chunk.parts
        self._begun = self._begun or bool(parts) or finished
        self._seen_at = self._seen_at or self._time()
        self._finished = finished
        if parts and self._only_text:
            if len(parts) == 1 and isinstance(parts[0], Text):  # true for most pieces
                self._stall_s = TEXT_STALL_S
            else:
                self._adapt(parts)

    def _adapt(self, parts: tuple[Part, ...]) -> None:
        """Adapt the deadline. Text comes steadily, and another model could continue it. Other parts may pause."""
        self._only_text = all(isinstance(part, Text | Thinking) for part in parts)
        self._stall_s = TEXT_STALL_S if self._only_text and isinstance(parts[-1], Text) else STALL_S

    async def read(self, response: Response) -> bytes:
        """Return the next bytes; empty at the end. Once the finish reason has come, no error fails the answer.

        Bytes that have come already are read without waiting. So no timer ends a stream whose consumer is always slower
        than the provider.
        """
        now = self._time()
        if self._seen_at:
            self._away_s += now - self._seen_at
            self._seen_at = 0.0
            if self._begun:
                limit_s = self._stall_s
                limit_s = min(limit_s, FINISHED_GRACE_S) if self._finished else limit_s
                self.deadline = min(now + limit_s, self._end)
        try:
            if now >= self.deadline:
                raise TimeoutError
            async with asyncio.timeout_at(self.deadline):
                return await response.read()
        except TimeoutError:
            if self._finished:
                return b""
            raise self.error() from None
        except ProviderError as error:
            if self._finished:
                return b""
            raise StreamBrokenError(f"the stream was cut: {error}") from None

    async def first(self, response: Response) -> bytes:
        """Return the first bytes that are not only white space; empty at the end. What came before is dropped."""
        while data := await self.read(response):
            if not data.isspace():
                break
        return data

    async def rest(self, begun: bytes, response: Response) -> bytes:
        """Return a whole body within the deadline of the first content. Raises `BadAnswerError` past the limit."""
        pieces, size = [begun], len(begun)
        while data := await self.read(response):
            pieces.append(data)
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise BadAnswerError(f"the answer is over {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces).removeprefix(BYTE_ORDER_MARK)

    def error(self) -> SemrouteError:
        """Return the error for the deadline that has passed."""
        stream_s = self._timeouts.stream_s
        if self.deadline == self._end and self._away_s > stream_s / 2:
            return SlowCallerError(f"the caller did not take the whole answer within {stream_s:g} s")
        if self.deadline == self._end:
            return ProviderTimeoutError(f"no whole answer within {stream_s:g} s")
        if self._begun:
            return ProviderTimeoutError(f"the stream stalled for {self._stall_s:g} s")
        return ProviderTimeoutError(f"no first token within {self._first_token_s:g} s")


class ChunkReader:
    """Reads the events of one stream. Ignores a malformed event if a sound one follows, and repeated ends."""

    def __init__(self, parser: StreamParser, wire: WireRequest) -> None:
        """`wire`: the request. The first chunk says what only the request knows."""
        self._parser = parser
        self._wire: WireRequest | None = wire
        self._restorer = Restorer(wire.renamed) if wire.renamed else None
        self._malformed: MalformedChunkError | None = None
        self._is_whole = False
        self.finished = False

    def chunk(self, event: Event) -> Chunk | None:
        """Return the chunk that an event holds, or None. Raises a `ProviderError`."""
        try:
            chunk = self._parser.event(event)
        except MalformedChunkError as error:
            if self._malformed is not None:
                raise BadAnswerError(str(error), body=error.body) from None
            self._malformed = error
            return None
        if chunk is None:
            return None
        self._malformed = None
        if self.finished and chunk.finish_reason is not None and not chunk.parts and chunk.usage is None:
            return None
        self.finished = self._parser.finished
        return chunk if self._wire is None and self._restorer is None else self._noted(chunk)

    def whole(self, body: bytes, dialect: ProviderDialect) -> Iterator[Chunk]:
        """Yield the chunks of an answer that did not come as events. Raises a `ProviderError`."""
        if body.lstrip().startswith(b"["):
            for piece in _items(body):
                if (chunk := self.chunk(Event(data=piece))) is not None:
                    yield chunk
            return
        self._is_whole = True
        yield self._noted(_as_chunk(dialect.parse_completion(body)))

    def ending(self, events: Iterable[Event], body: bytes | None, dialect: ProviderDialect) -> Iterator[Chunk]:
        """Yield what is left when the stream ends: the last events or a whole body. Raises if the answer has no end."""
        for event in events:
            if (chunk := self.last_chunk(event)) is not None:
                yield chunk
        if body is not None:
            yield from self.whole(body, dialect)
        self.close()

    def last_chunk(self, event: Event) -> Chunk | None:
        """Return the chunk of an event inside which the stream ended, or None."""
        try:
            chunk = self._parser.event(event)
        except BadAnswerError as error:
            if self.finished:
                return None
            raise StreamBrokenError(f"the stream ended inside an event: {error}") from None
        return None if chunk is None else self._noted(chunk)

    def _noted(self, chunk: Chunk) -> Chunk:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            if wire.dropped or wire.adapted or wire.model:
                chunk = replace(chunk, dropped=(*wire.dropped, *wire.adapted), model=chunk.model or wire.model)
        return chunk if self._restorer is None else self._restorer.chunk(chunk)

    def close(self) -> None:
        """Note that the stream has ended. Raises if the answer has not."""
        if self._malformed is not None and not self.finished:
            raise BadAnswerError(str(self._malformed), body=self._malformed.body)
        if not self._parser.finished and not self._is_whole:
            raise StreamBrokenError("the stream ended before the answer was complete")


def _as_chunk(completion: Completion) -> Chunk:
    """Return a whole answer as the only chunk of a stream. Its body is not an event, so it is rendered anew."""
    return Chunk(
        parts=completion.parts,
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        model=completion.model,
        id=completion.id,
        stop_sequence=completion.stop_sequence,
        logprobs=completion.logprobs,
        service_tier=completion.service_tier,
    )


def _items(body: bytes) -> list[bytes]:
    """Return the pieces of an answer that came as a list, as Gemini's API sends without a request for events."""
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except UNREADABLE as error:
        raise BadAnswerError(f"expected a stream, got {describe(body, error)}", body=body) from error
