"""Calculate the most that a call may spend, which is reserved before the call is made. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from semroute.access.meters import Meter
from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Checks, Policy
from semroute.decision import Decision
from semroute.dialects.shared.finish_and_token_counts import MAX_TOKENS
from semroute.messages import EMBEDDINGS, ChatRequest, Usage
from semroute.record import Attempt
from semroute.routing.pricing import dearest_usd
from semroute.stores.interfaces import to_pico

GRADE_TOKENS = 200
"""Tokens that a judge may answer. Its instructions, besides request and answer, take about as many."""


class CostBasis(Frozen, frozen=True, kw_only=True):
    """What the cost of a request is calculated from."""

    request: ChatRequest
    policy: Policy = Policy()
    spent: Sequence[Attempt] = ()
    """The calls that were made for it so far. Before the first answer, these are the calls that deciding needed."""

    @property
    def said_tokens(self) -> int:
        """Return the tokens of streamed answers that broke. A model that continues the answer gets them as input."""
        broke = [attempt for attempt in self.spent if attempt.status == "failed" and attempt.first_token_ms is not None]
        return sum(attempt.usage.output_tokens for attempt in broke)


def most(meter: Meter, config: Config, basis: CostBasis, decision: Decision, *models: str) -> int:
    """Return the most that a request has taken of a meter when these models have answered, one call each.

    It is what the request spent so far, and the most that each of these calls may cost. If answers are checked, the
    grading of each answer counts as well.
    """
    if meter.kind in ("requests", "running"):
        return 1
    calls = sum(call(meter, config, basis, decision, model) for model in models)
    return calls + sum(took(meter, attempt) for attempt in basis.spent)


def call(meter: Meter, config: Config, basis: CostBasis, decision: Decision, model_id: str) -> int:
    """Return the most that one answer of a model may take of a meter for USD or tokens, with its grading."""
    amount = _tokens if meter.kind == "tokens" else partial(_pico, basis.request.params.service_tier)
    model, cascade = config.models[model_id], basis.policy.cascade
    usage = _usage(model, basis, decision)
    total = amount(model, usage) if meter.measures(model_id) else 0
    return total if cascade is None else total + _judged(cascade.checks, meter, config, model, usage, amount)


def took(meter: Meter, attempt: Attempt) -> int:
    """Return what a call took of a meter for USD or tokens."""
    if not meter.measures(attempt.model):
        return 0
    if meter.kind == "usd":
        return to_pico(attempt.cost_usd)
    return attempt.usage.input_tokens + attempt.usage.output_tokens if meter.kind == "tokens" else 0


def _usage(model: Model, basis: CostBasis, decision: Decision) -> Usage:
    estimate = decision.estimate
    params = basis.request.params
    asked, limit = params.max_tokens, model.max_output_tokens
    each = min(asked, limit) if asked and limit else asked or limit or estimate.output_tokens
    if basis.request.endpoint == EMBEDDINGS:
        each = 0
    return Usage(
        input_tokens=estimate.input_tokens + basis.said_tokens,
        output_tokens=min(each * max(1, params.n or 1), MAX_TOKENS),
    )


def _judged(
    checks: Checks, meter: Meter, config: Config, model: Model, usage: Usage, amount: Callable[[Model, Usage], int]
) -> int:
    """Return what grading one answer takes."""
    judges = [model] if checks.min_certainty is not None else []
    judges += [config.models[checks.judge.model]] if checks.judge is not None else []
    read = Usage(input_tokens=usage.input_tokens + usage.output_tokens + GRADE_TOKENS, output_tokens=GRADE_TOKENS)
    return sum(amount(judge, read) for judge in judges if meter.measures(judge.id))


def _pico(service_tier: str, model: Model, usage: Usage) -> int:
    return to_pico(dearest_usd(model, usage.input_tokens, usage.output_tokens, service_tier))


def _tokens(model: Model, usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
