"""Streamed answers: the commit point, usage, and what happens when either side goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from semroute.errors import ProviderError, StreamBrokenError
from semroute.execution.attempt import Stopwatch, Work, cancelled, estimate_usage, failed, running, succeeded
from semroute.types import Attempt, Chunk, Model, Opaque, Part, Usage


async def open_stream(work: Work, model: Model, attempts: list[Attempt]) -> OpenStream:
    """Call one model, and wait for its first content.

    A failure before that is appended to `attempts` and raised, so that another model can be tried: the caller has seen
    nothing yet.
    """
    watch = Stopwatch()
    chunks = work.providers[model.id].stream(work.request, model, work.timeouts)
    head: list[Chunk] = []
    try:
        async for chunk in chunks:
            head.append(chunk)
            if has_content(chunk) or chunk.finish_reason:
                watch.first_token()
                return OpenStream(work, model, attempts, watch, head, chunks)
        raise StreamBrokenError("the stream ended without an answer")
    except ProviderError as error:
        await chunks.aclose()
        attempts.append(failed(model, watch, error))
        raise
    except asyncio.CancelledError:
        await chunks.aclose()
        attempts.append(cancelled(model, watch))
        raise


def has_content(chunk: Chunk) -> bool:
    """Whether a chunk holds something that the caller would see."""
    return bool(chunk.parts)


class OpenStream:
    """An answer that has begun. Iterate it once, to its end, or `aclose` it."""

    def __init__(
        self,
        work: Work,
        model: Model,
        attempts: list[Attempt],
        watch: Stopwatch,
        head: list[Chunk],
        chunks: AsyncGenerator[Chunk],
    ) -> None:
        self.model = model
        self._work = work
        self._attempts = attempts
        self._watch = watch
        self._head = head
        self._chunks = chunks
        self._seen: list[Part] = []
        self._usage: Usage | None = None
        # Its place in the account is taken now, and filled in at the end.
        self._place = len(attempts)
        attempts.append(running(model, watch))

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises the provider's `ProviderError` when the answer breaks."""
        try:
            for chunk in self._head:
                yield self._note(chunk)
            async for chunk in self._chunks:
                yield self._note(chunk)
        except ProviderError as error:
            self._account(failed(self.model, self._watch, error, self._consumed()))
            raise
        else:
            self._account(succeeded(self.model, self._watch, self._consumed()))

    async def aclose(self) -> None:
        """Stop: cancels the provider's call if it has not ended."""
        await self._chunks.aclose()
        if self._attempts[self._place].status == "running":
            self._account(cancelled(self.model, self._watch, self._consumed()))

    def _note(self, chunk: Chunk) -> Chunk:
        self._seen += [part for part in chunk.parts if not isinstance(part, Opaque)]
        self._usage = chunk.usage or self._usage
        return chunk

    def _consumed(self) -> Usage:
        return self._usage or estimate_usage(self._work, self._seen)

    def _account(self, attempt: Attempt) -> None:
        self._attempts[self._place] = attempt
