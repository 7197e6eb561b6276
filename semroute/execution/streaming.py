"""Stream an answer: the commit point, the usage, and the end if either side goes away.

If an answer breaks off, another model goes on after the text that was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import StreamPolicy, Timeouts
from semroute.errors import (
    BadAnswerError,
    ProviderError,
    ProviderRequestError,
    SemrouteError,
    StreamBrokenError,
    UnsupportedError,
)
from semroute.execution.backoff import pause
from semroute.execution.continuation_request import AnswerJoiner, continuation
from semroute.execution.executor import Execution
from semroute.execution.faults import fault_of, models_left
from semroute.execution.model_call import SaidTokens, Watch, Work, estimated, only_declines, withheld
from semroute.messages import Chunk, Part, Text, Thinking, Usage, total
from semroute.providers.http_provider import EVENTS
from semroute.record import Attempt

GoOn = Callable[[ProviderError], AsyncGenerator[Chunk]]
"""Yields the rest of an answer that broke off, or raises the error."""

MAX_EMPTY_CHUNKS = 10_000
"""The most chunks before the first content. All of them are kept until then."""


async def first_stream(work: Work, attempts: list[Attempt]) -> OpenStream | ContinuedStream:
    """Return a streamed answer from the first model that gives content. Raises the same errors as `first_answer`.

    The caller sees the content from then on. If the answer breaks later, another model can only continue it.
    """
    execution = Execution(work, attempts, OpenStream.open, OpenStream.aclose)
    opened = await execution.result()
    return ContinuedStream(work, attempts, opened, execution) if execution.goes_on else opened


class OpenStream:
    """One model's answer. Make it with `open`, iterate it once, and call `aclose` if you do not reach its end."""

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

    @classmethod
    async def open(cls, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> OpenStream:
        """Call one model, and wait for its first content, or for as much content as the policy holds back.

        A failure before that is appended to `attempts` and raised. The caller has seen nothing yet, so another model
        can be tried.
        """
        stream, hold = cls(work, model, timeouts, attempts), work.policy.stream.hold
        held = stream._held
        try:
            async for chunk in stream._chunks:
                held.append(stream._note(chunk))
                if len(held) > MAX_EMPTY_CHUNKS and not stream._begun:
                    raise BadAnswerError(f"the stream began with {MAX_EMPTY_CHUNKS} events without content")
                if (stream._begun or chunk.finish_reason) and stream._enough(hold, chunk):
                    break
            else:
                if not held:
                    raise StreamBrokenError("the stream ended without an answer")
            stream._watch.begun()
        except ProviderError as error:
            await stream._fail(error)
            raise
        except BaseException as left:  # the caller left, or this code has a defect: give back the place in any case
            await stream.aclose(left)
            raise
        return stream

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
        self._watch.service_tier = chunk.service_tier or self._watch.service_tier
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


class ContinuedStream:
    """A streamed answer that several models may write in turn. Iterate it once, and call `aclose`."""

    def __init__(
        self, work: Work, attempts: list[Attempt], opened: OpenStream, execution: Execution[OpenStream]
    ) -> None:
        """`execution`: the one that opened the stream. Its deadline and budget hold for the whole request."""
        self._work = work
        self._attempts = attempts
        self._stream = opened
        self._pending = execution.pending
        self._deadline, self._budget = execution.deadline, execution.budget
        self._broke: list[Model] = []
        """The models that broke off. Each of them is tried once more, after all others."""
        self._said: list[str] = []
        self._consumed: list[Usage] = []

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Return the chunks. Raises the provider's `ProviderError` if the answer breaks off for good."""
        return self._stream.chunks(self._rest)

    async def aclose(self) -> None:
        """Stop, and cancel the call that is under way."""
        await self._stream.aclose()

    async def _rest(self, broken: ProviderError) -> AsyncGenerator[Chunk]:
        """Yield the rest of the answer after a break. Several models may write it."""
        while True:
            await self._resume(broken)
            try:
                async for chunk in self._joined():
                    yield chunk
                return
            except ProviderError as error:
                broken = error

    async def _resume(self, broken: ProviderError) -> None:
        """Ask the next model to continue. The one that broke off comes last. Raises `broken` if there is none."""
        failed = self._stream
        self._consumed.append(failed.consumed)
        if len(self._consumed) == 1:
            self._said += failed.texts
        then = fault_of(broken, self._work.policy.on_error).then
        if not failed.only_text or then == "fail":
            raise broken
        others = models_left(then, self._pending, failed.model, self._work.request)
        again = [failed.model] if broken.retryable and failed.model not in self._broke else []
        plan = (*others, *again)
        if not plan:
            raise broken
        self._broke += again
        if not others:
            await self._pause()
        work = replace(self._work, plan=plan, policy=replace(self._work.policy, stream=StreamPolicy()))
        execution = Execution(
            work, self._attempts, self._go_on, OpenStream.aclose, deadline=self._deadline, budget=self._budget
        )
        try:
            self._stream = await execution.result()
        except SemrouteError as error:
            message = f"{broken}; no model could continue the answer: {error}"
            raise type(broken)(message, status=broken.status, body=broken.body) from error
        self._pending = [model for model in execution.pending if model is not failed.model]

    async def _pause(self) -> None:
        """Wait a moment before the same model is asked again."""
        clock = self._work.deployments.clock
        left_s = self._deadline - clock.now()
        wait_s = pause(self._work.policy.retry, 0, asked_s=None, left_s=left_s, others=False, random=clock.random)
        await clock.sleep(wait_s or 0)

    async def _go_on(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> OpenStream:
        """Call a model for the rest of the answer. If it refuses to continue a turn, an instruction asks it to."""
        said = "".join(self._said)
        if not said:  # it broke off while it was thinking
            return await OpenStream.open(work, model, timeouts, attempts)
        if "prefill" in model.features:
            request = continuation(work.request, said, prefill=True)
            try:
                return await OpenStream.open(replace(work, request=request), model, timeouts, attempts)
            except (ProviderRequestError, UnsupportedError):
                pass
        request = continuation(work.request, said, prefill=False)
        return await OpenStream.open(replace(work, request=request), model, timeouts, attempts)

    async def _joined(self) -> AsyncIterator[Chunk]:
        """Yield the rest of the answer without repetitions, and at its end the usage of all calls."""
        seam = AnswerJoiner("".join(self._said))
        ended: Chunk | None = None
        async for chunk in self._stream:
            parts = _without_repetition(chunk.parts, seam)
            if parts:
                yield self._note(_own(chunk, parts))
            if chunk.finish_reason is not None:
                ended = chunk
        if rest := seam.close():
            yield self._note(Chunk(parts=(Text(text=rest),)))
        if ended is not None:
            yield Chunk(finish_reason=ended.finish_reason, stop_sequence=ended.stop_sequence, model=ended.model)
        yield Chunk(usage=total([*self._consumed, self._stream.consumed]))

    def _note(self, chunk: Chunk) -> Chunk:
        self._said += [part.text for part in chunk.parts if isinstance(part, Text)]
        return chunk


def _without_repetition(parts: tuple[Part, ...], seam: AnswerJoiner) -> tuple[Part, ...]:
    joined = [Text(text=seam.feed(part.text)) if isinstance(part, Text) else part for part in parts]
    return tuple(part for part in joined if not isinstance(part, Text) or part.text)


def _own(chunk: Chunk, parts: tuple[Part, ...]) -> Chunk:
    """Return a chunk without the provider's own event, which may repeat text and only counts its own usage."""
    return Chunk(parts=parts, model=chunk.model)
