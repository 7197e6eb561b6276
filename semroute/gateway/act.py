"""What a call acts with: one model at a time, and whole answers as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from semroute.config.schema.models import Model
from semroute.errors import ProviderConnectionError
from semroute.execution import fallback
from semroute.execution.grading import CallModel
from semroute.execution.model_call import Work
from semroute.messages import ChatRequest, Chunk, Completion
from semroute.record import Attempt


class Whole:
    """A whole answer as a stream."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks."""
        completion = self._completion
        yield Chunk(parts=completion.parts, model=completion.model, id=completion.id, logprobs=completion.logprobs)
        yield Chunk(finish_reason=completion.finish_reason, model=completion.model, id=completion.id)
        if completion.usage is not None:
            yield Chunk(usage=completion.usage, model=completion.model, id=completion.id)

    async def aclose(self) -> None:
        """Nothing to close."""


def caller(work: Work) -> CallModel:
    """Calls one model as the plan's models are called, without another to fall back to: within one deadline for all."""
    deadline = work.deployments.clock.now() + work.policy.deadline_s

    async def call(request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
        if model.id not in work.providers:
            raise ProviderConnectionError(f"{model.id} cannot be called")
        asked = msgspec.structs.replace(work, request=request, plan=(model,))
        return await fallback.complete(asked, attempts, deadline=deadline)

    return call
