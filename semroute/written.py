"""The structs that people write in route files and that every floor reads: models, policies, routes."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, field
from msgspec.structs import replace

from semroute.calls import BreakerSettings, FaultName, Limits, OnError, Retry, StreamPolicy, Timeouts
from semroute.structs import Written

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Price = Annotated[Decimal, Meta(description="USD per 1,000,000 tokens")]
Tier = Literal["simple", "moderate", "complex"]
TIERS: tuple[Tier, ...] = ("simple", "moderate", "complex")
"""From the least to the most demanding."""
Feature = Literal["tools", "json", "vision", "reasoning", "prefill"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Name = Annotated[str, Meta(min_length=1)]
MAX_ROUTE_NAME = 128
"""Characters."""


# --- models -----------------------------------------------------------------------------------------------------------


class PriceEntry(Written, frozen=True, kw_only=True):
    """What a model costs from a day on, in USD per 1M tokens."""

    since: datetime.date = field(name="from")
    """The first day, UTC, on which it holds."""
    input: Price
    """Input tokens."""
    cached_input: Price | None = None
    """Input read from the provider's prompt cache; null: as `input`."""
    cache_write: Price | None = None
    """Input written to the provider's prompt cache; null: as `input`."""
    cache_write_1h: Price | None = None
    """The same where it is kept for an hour; null: twice `input`."""
    output: Price
    """Output tokens."""
    reasoning: Price | None = None
    """Output that the model thought and did not say; null: as `output`."""


class Deployment(Written, frozen=True, kw_only=True):
    """One more place where a model is served. What is null is as the model says."""

    provider: str
    """Which entry of `providers` serves it."""
    name: str | None = None
    """What that provider calls the model."""
    weight: Positive | None = None
    """Its share of the calls, with `balance: weighted`."""
    input_price: Price | None = None
    """USD per 1M input tokens."""
    cached_input_price: Price | None = None
    """USD per 1M input tokens read from the provider's prompt cache."""
    cache_write_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache."""
    cache_write_1h_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache for an hour."""
    output_price: Price | None = None
    """USD per 1M output tokens."""
    reasoning_price: Price | None = None
    """USD per 1M output tokens that the model thought and did not say."""
    prices: tuple[PriceEntry, ...] | None = None
    """Prices that change on a day."""
    regions: tuple[Name, ...] | None = None
    """Where its data may go, such as `eu`."""
    latency_ms: Positive | None = None
    """How long an answer takes, as far as you know."""


class ModelEntry(Written, frozen=True, kw_only=True):
    """A model as a route file describes it."""

    provider: str
    """Which entry of `providers` serves it."""
    name: str
    """The provider's own name for the model."""
    tier: Tier = "moderate"
    """How demanding a request it is meant for."""
    input_price: Price = Decimal(0)
    """USD per 1M input tokens."""
    cached_input_price: Price | None = None
    """USD per 1M input tokens read from the provider's prompt cache; null: as `input_price`."""
    cache_write_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache; null: as `input_price`."""
    cache_write_1h_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache for an hour; null: twice `input_price`."""
    output_price: Price = Decimal(0)
    """USD per 1M output tokens."""
    reasoning_price: Price | None = None
    """USD per 1M output tokens that the model thought and did not say; null: as `output_price`."""
    prices: tuple[PriceEntry, ...] = ()
    """Prices that change on a day; before the first of them the six above hold."""
    prices_as_of: datetime.date | None = None
    """When these prices were last checked; null: the file's own `prices_as_of`."""
    quality: Fraction | None = None
    """How good its answers are in general, 0 to 1, on one scale over all your models; null: .60, .75 or .90 by tier."""
    quality_by_route: dict[str, Fraction] = {}
    """The same for single routes, by name."""
    context_tokens: Annotated[int, Meta(gt=0)] | None = None
    """Context window, input and output together; null: not known. `max_tokens` is lowered to what it leaves."""
    max_output_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The most it can answer; null: not known. A request that allows more is sent with this limit."""
    features: tuple[Feature, ...] = ("tools", "json")
    """What it can do. A request that needs another is not sent to it. `prefill`: it continues an assistant's turn."""
    limits: Limits = Limits()
    """How much it takes."""
    breaker: BreakerSettings = BreakerSettings()
    """When it is left alone for a while."""
    regions: tuple[Name, ...] = ()
    """Where its data may go, such as `eu`."""
    latency_ms: Positive | None = None
    """How long an answer takes, as far as you know; measured latencies take its place."""
    weight: Positive = 1.0
    """Its share of the calls among its `deployments`, with `balance: weighted`."""
    deployments: tuple[Deployment, ...] = ()
    """Where else it is served. Each becomes a model of its own, `<id>@<provider>`, tried right beside this one."""
    balance: Literal["p2c", "weighted", "least_busy", "lowest_latency", "cheapest"] = "p2c"
    """Which deployment comes first. `p2c`: the faster of two drawn at random, by measured latency."""

    def on(self, day: datetime.date) -> Self:
        """The model at the prices of a day: the latest entry of `prices` that has begun, as the flat prices."""
        begun = [entry for entry in self.prices if entry.since <= day]
        if not begun:
            return self
        entry = max(begun, key=lambda entry: entry.since)
        return replace(
            self,
            input_price=entry.input,
            cached_input_price=entry.cached_input,
            cache_write_price=entry.cache_write,
            cache_write_1h_price=entry.cache_write_1h,
            output_price=entry.output,
            reasoning_price=entry.reasoning,
        )


LEAST_TOKENS = 1024
"""What a model's window must leave for an answer, unless the caller asks for less."""


class Model(ModelEntry, frozen=True, kw_only=True):
    """A model of the registry."""

    id: str
    """Its key in `models`: the name that plans, decisions and callers use."""
    group: str = ""
    """The model that this is a deployment of; empty: its own."""
    account: Limits = Limits()
    """What its provider takes, from all of its models together."""

    def room(self, input_tokens: int) -> int | None:
        """The most that it can answer beside such an input; null: not known. It may be less than 0.

        The count of an input is an estimate: a tenth of it is kept free besides.
        """
        if self.context_tokens is None:
            return self.max_output_tokens
        left = self.context_tokens - input_tokens - input_tokens // 10
        return left if self.max_output_tokens is None else min(left, self.max_output_tokens)


# --- policies ---------------------------------------------------------------------------------------------------------


class Difficulty(Written, frozen=True, kw_only=True):
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


class Judge(Written, frozen=True, kw_only=True):
    """A model that grades answers."""

    model: str
    """A model id."""
    rubric: Name
    """What a good answer is, in words."""
    threshold: Fraction = 0.7
    """The least grade that passes."""


class Callback(Written, frozen=True, kw_only=True):
    """An HTTP endpoint that judges answers: it is sent `{prompt, answer, model}` and answers `{pass, reason}`."""

    url: Annotated[str, Meta(pattern="^https?://")]
    """Where it listens."""
    timeout_s: Positive = 5.0
    """After that the check counts as failed."""


class Checks(Written, frozen=True, kw_only=True):
    """What an answer must be. All that are given must hold; a check that cannot be made fails."""

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


class Cascade(Written, frozen=True, kw_only=True):
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


class Policy(Written, frozen=True, kw_only=True):
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
    """Puts the models first that suit how hard the request is; null: no matter."""
    cascade: Cascade | None = None
    """Checks answers, and escalates; null: the first answer is taken."""
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


# --- routes -----------------------------------------------------------------------------------------------------------


class JsonContract(Written, frozen=True, kw_only=True):
    """An answer that machines read. A model without the feature `json` is told so in words."""

    json_schema: dict[str, Any] | None = None
    """JSON Schema of the answer; null: any JSON."""


class Route(Written, frozen=True, kw_only=True):
    """An intent: what it looks like, and which models serve it."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_ROUTE_NAME)]
    """Unique over all files."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts. The more varied, the better the match."""
    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order unless the policy says otherwise."""
    description: str = ""
    """One sentence for people."""
    threshold: Fraction | None = None
    """The least confidence that takes this route; null: as `abstain` says."""
    policy: Policy | None = None
    """null: the global one."""
    output: JsonContract | None = None
    """What every answer of this route must be, whichever model gives it; null: as the caller asks."""
