"""What a call acts with: one model at a time, whole answers as streams, and answers held to a contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec

from semroute.errors import ProviderConnectionError
from semroute.execution import strategies
from semroute.execution.attempt import Work
from semroute.execution.contract import ContractProvider
from semroute.execution.grading import CallModel
from semroute.providers.base import Provider
from semroute.types import Attempt, ChatRequest, Chunk, Completion, JsonContract, Model


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
        return await strategies.complete(asked, attempts, deadline=deadline)

    return call


def contracted(
    providers: Mapping[str, Provider], plan: tuple[str, ...], contract: JsonContract | None
) -> Mapping[str, Provider]:
    """The providers of a plan, each held to what the route's answers must be."""
    if contract is None:
        return providers
    return {model: ContractProvider(providers[model], contract) for model in plan}
