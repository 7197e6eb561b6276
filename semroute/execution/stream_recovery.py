"""An answer that survives the break of its stream: another model goes on from what was sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import StreamPolicy, Timeouts
from semroute.errors import ProviderError, ProviderRequestError, SemrouteError
from semroute.execution.backoff import pause
from semroute.execution.continuation_request import Seam, continuation
from semroute.execution.executor import Execution
from semroute.execution.faults import fault_of, left
from semroute.execution.model_call import Work
from semroute.execution.streaming import OpenStream, stream_model
from semroute.messages import Chunk, Part, Text, Usage, total
from semroute.record import Attempt


async def first_stream(work: Work, attempts: list[Attempt]) -> OpenStream | ContinuedStream:
    """A streamed answer from the first model that gives content. Raises as `executor.first_answer` does.

    From the first content on the caller has seen it. After that another model can only go on from there.
    """
    execution = Execution(work, attempts, stream_model, OpenStream.aclose)
    opened = await execution.result()
    return ContinuedStream(work, attempts, opened, execution) if execution.goes_on else opened


class ContinuedStream:
    """A streamed answer over as many models as it takes. Iterate it once, to its end, or `aclose` it."""

    def __init__(
        self, work: Work, attempts: list[Attempt], opened: OpenStream, execution: Execution[OpenStream]
    ) -> None:
        """`execution`: what opened it. Its deadline and its budget of attempts are those of the whole request."""
        self._work = work
        self._attempts = attempts
        self._stream = opened
        self._pending = execution.pending
        self._deadline, self._budget = execution.deadline, execution.budget
        self._broke: list[Model] = []
        """Each may try once more, after all others."""
        self._said: list[str] = []
        self._consumed: list[Usage] = []

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises the provider's `ProviderError` when the answer breaks and nobody can go on."""
        return self._stream.chunks(self._rest)

    async def aclose(self) -> None:
        """Stop: cancels the call that is under way."""
        await self._stream.aclose()

    async def _rest(self, broken: ProviderError) -> AsyncGenerator[Chunk]:
        """What other models give after a break, as one answer. Raises as the iteration does."""
        while True:
            await self._resume(broken)
            try:
                async for chunk in self._joined():
                    yield chunk
                return
            except ProviderError as error:
                broken = error

    async def _resume(self, broken: ProviderError) -> None:
        """Ask the next model to go on; the one that broke comes last, and once. Raises `broken` where none may."""
        failed = self._stream
        self._consumed.append(failed.consumed)
        if len(self._consumed) == 1:
            self._said += failed.texts
        then = fault_of(broken, self._work.policy.on_error).then
        if not failed.only_text or then == "fail":
            raise broken
        others = left(then, self._pending, failed.model, self._work.request)
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
            message = f"{broken}; nobody could go on from there: {error}"
            raise type(broken)(message, status=broken.status, body=broken.body) from error
        self._pending = [model for model in execution.pending if model is not failed.model]

    async def _pause(self) -> None:
        """Leave a model that just broke off alone for a moment."""
        clock = self._work.deployments.clock
        left_s = self._deadline - clock.now()
        wait_s = pause(self._work.policy.retry, 0, asked_s=None, left_s=left_s, others=False, random=clock.random)
        await clock.sleep(wait_s or 0)

    async def _go_on(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> OpenStream:
        """One call for the rest of the answer. A model that refuses to be prefilled is asked in words."""
        said = "".join(self._said)
        if not said:  # it broke while it was thinking
            return await stream_model(work, model, timeouts, attempts)
        if "prefill" in model.features:
            request = continuation(work.request, said, prefill=True)
            try:
                return await stream_model(replace(work, request=request), model, timeouts, attempts)
            except ProviderRequestError:
                pass
        request = continuation(work.request, said, prefill=False)
        return await stream_model(replace(work, request=request), model, timeouts, attempts)

    async def _joined(self) -> AsyncIterator[Chunk]:
        """The rest of the answer: without what was said already, with the usage of all calls at its end."""
        seam = Seam("".join(self._said))
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


def _without_repetition(parts: tuple[Part, ...], seam: Seam) -> tuple[Part, ...]:
    joined = [Text(text=seam.feed(part.text)) if isinstance(part, Text) else part for part in parts]
    return tuple(part for part in joined if not isinstance(part, Text) or part.text)


def _own(chunk: Chunk, parts: tuple[Part, ...]) -> Chunk:
    """A chunk that is rendered anew: the provider's own event says what was said already, and its own usage."""
    return Chunk(parts=parts, model=chunk.model)
