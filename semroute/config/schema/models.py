"""What route files say of models: where they are, what they take and what they cost."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from msgspec import Meta, field
from msgspec.structs import replace

from semroute.bases import RouteFileStruct
from semroute.config.schema.resilience import BreakerSettings, Limits
from semroute.config.schema.values import Fraction, Name, Positive, Price
from semroute.decision import Tier

Feature = Literal["tools", "json", "vision", "reasoning", "prefill"]


class PriceEntry(RouteFileStruct, frozen=True, kw_only=True):
    """What a model costs from a day on, in USD per 1M tokens."""

    since: datetime.date = field(name="from")
    """The first day, UTC, on which it holds."""
    input: Price
    """Input tokens."""
    cached_input: Price | None = None
    """Input read from the provider's prompt cache; None: as `input`."""
    cache_write: Price | None = None
    """Input written to the provider's prompt cache; None: as `input`."""
    cache_write_1h: Price | None = None
    """The same where it is kept for an hour; None: twice `input`."""
    output: Price
    """Output tokens."""
    reasoning: Price | None = None
    """Output that the model thought and did not say; None: as `output`."""


class Deployment(RouteFileStruct, frozen=True, kw_only=True):
    """One more place where a model is served. A field that is not given is as the model says."""

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


class ModelEntry(RouteFileStruct, frozen=True, kw_only=True):
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
    """USD per 1M input tokens read from the provider's prompt cache; None: as `input_price`."""
    cache_write_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache; None: as `input_price`."""
    cache_write_1h_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache for an hour; None: twice `input_price`."""
    output_price: Price = Decimal(0)
    """USD per 1M output tokens."""
    reasoning_price: Price | None = None
    """USD per 1M output tokens that the model thought and did not say; None: as `output_price`."""
    prices: tuple[PriceEntry, ...] = ()
    """Prices that change on a day; before the first of them the six above hold."""
    prices_as_of: datetime.date | None = None
    """When these prices were last checked; None: the file's own `prices_as_of`."""
    shutdown_date: datetime.date | None = None
    """The day from which its provider serves it no more. `check` tells when it is near; None: as known for its name."""
    quality: Fraction | None = None
    """How good its answers are in general, 0 to 1, on one scale over all your models; None: .60, .75 or .90 by tier."""
    quality_by_route: dict[str, Fraction] = {}
    """The same for single routes, by name."""
    context_tokens: Annotated[int, Meta(gt=0)] | None = None
    """Context window, input and output together; None: not known. `max_tokens` is lowered to what it leaves."""
    max_output_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The most it can answer; None: not known. A request that allows more is sent with this limit."""
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
        """The most that it can answer beside such an input; None: not known. It may be less than 0.

        The count of an input is an estimate: a tenth of it is kept free besides.
        """
        if self.context_tokens is None:
            return self.max_output_tokens
        left = self.context_tokens - input_tokens - input_tokens // 10
        return left if self.max_output_tokens is None else min(left, self.max_output_tokens)


def deployment_ids(model: str, entry: ModelEntry) -> tuple[str, ...]:
    """What a model's further deployments are called: `<model>@<provider>`, and `…#2` where a provider has several."""
    ids: list[str] = []
    for place in entry.deployments:
        id_ = f"{model}@{place.provider}"
        same = sum(known.partition("#")[0] == id_ for known in ids)
        ids.append(f"{id_}#{same + 1}" if same else id_)
    return tuple(ids)
