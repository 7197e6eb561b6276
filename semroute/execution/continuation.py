"""An answer that survives the break of its stream: another model goes on from what was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from semroute.calls import StreamPolicy, Timeouts
from semroute.errors import ProviderError, ProviderRequestError, SemrouteError, StreamBrokenError
from semroute.execution import streaming
from semroute.execution.attempt import Work
from semroute.execution.executor import Execution
from semroute.execution.faults import fault_of
from semroute.execution.seam import Seam, continuation
from semroute.execution.streaming import OpenStream
from semroute.types import Attempt, Chunk, Model, Part, Text, Thinking, Usage

SELF_CONTAINED = ("", "openai")
"""Dialects whose events stand alone: they open nothing that a later one has to close."""


class Answer:
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
        self._said: list[str] = []
        self._consumed: list[Usage] = []
        self._several = (work.request.params.n or 1) > 1
        self._only_text = not self._several

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises the provider's `ProviderError` when the answer breaks and nobody can go on."""
        try:
            async for chunk in self._stream:
                yield self._note(chunk if self._several else _unbound(chunk))
            return
        except ProviderError as error:
            broken = error
        while True:
            await self._resume(broken)
            try:
                async for chunk in self._joined():
                    yield self._note(chunk)
                return
            except ProviderError as error:
                broken = error

    async def aclose(self) -> None:
        """Stop: cancels the call that is under way."""
        await self._stream.aclose()

    async def _resume(self, broken: ProviderError) -> None:
        """Ask the next model to go on; the one that broke comes last. Raises `broken` where none does."""
        failed = self._stream.model
        self._consumed.append(self._stream.consumed)
        if not self._only_text or fault_of(broken, self._work.policy.on_error).then == "fail":
            raise broken
        policy = replace(self._work.policy, stream=StreamPolicy())
        work = replace(self._work, plan=(*self._pending, failed), policy=policy)
        execution = Execution(
            work, self._attempts, self._go_on, OpenStream.aclose, deadline=self._deadline, budget=self._budget
        )
        try:
            self._stream = await execution.result()
        except SemrouteError as error:
            raise StreamBrokenError(f"{broken}; nobody could go on from there: {error}") from error
        self._pending = [model for model in execution.pending if model is not failed]

    async def _go_on(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> OpenStream:
        """One call for the rest of the answer. A model that refuses to be prefilled is asked in words."""
        said = "".join(self._said)
        if not said:  # it broke while it was thinking
            return await streaming.open_stream(work, model, timeouts, attempts)
        if "prefill" in model.features:
            request = continuation(work.request, said, prefill=True)
            try:
                return await streaming.open_stream(replace(work, request=request), model, timeouts, attempts)
            except ProviderRequestError:
                pass
        request = continuation(work.request, said, prefill=False)
        return await streaming.open_stream(replace(work, request=request), model, timeouts, attempts)

    async def _joined(self) -> AsyncIterator[Chunk]:
        """The rest of the answer: without what was said already, with the usage of all calls at its end."""
        seam = Seam("".join(self._said))
        ended: Chunk | None = None
        async for chunk in self._stream:
            parts = _without_repetition(chunk.parts, seam)
            if parts:
                yield _own(chunk, parts)
            if chunk.finish_reason is not None:
                ended = chunk
        if rest := seam.close():
            yield Chunk(parts=(Text(text=rest),))
        if ended is not None:
            yield Chunk(finish_reason=ended.finish_reason, model=ended.model)
        yield Chunk(usage=_sum([*self._consumed, self._stream.consumed]))

    def _note(self, chunk: Chunk) -> Chunk:
        for part in chunk.parts:
            if isinstance(part, Text):
                self._said.append(part.text)
            elif not isinstance(part, Thinking):
                self._only_text = False
        return chunk


def _without_repetition(parts: tuple[Part, ...], seam: Seam) -> tuple[Part, ...]:
    joined = [Text(text=seam.feed(part.text)) if isinstance(part, Text) else part for part in parts]
    return tuple(part for part in joined if not isinstance(part, Text) or part.text)


def _unbound(chunk: Chunk) -> Chunk:
    """A chunk that another model's may follow: rendered anew, where the provider's own event would need its own end."""
    return chunk if chunk.dialect in SELF_CONTAINED else replace(chunk, dialect="", raw=b"", event="")


def _own(chunk: Chunk, parts: tuple[Part, ...]) -> Chunk:
    """A chunk that is rendered anew: the provider's own event says what was said already, and its own usage."""
    return Chunk(parts=parts, model=chunk.model)


def _sum(usages: list[Usage]) -> Usage:
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        estimated=any(usage.estimated for usage in usages),
    )
