"""Continue a streamed answer that breaks: another model goes on after the text that was sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import StreamPolicy, Timeouts
from semroute.errors import ProviderError, ProviderRequestError, SemrouteError, UnsupportedError
from semroute.execution.backoff import pause
from semroute.execution.continuation_request import AnswerJoiner, continuation
from semroute.execution.executor import Execution
from semroute.execution.faults import fault_of, models_left
from semroute.execution.model_call import Work
from semroute.execution.streaming import OpenStream, stream_model
from semroute.messages import Chunk, Part, Text, Usage, total
from semroute.record import Attempt


async def first_stream(work: Work, attempts: list[Attempt]) -> OpenStream | ContinuedStream:
    """Return a streamed answer from the first model that gives content. Raises the same errors as `first_answer`.

    The caller sees the content from then on. If the answer breaks later, another model can only continue it.
    """
    execution = Execution(work, attempts, stream_model, OpenStream.aclose)
    opened = await execution.result()
    return ContinuedStream(work, attempts, opened, execution) if execution.goes_on else opened


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
            return await stream_model(work, model, timeouts, attempts)
        if "prefill" in model.features:
            request = continuation(work.request, said, prefill=True)
            try:
                return await stream_model(replace(work, request=request), model, timeouts, attempts)
            except (ProviderRequestError, UnsupportedError):
                pass
        request = continuation(work.request, said, prefill=False)
        return await stream_model(replace(work, request=request), model, timeouts, attempts)

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
