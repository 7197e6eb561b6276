"""Make one trial: find room in its budget, make its calls, and write its account. And what the kinds of trial share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Literal

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.trial_settings import TrialScope
from semroute.decision import Decision
from semroute.execution.grading import UNANSWERED, CallModel
from semroute.execution.judge_health import UngradedError
from semroute.gateway.trial_queue import Served
from semroute.messages import ChatRequest, Completion
from semroute.record import Attempt, Trial, cost_usd
from semroute.routing.policy import unfit_reason
from semroute.stores.log_content import without_prompt
from semroute.trials.answers import whole
from semroute.trials.trial_models import NotMadeError, barred, of_purpose
from semroute.trials.trial_runner import TrialMeans, trial_of

EXPECTED_TOKENS = 300
"""How long an answer is expected to be, at least, when room for it is looked for in a budget."""
ANSWER_S = 50.0
"""The longest time for the answer of another model. With two judgements it is less than a trial may take."""
Purpose = Literal["judge", "shadow"]
Failure = Literal["unanswered", "unreadable", "not finished", "cancelled"]
Find = Callable[[list[Attempt]], Awaitable[dict[str, Any]]]
"""Makes the calls of a trial, appends them to the attempts, and returns fields of the `Trial`. It may raise
`NotMadeError` and `UngradedError`."""


async def make_trial(
    served: Served,
    means: TrialMeans,
    purpose: Purpose,
    usd_per_day: Decimal,
    expected_usd: Decimal,
    find: Find,
    **fields: Any,
) -> tuple[Trial, ...]:
    """Make a trial within the budget of its purpose, and return its account. Empty: it is not made, which is counted.

    A trial that fails, or is cancelled after it made a call, has an account as well. So what it cost is never lost.
    `fields`: of the `Trial`, beside those that `find` returns.
    """
    name = f"{served.record.request_id}:{purpose}"
    hold = await means.budget.reserve(purpose, name, usd_per_day, expected_usd)
    if hold is None:
        means.drop(purpose, "budget")
        return ()
    attempts: list[Attempt] = []

    async def closed(found: dict[str, Any]) -> Trial:
        ended, calls = means.clock(), of_purpose(attempts, purpose)
        await means.budget.settle(hold, cost_usd(calls), ended)
        detail = {**fields.get("detail", {}), **found.get("detail", {})}
        return trial_of(served, purpose, ended, calls, **{**fields, **found, "detail": detail})

    try:
        return (await closed(await find(attempts)),)
    except NotMadeError as reason:
        trial = await closed(_failed(f"it was not finished: {reason}", "not finished"))
        if attempts:
            return (trial,)
        means.drop(purpose, str(reason))
        return ()
    except UngradedError as error:
        return (await closed(_failed(_told(served, error), "unreadable" if error.unreadable else "unanswered")),)
    except asyncio.CancelledError:
        trial = await closed(_failed("it was cancelled before its end", "cancelled"))
        if attempts:
            means.keep(trial)
        raise
    except BaseException:  # a defect: the runner logs it, and the budget must not stay reserved
        await closed({})
        raise


def _failed(error: str, failure: Failure) -> dict[str, Any]:
    return {"error": error, "detail": {"failed": failure}}


def _told(served: Served, error: Exception) -> str:
    """Return an error as the log may keep it: providers quote the prompt in their errors."""
    if served.serving.router.config.log.content == "full":
        return str(error)
    prompt = "\n".join(message.text for message in served.request.messages)
    return without_prompt(str(error), prompt) or ""


async def answer_of(call: CallModel, request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
    """Return another model's answer. The call is appended to `attempts`. Raises `UngradedError` if it gives none."""
    try:
        found = await call(request, model, attempts)
        return whole(found.parts, found.finish_reason, found.model)
    except UNANSWERED as error:
        raise UngradedError(model.id, f"{model.id} gave no answer: {error}") from None


def expected_tokens(served: Served) -> int:
    """Return how many tokens another model's answer is expected to have: twice as many as the served answer."""
    return max(EXPECTED_TOKENS, 2 * served.record.usage.output_tokens)


def unfit_to_answer(served: Served, model: Model) -> str | None:
    """Return why a request should not be put to a model. None: it should."""
    by = served.record.model or ""
    known = served.serving.router.config.models.get(by)
    if (known.group or by if known is not None else by) == (model.group or model.id):
        return "same model"
    if unfit_reason(model, served.facts) is not None:
        return "unfit"
    return "barred" if barred(served, model) else None


def in_scope(only: TrialScope, decision: Decision, config: Config) -> bool:
    """Return whether a request may be drawn."""
    if only.routes and decision.route not in only.routes:
        return False
    return not only.tiers or stratum(decision, config)[1] in only.tiers


def stratum(decision: Decision, config: Config) -> tuple[str | None, str]:
    """Return the route of a request, and the tier of the model that it is planned for."""
    model = config.models.get(decision.model or "")
    return decision.route, "" if model is None else model.tier
