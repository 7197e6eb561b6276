"""Ask the cheapest model first, and go on to the next one if its answer fails a check.

Three bounds limit the escalation: a count, a cost and a deadline. A model that cannot be called is passed over and does
not count. If the request was too long for a model, models without a larger window are passed over as well. Each answer
that failed stays in the account, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Cascade, JudgeError, Policy
from semroute.dialects import registry
from semroute.dialects.shared.logprobs import NAME, without_logprobs
from semroute.errors import (
    ChecksFailedError,
    NoModelError,
    PlanExhaustedError,
    ProviderError,
    ProviderModelError,
    SemrouteError,
)
from semroute.execution.faults import fault_of, models_left, refusal
from semroute.execution.grading import UNANSWERED, CallModel, Grader
from semroute.execution.model_call import Work
from semroute.messages import ChatRequest, Completion
from semroute.record import Attempt


class FailedAnswer(NamedTuple):
    """An answer that failed a check."""

    completion: Completion
    reasons: list[str]
    place: int
    """The index of its attempt in the account."""


async def first_passing(
    cascade: Cascade,
    work: Work,
    call: CallModel,
    grader: Grader,
    attempts: list[Attempt],
    clock: Callable[[], float] = time.monotonic,
) -> Completion:
    """Return the first answer that passes. If none does, the cascade chooses between the best answer and an error.

    Raises `ChecksFailedError`. If no model answered at all, it raises `PlanExhaustedError`, `NoModelError`, or a
    `ProviderError` that another model would raise too. `clock` returns seconds.
    """
    if cascade.checks.min_logprob is None or work.request.params.logprobs:
        return await _tried(cascade, work, work.request, call, grader, attempts, clock)
    asked = replace(work.request, params=replace(work.request.params, logprobs=True))
    try:
        answer = await _tried(cascade, work, asked, call, grader, attempts, clock)
        return without_logprobs(answer, registry.dialect(answer.dialect).drop_logprobs)
    finally:  # the caller did not ask for them, so no note says that they were left out
        attempts[:] = [replace(one, dropped=tuple(what for what in one.dropped if what != NAME)) for one in attempts]


async def _tried(
    cascade: Cascade,
    work: Work,
    request: ChatRequest,
    call: CallModel,
    grader: Grader,
    attempts: list[Attempt],
    clock: Callable[[], float],
) -> Completion:
    """Do the same as `first_passing`. `request`: what the models get."""
    asked = replace(request, stream=False)
    deadline, unjudged = clock() + cascade.deadline_s, cascade.on_judge_error or _usual(work.policy)
    failed: list[FailedAnswer] = []
    unanswered: list[SemrouteError] = []
    pending = list(work.plan)
    while pending:
        model = pending.pop(0)
        if failed and (stop := _stopped(cascade, failed, attempts, deadline - clock())):
            _note(attempts, failed[-1].place, f"{'; '.join(failed[-1].reasons)} ({stop})")
            break
        try:
            completion = await call(asked, model, attempts)
        except UNANSWERED as error:
            unanswered.append(error)
            pending = _left(pending, model, error, work)
            continue
        place = len(attempts) - 1
        reasons = await grader.failures(cascade.checks, work.request, model, completion, attempts, unjudged)
        if not reasons:
            return completion
        _note(attempts, place, "; ".join(reasons))
        failed.append(FailedAnswer(completion, reasons, place))
    if not failed:
        raise _unanswered(unanswered)
    return _exhausted(cascade, failed, attempts)


def _usual(policy: Policy) -> JudgeError:
    """Return what happens to answers without a grade. They are accepted, unless the policy asks for quality."""
    wants_quality = policy.min_quality is not None or policy.select == "best"
    return "escalate" if wants_quality else "accept"


def _left(pending: list[Model], unanswering: Model, error: SemrouteError, work: Work) -> list[Model]:
    """Return the models that may be asked after one that gave no answer."""
    then = fault_of(error, work.policy.on_error).then if isinstance(error, ProviderError) else "next"
    return models_left(then, pending, unanswering, work.request)


def _unanswered(errors: list[SemrouteError]) -> SemrouteError:
    """Return the error to raise if no model answered. The plan was not empty."""
    told = [error.last if isinstance(error, PlanExhaustedError) else error for error in errors]
    failures = [error for error in told if isinstance(error, ProviderError)]
    skipped = [error for error in errors if isinstance(error, NoModelError)]
    if failures and (refused := refusal(failures, skipped=bool(skipped))) is not None:
        return refused
    vain = NoModelError | ProviderModelError
    return next((error for error in reversed(errors) if not isinstance(error, vain)), (*skipped, *errors)[0])


def _stopped(cascade: Cascade, failed: list[FailedAnswer], attempts: list[Attempt], left_s: float) -> str | None:
    """Return which bound forbids another model. None: no bound does."""
    if len(failed) > cascade.max_escalations:
        return f"at most {cascade.max_escalations} escalations are allowed"
    spent = sum((attempt.cost_usd for attempt in attempts), Decimal(0))
    if cascade.max_cost_usd is not None and spent >= cascade.max_cost_usd:
        return f"{spent:f} USD are spent, at most {cascade.max_cost_usd:f} are allowed"
    return f"its deadline of {cascade.deadline_s:g} s has passed" if left_s <= 0 else None


def _exhausted(cascade: Cascade, failed: list[FailedAnswer], attempts: list[Attempt]) -> Completion:
    if cascade.on_exhausted == "error":
        told = "; ".join(f"{attempts[one.place].model}: {'; '.join(one.reasons)}" for one in failed)
        raise ChecksFailedError(f"no answer passed the checks: {told}")
    # Of answers that failed the same number of checks, the last one comes from the strongest model.
    best = min(reversed(failed), key=lambda one: len(one.reasons))
    attempts[best.place] = replace(attempts[best.place], served_anyway=True)
    return best.completion


def _note(attempts: list[Attempt], place: int, reason: str) -> None:
    attempts[place] = replace(attempts[place], escalated=reason)
