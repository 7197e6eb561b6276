"""Stream an answer from one model: the commit point, the usage, and the end if either side goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.errors import BadAnswerError, ProviderError, StreamBrokenError
from semroute.execution.model_call import SaidTokens, Watch, Work, estimated, only_declines, withheld
from semroute.messages import Chunk, Text, Thinking, Usage
from semroute.providers.http_provider import EVENTS
from semroute.record import Attempt

GoOn = Callable[[ProviderError], AsyncGenerator[Chunk]]
"""Yields the rest of an answer that broke off, or raises the error."""

MAX_EMPTY_CHUNKS = 10_000
"""The most chunks before the first content. All of them are kept until then."""


async def stream_model(work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> OpenStream:
    """Call one model, and wait for its first content, or for as much content as the policy holds back.

    A failure before that is appended to `attempts` and raised. The caller has seen nothing yet, so another model can be
    tried.
    """
    stream = OpenStream(work, model, timeouts, attempts)
    await stream.begin()
    return stream


class OpenStream:
    """One model's answer. Call `begin`, then iterate it once, and call `aclose` if you do not reach its end."""

    def __init__(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> None:
        self.model = model
        self._work = work
        self._watch = Watch(work, model, timeouts, attempts)
        self._chunks: AsyncGenerator[Chunk] = work.providers[model.id].stream(work.request, model, timeouts)
        self._held: list[Chunk] = []
        self._said = SaidTokens(work.count_tokens)
        self._usage: Usage | None = None
        self._counted = False
        """Whether the reported usage covers everything that came so far."""
        self._begun = False
        self._ended = False
        self.texts: list[str] = []
        """The pieces of text so far."""
        self.only_text = True
        """Whether only text and thoughts have come so far."""

    async def begin(self) -> None:
        """Read until the commit point. Raises the provider's `ProviderError`."""
        hold = self._work.policy.stream.hold
        try:
            async for chunk in self._chunks:
                self._held.append(self._note(chunk))
                if len(self._held) > MAX_EMPTY_CHUNKS and not self._begun:
                    raise BadAnswerError(f"the stream began with {MAX_EMPTY_CHUNKS} events without content")
                if (self._begun or chunk.finish_reason) and self._enough(hold, chunk):
                    break
            else:
                if not self._held:
                    raise StreamBrokenError("the stream ended without an answer")
            self._watch.begun()
        except ProviderError as error:
            await self._fail(error)
            raise
        except BaseException as left:  # the caller left, or this code has a defect: give back the place in any case
            await self.aclose(left)
            raise

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Return the chunks. Raises the provider's `ProviderError` if the answer breaks off."""
        return self.chunks()

    async def chunks(self, go_on: GoOn | None = None) -> AsyncGenerator[Chunk]:
        """Yield the chunks. `go_on`: yields the rest after a break. None: a break raises the error."""
        try:
            held, self._held = self._held, []
            for count, chunk in enumerate(held, 1):
                if count % EVENTS == 0:  # otherwise other tasks would not get their turn
                    await asyncio.sleep(0)
                yield chunk
            del held
            async for chunk in self._chunks:
                yield self._note(chunk)
        except ProviderError as error:
            await self._fail(error)
            if go_on is None:
                raise
            broken = error
        else:
            self._ended = self._counted = True
            self._watch.succeeded(self.consumed)
            return
        async with aclosing(go_on(broken)) as rest:
            async for chunk in rest:
                yield chunk

    async def aclose(self, left: BaseException | None = None) -> None:
        """Stop, and cancel the provider's call if it has not ended. `left`: the error that ended this task."""
        await self._chunks.aclose()
        if not self._ended:
            self._ended = True
            self._watch.cancelled(left, self.consumed if self._begun or self._watch.sent else Usage())

    @property
    def consumed(self) -> Usage:
        """Return what the call consumed so far. If the provider has not said it, it is an estimate.

        A usage that came at the beginning of the answer does not cover what came after it.
        """
        usage = self._usage
        if usage is None:
            return estimated(self._work, self._said)
        if self._counted or usage.output_tokens >= (said := self._said.tokens):
            return usage
        return replace(usage, output_tokens=said, estimated=True)

    async def _fail(self, error: ProviderError) -> None:
        self._ended = True
        await self._chunks.aclose()
        self._watch.failed(error, self.consumed if self._said.any or self._usage else Usage())

    def _note(self, chunk: Chunk) -> Chunk:
        if chunk.parts:
            if not self._begun:
                self._begun = True
                self._watch.first_token()
            self._said.add(chunk.parts)
            for part in chunk.parts:
                if isinstance(part, Text):
                    self.texts.append(part.text)
                elif not isinstance(part, Thinking):
                    self.only_text = False
        if chunk.usage:
            self._usage, self._counted = chunk.usage, chunk.usage.output_tokens > 0
        elif chunk.parts:
            self._counted = False
        self._watch.dropped = chunk.dropped or self._watch.dropped
        return chunk

    def _enough(self, hold: int | str, chunk: Chunk) -> bool:
        """Return whether the commit point is reached. Raises if the answer was withheld and others may answer."""
        if chunk.finish_reason == "content_filter" and not self.texts and only_declines(chunk.parts):
            refusal = withheld(self._work.policy)
            if refusal is not None:
                raise refusal
        if hold == "complete":
            return False
        return not hold or self._said.rough_tokens >= int(hold)
