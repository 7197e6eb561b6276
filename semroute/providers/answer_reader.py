"""Read answers: turn events into chunks, and also a whole answer that comes in place of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from semroute.dialects.protocols import ProviderDialect, StreamParser, WireRequest
from semroute.dialects.shared.error_bodies import describe
from semroute.dialects.shared.fitting import Restorer
from semroute.dialects.sse import Event
from semroute.errors import BadAnswerError, MalformedChunkError, StreamBrokenError
from semroute.json_errors import UNREADABLE
from semroute.messages import Chunk, Completion


def with_notes(completion: Completion, wire: WireRequest) -> Completion:
    """Add to a whole answer what only the request knows, and translate names back into the caller's own."""
    if wire.dropped or wire.adapted or wire.model:
        notes = (*wire.dropped, *wire.adapted)
        completion = replace(completion, dropped=notes, model=completion.model or wire.model)
    return Restorer(wire.renamed).completion(completion) if wire.renamed else completion


class Reader:
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
