"""What route files say of models: where they are, what they take and what they cost."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from msgspec import Meta, field
from msgspec.structs import replace

from semroute.bases import RouteFileStruct
from semroute.config.schema.resilience import BreakerSettings, RateLimits
from semroute.config.schema.values import Fraction, Name, Positive, Price
from semroute.decision import Tier

Feature = Literal["tools", "json", "vision", "reasoning", "prefill"]


class PriceEntry(RouteFileStruct, frozen=True, kw_only=True):
    """Prices that hold from a day on, in USD per 1M tokens."""

    since: datetime.date = field(name="from")
    """The first day of these prices, in UTC."""
    input: Price
    """Input tokens."""
    cached_input: Price | None = None
    """Input read from the provider's prompt cache. Not set: `input`."""
    cache_write: Price | None = None
    """Input written to the provider's prompt cache. Not set: `input`."""
    cache_write_1h: Price | None = None
    """Input written to it for an hour. Not set: twice `input`."""
    output: Price
    """Output tokens."""
    reasoning: Price | None = None
    """Reasoning tokens. Not set: `output`."""


class SpecialPrices(RouteFileStruct, frozen=True, kw_only=True):
    """The prices of some calls, in USD per 1M tokens. They hold for the whole call if all of the conditions do."""

    above_tokens: Annotated[int, Meta(gt=0)] | None = None
    """For calls with more input tokens than this."""
    service_tier: str | None = None
    """For calls that the provider says it served in this tier, such as `priority` or `flex`."""
    hours: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")] | None = None
    """For calls that end in these hours of a day in UTC, such as `16:30-00:30`. The last minute is not among them."""
    input_price: Price
    """Input tokens."""
    cached_input_price: Price | None = None
    """Input read from the provider's prompt cache. Not set: `input_price`."""
    cache_write_price: Price | None = None
    """Input written to the provider's prompt cache. Not set: `input_price`."""
    cache_write_1h_price: Price | None = None
    """Input written to it for an hour. Not set: twice `input_price`."""
    output_price: Price
    """Output tokens."""
    reasoning_price: Price | None = None
    """Reasoning tokens. Not set: `output_price`."""


class DeploymentSettings(RouteFileStruct, frozen=True, kw_only=True):
    """One more place that serves a model. A field that is not set has the model's value."""

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
    """USD per 1M reasoning tokens."""
    prices: tuple[PriceEntry, ...] | None = None
    """Prices that change on a day."""
    special_prices: tuple[SpecialPrices, ...] | None = None
    """Prices of long prompts, of service tiers and of some hours."""
    regions: tuple[Name, ...] | None = None
    """The regions that its data may go to, such as `eu`."""
    latency_ms: Positive | None = None
    """How long an answer takes, as far as you know."""


class ModelEntry(RouteFileStruct, frozen=True, kw_only=True):
    """A model as a route file describes it."""

    provider: str
    """Which entry of `providers` serves it."""
    name: str
    """The provider's own name for the model."""
    tier: Tier = "moderate"
    """How demanding the requests are that it is meant for."""
    input_price: Price = Decimal(0)
    """USD per 1M input tokens."""
    cached_input_price: Price | None = None
    """USD per 1M input tokens read from the provider's prompt cache. Not set: `input_price`."""
    cache_write_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache. Not set: `input_price`."""
    cache_write_1h_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache for an hour. Not set: twice `input_price`."""
    output_price: Price = Decimal(0)
    """USD per 1M output tokens."""
    reasoning_price: Price | None = None
    """USD per 1M reasoning tokens. Not set: `output_price`."""
    prices: tuple[PriceEntry, ...] = ()
    """Prices that change on a day. Before the first of these days the prices above hold."""
    special_prices: tuple[SpecialPrices, ...] = ()
    """Prices of long prompts, of service tiers and of some hours. The first that fits a call replaces those above."""
    batch_share: Fraction | None = None
    """What tokens cost in a batch, as a share of the model's prices. Not set: the share that the provider documents,
    such as 0.5 at OpenAI, or 1 if none is known."""
    prices_as_of: datetime.date | None = None
    """When these prices were last checked. Not set: the file's `prices_as_of`."""
    shutdown_date: datetime.date | None = None
    """The day on which the provider stops serving the model. `check` warns when it is near. Not set: the day that
    semroute knows for the model's name."""
    quality: Fraction | None = None
    """How good its answers are, from 0 to 1, on one scale for all your models. Not set: 0.60, 0.75 or 0.90, by tier."""
    quality_by_route: dict[str, Fraction] = {}
    """The quality on single routes, by the route's name."""
    context_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The context window: input and output together. Not set: unknown. `max_tokens` of a request is lowered to the
    room that is left."""
    max_output_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The longest answer that it gives. Not set: unknown. A request that allows more is lowered to this."""
    features: tuple[Feature, ...] = ("tools", "json")
    """What the model can do. A request that needs another feature goes to another model. `prefill`: the model can
    continue a turn of the assistant."""
    limits: RateLimits = RateLimits()
    """Its rate limits."""
    breaker: BreakerSettings = BreakerSettings()
    """When its circuit breaker opens."""
    regions: tuple[Name, ...] = ()
    """The regions that its data may go to, such as `eu`."""
    latency_ms: Positive | None = None
    """How long an answer takes, as far as you know. Measured latencies replace it."""
    weight: Positive = 1.0
    """Its share of the calls among its `deployments`, with `balance: weighted`."""
    deployments: tuple[DeploymentSettings, ...] = ()
    """Other places that serve the model. Each becomes a model of its own, `<id>@<provider>`, and shares the calls."""
    balance: Literal["p2c", "weighted", "least_busy", "lowest_latency", "cheapest"] = "p2c"
    """Which deployment comes first. `p2c`: the faster of two drawn at random, by measured latency."""

    def on(self, day: datetime.date) -> Self:
        """Return the model at the prices of a day.

        The latest entry of `prices` that has begun replaces the flat prices.
        """
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
"""Tokens that a model's window must leave for an answer, unless the caller asks for fewer."""


class Model(ModelEntry, frozen=True, kw_only=True):
    """A model of the registry."""

    id: str
    """Its key in `models`: the name that plans, decisions and callers use."""
    group: str = ""
    """The model that this is a deployment of. Empty: it is not a further deployment."""
    account: RateLimits = RateLimits()
    """The provider's limits for all of its models together."""

    def room(self, input_tokens: int) -> int | None:
        """Return the most tokens that the model can answer to an input of this size. None: not known.

        The result may be less than 0. The count of an input is only an estimate, so a tenth of it is also kept free.
        """
        if self.context_tokens is None:
            return self.max_output_tokens
        left = self.context_tokens - input_tokens - input_tokens // 10
        return left if self.max_output_tokens is None else min(left, self.max_output_tokens)


def deployment_ids(model: str, entry: ModelEntry) -> tuple[str, ...]:
    """Return the ids of a model's further deployments: `<model>@<provider>`, and `…#2` if a provider has several."""
    ids: list[str] = []
    for place in entry.deployments:
        id_ = f"{model}@{place.provider}"
        same = sum(known.partition("#")[0] == id_ for known in ids)
        ids.append(f"{id_}#{same + 1}" if same else id_)
    return tuple(ids)
