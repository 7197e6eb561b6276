"""Calculate the most that a request may spend, which is reserved before any model is called. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semroute.access.meters import Meter
from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Checks, Policy
from semroute.decision import Decision
from semroute.dialects.shared.token_counts import MAX_TOKENS
from semroute.messages import ChatRequest, Usage
from semroute.record import Attempt
from semroute.routing.pricing import cost_usd
from semroute.stores.interfaces import to_pico

GRADE_TOKENS = 200
"""Tokens that a judge may answer. Its instructions, besides request and answer, take about as many."""


class Ask(Frozen, frozen=True, kw_only=True):
    """What a request asks for."""

    request: ChatRequest
    policy: Policy = Policy()
    spent: Sequence[Attempt] = ()
    """The calls that deciding needed."""


def most(meter: Meter, config: Config, ask: Ask, decision: Decision) -> int:
    """Return the most that a request may take of a meter.

    One model of the plan answers, and models that failed before it cost nothing. So the dearest model counts. If
    answers are checked, several models may be asked. Then as many of the dearest models count together. Further answers
    (a hedged call, a stream that another model continues) are reserved when they begin.
    """
    if meter.kind in ("requests", "running"):
        return 1
    amount = _tokens if meter.kind == "tokens" else _pico
    models = [config.models[model_id] for model_id in decision.plan]
    usages = [(model, _usage(model, ask, decision)) for model in models]
    calls = sorted((amount(model, usage) for model, usage in usages if meter.measures(model.id)), reverse=True)
    times = _times(ask, len(models))
    total, cascade = sum(calls[:times]), ask.policy.cascade
    if cascade is not None:
        if cascade.max_cost_usd is not None and meter.kind == "usd":
            total = min(total, to_pico(cascade.max_cost_usd) + max(calls, default=0))
        judges = (_judged(cascade.checks, meter, config, model, usage, amount) for model, usage in usages)
        total += sum(sorted(judges, reverse=True)[:times])
    return total + sum(took(meter, attempt) for attempt in ask.spent)


def took(meter: Meter, attempt: Attempt) -> int:
    """Return what a call took of a meter for USD or tokens."""
    if not meter.measures(attempt.model):
        return 0
    if meter.kind == "usd":
        return to_pico(attempt.cost_usd)
    return attempt.usage.input_tokens + attempt.usage.output_tokens if meter.kind == "tokens" else 0


def _times(ask: Ask, models: int) -> int:
    """Return how many models of the plan may cost something."""
    cascade = ask.policy.cascade
    return 1 if cascade is None else min(cascade.max_escalations + 1, models)


def _usage(model: Model, ask: Ask, decision: Decision) -> Usage:
    estimate = decision.estimate
    params = ask.request.params
    each = params.max_tokens or model.max_output_tokens or estimate.output_tokens
    return _dearest(model, estimate.input_tokens, min(each * max(1, params.n or 1), MAX_TOKENS))


def _dearest(model: Model, input_tokens: int, output_tokens: int) -> Usage:
    """Return a usage in which all tokens are of the dearest kind."""
    reasons = model.reasoning_price is not None and model.reasoning_price > model.output_price
    writes = model.cache_write_price is not None and model.cache_write_price > model.input_price
    return Usage(
        input_tokens=input_tokens,
        cache_write_tokens=input_tokens if writes else 0,
        output_tokens=output_tokens,
        reasoning_tokens=output_tokens if reasons else 0,
    )


def _judged(
    checks: Checks, meter: Meter, config: Config, model: Model, usage: Usage, amount: Callable[[Model, Usage], int]
) -> int:
    """Return what grading one answer takes."""
    judges = [model] if checks.min_certainty is not None else []
    judges += [config.models[checks.judge.model]] if checks.judge is not None else []
    read = usage.input_tokens + usage.output_tokens + GRADE_TOKENS
    return sum(amount(judge, _dearest(judge, read, GRADE_TOKENS)) for judge in judges if meter.measures(judge.id))


def _pico(model: Model, usage: Usage) -> int:
    return to_pico(cost_usd(model, usage))


def _tokens(model: Model, usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
