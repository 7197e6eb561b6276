"""How the models of a plan are tried. `fallback`: one after another, until one answers."""

from __future__ import annotations

from semroute.errors import NoModelError, PlanExhaustedError, ProviderError
from semroute.execution import attempt, streaming
from semroute.execution.attempt import Work
from semroute.execution.streaming import OpenStream
from semroute.types import Attempt, Completion


async def complete(work: Work, attempts: list[Attempt]) -> Completion:
    """A whole answer from the first model that gives one. Every call is appended to `attempts`.

    Raises `PlanExhaustedError` when all failed, and at once a `ProviderError` that no other model would mend.
    """
    failures: list[ProviderError] = []
    for model in work.plan:
        try:
            return await attempt.complete(work, model, attempts)
        except ProviderError as error:
            failures.append(_next_or_raise(error))
    raise _exhausted(work, failures)


async def open_stream(work: Work, attempts: list[Attempt]) -> OpenStream:
    """A streamed answer from the first model that gives content. Raises as `complete` does.

    From the first content on the caller has seen it, and no other model can take over.
    """
    failures: list[ProviderError] = []
    for model in work.plan:
        try:
            return await streaming.open_stream(work, model, attempts)
        except ProviderError as error:
            failures.append(_next_or_raise(error))
    raise _exhausted(work, failures)


def _next_or_raise(error: ProviderError) -> ProviderError:
    if not error.falls_back:
        raise error
    return error


def _exhausted(work: Work, failures: list[ProviderError]) -> PlanExhaustedError | NoModelError:
    told = "; ".join(f"{model.id}: {error}" for model, error in zip(work.plan, failures, strict=True))
    return PlanExhaustedError(f"every model of the plan failed: {told}", last=failures[-1])
