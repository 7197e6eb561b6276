"""How the models of a plan are tried. `fallback`: one after another, until one answers."""

from __future__ import annotations

from semroute.execution import model_call, streaming
from semroute.execution.executor import Execution
from semroute.execution.model_call import Work
from semroute.execution.stream_recovery import Answer
from semroute.execution.streaming import OpenStream
from semroute.messages import Completion
from semroute.record import Attempt


async def complete(work: Work, attempts: list[Attempt], *, deadline: float | None = None) -> Completion:
    """A whole answer from the first model that gives one. Every call is appended to `attempts`.

    Raises `PlanExhaustedError` when all failed, `NoModelError` when none could be called, and at once a `ProviderError`
    that no other model would mend. `deadline`: by the clock of the deployments; None: the policy's, from now.
    """
    return await Execution(work, attempts, model_call.complete, deadline=deadline).result()


async def open_stream(work: Work, attempts: list[Attempt]) -> OpenStream | Answer:
    """A streamed answer from the first model that gives content. Raises as `complete` does.

    From the first content on the caller has seen it. After that another model can only go on from there.
    """
    execution = Execution(work, attempts, streaming.open_stream, OpenStream.aclose)
    opened = await execution.result()
    return Answer(work, attempts, opened, execution) if execution.goes_on else opened
