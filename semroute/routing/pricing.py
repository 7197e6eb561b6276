"""Tokens and money: what a model is expected to cost, and to be worth. Money is exact: `Decimal`, never `float`."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.models import Model, SpecialPrices
from semroute.config.schema.policies import Policy
from semroute.decision import Belief, Estimate
from semroute.messages import ChatRequest, Text, ToolCall, ToolResult, Usage

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 800
MESSAGE_TOKENS = 4
AUTO = "auto"
"""A service tier that leaves the choice to the provider."""
_MILLION = Decimal(1_000_000)


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens of a text without a tokenizer: one for every four bytes of UTF-8.

    English has about 4.2 characters a token; scripts of three bytes a character have about 1.3 characters a token.
    """
    return -(-size_bytes(text) // BYTES_PER_TOKEN)


def size_bytes(text: str) -> int:
    """Return the size of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def tokens_of(size: int) -> int:
    """Estimate the tokens of a text with this many bytes."""
    return -(-size // BYTES_PER_TOKEN)


def estimate_input_tokens(request: ChatRequest, count: Callable[[str], int] = estimate_text_tokens) -> int:
    """Estimate the tokens of a request: messages, pictures and tools. `count` is called once, for all texts."""
    total = 0
    texts = []
    for message in request.messages:
        total += MESSAGE_TOKENS + IMAGE_TOKENS * len(message.images)
        for part in message.parts:
            match part:
                case Text(text=text) | ToolResult(text=text) | ToolCall(arguments=text):
                    texts.append(text)
                case _:
                    pass
    texts += [tool.name + tool.description + _written(tool.parameters) for tool in request.tools]
    return total + count("\n".join(texts))


def _written(parameters: dict[str, Any]) -> str:
    """Write as JSON. Python's `str` of nested values takes time in the square of their depth."""
    try:
        return msgspec.json.encode(parameters).decode()
    except (TypeError, ValueError, RecursionError):  # it did not come from a body, and cannot be sent in one
        return ""


def cost_usd(model: Model, usage: Usage, service_tier: str = "", ended: float | None = None) -> Decimal:
    """Return the exact cost of a call, in USD. `Model.on` gives the prices of a day.

    `service_tier`: the tier that served it. `ended`: when it ended, in seconds since 1970. None: prices of some hours
    do not count.
    """
    prices: Model | SpecialPrices = model
    if model.special_prices:
        prices = next((one for one in model.special_prices if _fits(one, usage, service_tier, ended)), model)
    return _cost_usd(prices, usage)


def _fits(prices: SpecialPrices, usage: Usage, service_tier: str, ended: float | None) -> bool:
    if prices.above_tokens is not None and usage.input_tokens <= prices.above_tokens:
        return False
    if prices.service_tier is not None and prices.service_tier != service_tier:
        return False
    if prices.hours is None:
        return True
    if ended is None:
        return False
    begin, _, end = prices.hours.partition("-")
    now = time.strftime("%H:%M", time.gmtime(ended))
    return begin <= now < end if begin < end else now >= begin or now < end


def dearest_usd(model: Model, input_tokens: int, output_tokens: int, service_tier: str = "") -> Decimal:
    """Return the most that a call can cost. `service_tier`: the tier that it asks for, which it may not get."""
    special = [one for one in model.special_prices if _possible(one, input_tokens, service_tier)]
    usual = _dearest_usd(model, input_tokens, output_tokens)
    return max([usual, *(_dearest_usd(one, input_tokens, output_tokens) for one in special)])


def _dearest_usd(prices: Model | SpecialPrices, input_tokens: int, output_tokens: int) -> Decimal:
    read = input_tokens * max(prices.input_price, prices.cache_write_price or Decimal(0))
    return (read + output_tokens * max(prices.output_price, prices.reasoning_price or Decimal(0))) / _MILLION


def _possible(prices: SpecialPrices, input_tokens: int, service_tier: str) -> bool:
    within = prices.above_tokens is None or input_tokens > prices.above_tokens
    return within and (prices.service_tier in (None, service_tier) or service_tier == AUTO)


def _cost_usd(prices: Model | SpecialPrices, usage: Usage) -> Decimal:
    input_price, output_price = prices.input_price, prices.output_price
    if not (usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens):  # as mostly
        return (usage.input_tokens * input_price + usage.output_tokens * output_price) / _MILLION
    fresh_tokens = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    said_tokens = max(0, usage.output_tokens - usage.reasoning_tokens)
    millionths = (
        fresh_tokens * input_price
        + usage.cached_tokens * _or(prices.cached_input_price, input_price)
        + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * _or(prices.cache_write_price, input_price)
        + usage.cache_write_1h_tokens * _or(prices.cache_write_1h_price, 2 * input_price)
        + said_tokens * output_price
        + usage.reasoning_tokens * _or(prices.reasoning_price, output_price)
    )
    return millionths / _MILLION


def batch_cost_usd(model: Model, usage: Usage, otherwise: float) -> Decimal:
    """Return the cost of tokens in a batch. `otherwise`: the share of the list price if the model states none."""
    share = otherwise if model.batch_share is None else model.batch_share
    return cost_usd(model, usage) * Decimal(str(share))


def _or(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


def saved_usd(baseline: Model, usage: Usage, cost: Decimal) -> Decimal:
    """Return what the baseline model would have cost for the same tokens, less what was spent."""
    return cost_usd(baseline, usage) - cost


def estimate(model: Model | None, policy: Policy, input_tokens: int, max_tokens: int | None) -> Estimate:
    """Estimate the cost of a call before it is made."""
    output_tokens = policy.expected_output_tokens
    if max_tokens is not None:
        output_tokens = min(output_tokens, max_tokens)
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return Estimate(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd(model, usage) if model else Decimal(0),
    )


class Offer(Frozen, frozen=True, kw_only=True):
    """A model that may serve the request."""

    model: Model
    quality: float
    known: bool = True
    """Whether the quality is learned or stated. False: it is the default of the tier."""
    belief: Belief | None = None
    """What grades say of the quality. None: nothing."""
    cost_usd: Decimal
    latency_ms: float | None
    place: int
    """The position in the list that it comes from."""
    why: str = ""
