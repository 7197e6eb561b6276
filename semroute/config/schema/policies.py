"""What route files say of policies: which models are tried, in which order, and which checks their answers pass."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.models import Feature
from semroute.config.schema.resilience import FaultName, OnError, Retry, StreamPolicy, Timeouts
from semroute.config.schema.values import Fraction, Name, Positive

Finish = Literal["stop", "length", "tool_calls", "content_filter"]

JudgeError = Literal["accept", "escalate"]


class Difficulty(RouteFileStruct, frozen=True, kw_only=True):
    """How hard a request is, and what follows: the models that suit it come first, stronger ones next."""

    by: Literal["complexity", "exemplars", "learned"] = "complexity"
    """`complexity`: a score from the prompt's form. `exemplars`: the most similar of `tiers`. `learned`: what
    `semroute train` learned."""
    moderate_from: Fraction = 0.3
    """Complexity from which a request wants the tier `moderate`."""
    complex_from: Fraction = 0.6
    """Complexity from which a request wants the tier `complex`."""
    strong_share: Fraction | None = None
    """`learned`: the share of requests that should not go to the cheapest model."""
    min_quality_retained: Fraction | None = None
    """`learned`: the share of the best model's mean quality that must be kept, at the least cost."""


class Judge(RouteFileStruct, frozen=True, kw_only=True):
    """A model that grades answers."""

    model: str
    """A model id."""
    rubric: Name
    """What a good answer is, in words."""
    threshold: Fraction = 0.7
    """The least grade that passes."""


class Callback(RouteFileStruct, frozen=True, kw_only=True):
    """An HTTP endpoint that judges answers: it is sent `{prompt, answer, model}` and answers `{pass, reason}`."""

    url: Annotated[str, Meta(pattern="^https?://")]
    """Where it listens."""
    timeout_s: Positive = 5.0
    """After that it gave no verdict: `on_judge_error` says what follows."""


class Checks(RouteFileStruct, frozen=True, kw_only=True):
    """What an answer must be. All that are given must hold."""

    non_empty: bool = True
    """It says something, or calls a tool."""
    min_chars: Annotated[int, Meta(gt=0)] | None = None
    """At least so many characters."""
    no_refusal: bool = False
    """It does not decline, such as "I cannot help with that"."""
    no_hedging: bool = False
    """It does not say that it does not know."""
    json: bool = False
    """It is JSON; a code fence around it is allowed."""
    json_schema: dict[str, Any] | None = None
    """It is JSON that this JSON Schema accepts."""
    regex: str | None = None
    """RE2 syntax; found anywhere in it. White space around the answer does not count."""
    code_parses: bool = False
    """Its fenced Python parses, and the brackets of its other fenced code are balanced."""
    contains: tuple[Name, ...] = ()
    """Each of these is in it, whatever the case."""
    forbids: tuple[Name, ...] = ()
    """None of these is in it, whatever the case."""
    finish_reasons: tuple[Finish, ...] = ()
    """It ended for one of these reasons; empty: any."""
    min_logprob: Annotated[float, Meta(le=0)] | None = None
    """The least mean log-probability of its tokens."""
    min_certainty: Fraction | None = None
    """The least certainty that the model itself rates it with, asked in a second call."""
    judge: Judge | None = None
    """Another model's grade."""
    callback: Callback | None = None
    """Your own judgement."""


class Cascade(RouteFileStruct, frozen=True, kw_only=True):
    """Try the plan's models in turn until an answer passes the checks. A streamed answer is held back until it did."""

    checks: Checks = Checks()
    """What an answer must be."""
    max_escalations: Annotated[int, Meta(ge=0)] = 2
    """At most so many models after the first, because of a check."""
    max_cost_usd: Annotated[Decimal, Meta(description="USD")] | None = None
    """No further model once this has been spent on the request."""
    deadline_s: Positive = 60.0
    """No further model so many seconds after the first call began."""
    on_exhausted: Literal["best_attempt", "error"] = "best_attempt"
    """When no answer passed: the one that failed the fewest checks, or an error."""
    on_judge_error: JudgeError | None = None
    """What becomes of an answer that a judge, a callback or the model itself does not grade, such as when it is down:
    it is accepted, or the next model is asked. None: `escalate` where the policy has `min_quality` or `select: best`,
    else `accept`."""


class Policy(RouteFileStruct, frozen=True, kw_only=True):
    """How a plan is made from the models that may serve a request."""

    select: Literal["ordered", "cheapest", "fastest", "best", "balanced"] = "ordered"
    """`ordered`: as the route lists them. `cheapest`, `fastest`, `best`: by estimated cost, latency, quality.
    `balanced`: by quality against cost, as `cost_quality` weighs them."""
    cost_quality: Fraction = 0.5
    """For `balanced`: 0 cheapest, 1 best. A request that brings its own dial is planned as `balanced`."""
    min_quality: Fraction | None = None
    """Models of less, or of unknown, quality are left out."""
    max_cost_usd: Annotated[Decimal, Meta(description="USD")] | None = None
    """Models on which the request is estimated to cost more are left out."""
    max_latency_ms: Positive | None = None
    """Models that are known to take longer are left out."""
    requires: tuple[Feature, ...] = ()
    """Models without these features are left out."""
    regions: tuple[Name, ...] = ()
    """Models in none of these regions are left out; empty: anywhere."""
    difficulty: Difficulty | None = None
    """Puts the models first that suit how hard the request is; None: no matter."""
    cascade: Cascade | None = None
    """Checks answers, and escalates; None: the first answer is taken."""
    timeouts: Timeouts = Timeouts()
    """Deadlines of each call."""
    deadline_s: Positive = 600.0
    """For all calls of a request together, pauses included."""
    retry: Retry = Retry()
    """How a call that failed is repeated."""
    on_error: dict[FaultName, OnError] = {}
    """What a class of faults leads to, where that differs from the table."""
    stream: StreamPolicy = StreamPolicy()
    """Streamed answers."""
    hedge_after_ms: Annotated[float, Meta(ge=0)] | Literal["auto", "p95"] | None = "auto"
    """The next model is asked as well when a model has been silent for so long. `auto`: 8 s, or longer for a model that
    is known to take longer. `p95`: the model's own 95th percentile, and as `auto` until that is known. None: never."""
    expected_output_tokens: Annotated[int, Meta(gt=0)] = 300
    """What an answer is taken to be when its cost is estimated beforehand."""
