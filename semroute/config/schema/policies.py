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
    """How semroute tells how hard a request is. Models that suit it come first, stronger ones next."""

    by: Literal["complexity", "exemplars", "learned"] = "complexity"
    """`complexity`: a score from the prompt's form. `exemplars`: the most similar of `tiers`. `learned`: what
    `semroute train` learned."""
    moderate_from: Fraction = 0.3
    """From this complexity on, a request wants the tier `moderate`."""
    complex_from: Fraction = 0.6
    """From this complexity on, a request wants the tier `complex`."""
    strong_share: Fraction | None = None
    """`learned`: the share of requests that should not go to the cheapest model."""
    min_quality_retained: Fraction | None = None
    """`learned`: the share of the best model's quality to keep. semroute then chooses the cheapest way to keep it."""


class Judge(RouteFileStruct, frozen=True, kw_only=True):
    """A model that grades answers."""

    model: str
    """A model id."""
    rubric: Name
    """What a good answer is, in words."""
    threshold: Fraction = 0.7
    """The grade that an answer needs."""


class Callback(RouteFileStruct, frozen=True, kw_only=True):
    """An HTTP endpoint that judges answers: it is sent `{prompt, answer, model}` and answers `{pass, reason}`."""

    url: Annotated[str, Meta(pattern="^https?://")]
    """Where it listens."""
    timeout_s: Positive = 5.0
    """How long it may take. After that it has given no verdict, and `on_judge_error` says what follows."""


class Checks(RouteFileStruct, frozen=True, kw_only=True):
    """What an answer must be. All that are given must hold."""

    non_empty: bool = True
    """The answer says something, or calls a tool."""
    min_chars: Annotated[int, Meta(gt=0)] | None = None
    """How many characters the answer has at least."""
    no_refusal: bool = False
    """The answer does not decline, as "I cannot help with that" does."""
    no_hedging: bool = False
    """The answer does not say that the model does not know."""
    json: bool = False
    """The answer is JSON. A code fence around it is allowed."""
    json_schema: dict[str, Any] | None = None
    """The answer is JSON that this JSON Schema accepts."""
    regex: str | None = None
    """A regular expression in RE2 syntax. It is found anywhere in the answer. White space around the answer does not
    count."""
    code_parses: bool = False
    """Python in code fences can be parsed. Other code in fences has balanced brackets."""
    contains: tuple[Name, ...] = ()
    """The answer holds each of these. Upper and lower case count as the same."""
    forbids: tuple[Name, ...] = ()
    """The answer holds none of these. Upper and lower case count as the same."""
    finish_reasons: tuple[Finish, ...] = ()
    """The answer ended for one of these reasons. Empty: any reason."""
    min_logprob: Annotated[float, Meta(le=0)] | None = None
    """The mean log-probability that the tokens of the answer need."""
    min_certainty: Fraction | None = None
    """How certain the model itself must be of its answer. semroute asks the model in a second call."""
    judge: Judge | None = None
    """Another model's grade."""
    callback: Callback | None = None
    """The verdict of your own endpoint."""


class Cascade(RouteFileStruct, frozen=True, kw_only=True):
    """Try the models of the plan in turn until an answer passes the checks. A stream is held back until then."""

    checks: Checks = Checks()
    """What an answer must be."""
    max_escalations: Annotated[int, Meta(ge=0)] = 2
    """How many models may follow the first because of a failed check."""
    max_cost_usd: Annotated[Decimal, Meta(description="USD")] | None = None
    """Once the request has cost this much, no further model is asked."""
    deadline_s: Positive = 60.0
    """This long after the first call began, no further model is asked."""
    on_exhausted: Literal["best_attempt", "error"] = "best_attempt"
    """What the caller gets when no answer passed: the answer that failed the fewest checks, or an error."""
    on_judge_error: JudgeError | None = None
    """What follows when a judge, a callback or the model itself gives no grade, for example because it is down.
    `accept`: the answer is taken. `escalate`: the next model is asked. Not set: `escalate` if the policy has
    `min_quality` or `select: best`, otherwise `accept`."""


class Learn(RouteFileStruct, frozen=True, kw_only=True):
    """How the quality of models is learned from grades: from feedback, and from a judge. Now and then semroute tries a
    model that may be better than known.
    """

    prior_weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 30.0
    """How many grades the stated `quality` of a model counts as."""
    half_life_days: Annotated[float, Meta(gt=0, le=3650)] = 30.0
    """After so many days a grade counts half."""
    equal_within: Fraction = 0.02
    """`select: best`: models whose quality is lower than the best one's by at most this count as equal. The cheapest of
    them comes first."""
    floor: Fraction | None = None
    """A model whose quality is below this with a probability of 95% is not tried. Not set: any model of the plan may be
    tried."""
    caution: Annotated[float, Meta(ge=1, le=100)] = 2.0
    """How seldom models are tried. 1: as often as if each answer were graded. Larger: less often, because most answers
    get no grade, and a trial without one teaches nothing. A learned quality counts as so many times as sure when
    semroute draws which model to try."""
    explore_usd_per_day: Annotated[Decimal, Meta(description="USD")] = Decimal(1)
    """How much models that are tried may cost in a day (UTC) beyond what the best known choice would have cost."""


class Policy(RouteFileStruct, frozen=True, kw_only=True):
    """How a plan is made from the models that may serve a request."""

    select: Literal["ordered", "cheapest", "fastest", "best", "balanced"] = "ordered"
    """How models are ordered. `ordered`: as the route lists them. `cheapest`, `fastest`, `best`: by expected cost,
    latency or quality. `balanced`: by quality and cost together, weighed by `cost_quality`."""
    cost_quality: Fraction = 0.5
    """The dial of `balanced`, from 0 (cheapest) to 1 (best). A request with a dial of its own is planned as
    `balanced`."""
    min_quality: Fraction | None = None
    """Leave out models with a lower quality, or an unknown one."""
    max_cost_usd: Annotated[Decimal, Meta(description="USD")] | None = None
    """Leave out models on which the request is expected to cost more."""
    max_latency_ms: Positive | None = None
    """Leave out models that are known to take longer."""
    requires: tuple[Feature, ...] = ()
    """Leave out models without these features."""
    regions: tuple[Name, ...] = ()
    """Leave out models outside of these regions. Empty: any region."""
    difficulty: Difficulty | None = None
    """Begin with models that are just strong enough for the request. Not set: difficulty does not count."""
    learn: Learn | None = None
    """Learn the quality of models from grades. Not set: the stated quality counts."""
    cascade: Cascade | None = None
    """Check answers, and ask the next model when one fails. Not set: the first answer is taken."""
    timeouts: Timeouts = Timeouts()
    """Deadlines of each call."""
    deadline_s: Positive = 600.0
    """The deadline for all calls of a request together, including the pauses between them."""
    retry: Retry = Retry()
    """How a call that failed is repeated."""
    on_error: dict[FaultName, OnError] = {}
    """What follows a class of faults, if it should differ from the table of faults."""
    stream: StreamPolicy = StreamPolicy()
    """How streamed answers are sent."""
    hedge_after_ms: Annotated[float, Meta(ge=0)] | Literal["auto", "p95"] | None = "auto"
    """After how many milliseconds without an answer the next model is asked as well. `auto`: 8 s, or more for a model
    that is known to take longer. `p95`: the 95th percentile of the model's own times, and `auto` until that is known.
    `null`: never."""
    expected_output_tokens: Annotated[int, Meta(gt=0)] = 300
    """How long an answer is expected to be, for estimates of its cost."""
