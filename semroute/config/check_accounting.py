"""Check what route files say about money: prices, the baseline and budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec.structs import asdict

from semroute.config.config import Draft
from semroute.config.dialects import ECHO
from semroute.config.problems import error, unknown, warning
from semroute.config.schema.models import PriceEntry, SpecialPrices
from semroute.errors import Problem

PRICES = (
    "input_price",
    "cached_input_price",
    "cache_write_price",
    "cache_write_1h_price",
    "output_price",
    "reasoning_price",
)
CONDITIONS = ("above_tokens", "service_tier", "hours")
PRICE_DECIMALS = 6
"""Decimals of a price in USD per 1M tokens. With so many, the price of a token is a whole number of 10^-12 USD, the
smallest unit of the log."""


MAX_BUDGET = Decimal(9_000_000)
"""USD: the most that 64 bits can count in the log's smallest unit."""
MAX_PRICE = Decimal(1_000_000)
"""USD per 1M tokens, which is one dollar a token."""


def check_accounting(draft: Draft) -> Iterator[Problem]:
    """Find impossible prices, and budgets for things that do not exist."""
    for id_, model in draft.merged.models.items():
        flat = {field: getattr(model, field) for field in PRICES}
        yield from _check_prices(draft, f"models.{id_}", flat, model.prices)
        yield from _check_special(draft, f"models.{id_}", model.special_prices)
        for place, deployment in enumerate(model.deployments):
            flat = {field: getattr(deployment, field) for field in PRICES}
            yield from _check_prices(draft, f"models.{id_}.deployments[{place}]", flat, deployment.prices or ())
            yield from _check_special(draft, f"models.{id_}.deployments[{place}]", deployment.special_prices or ())
    yield from _check_unpriced(draft)
    yield from _check_budgets(draft)


def _check_prices(
    draft: Draft, key: str, prices: dict[str, Decimal | None], entries: tuple[PriceEntry, ...]
) -> Iterator[Problem]:
    for index, entry in enumerate(entries):
        dated = asdict(entry)
        since = dated.pop("since")
        if any(since == earlier.since for earlier in entries[:index]):
            yield error(draft, f"{key}.prices[{index}].from", f"got {since} a second time, expected each day once")
        prices |= {f"prices[{index}].{field}": price for field, price in dated.items()}
    yield from _check_amounts(draft, key, prices)


def _check_special(draft: Draft, key: str, entries: tuple[SpecialPrices, ...]) -> Iterator[Problem]:
    """Find special prices that are impossible, or that never hold because an earlier entry fits the same calls."""
    for index, entry in enumerate(entries):
        at = f"{key}.special_prices[{index}]"
        yield from _check_amounts(draft, at, {field: getattr(entry, field) for field in PRICES})
        conditions = {name: getattr(entry, name) for name in CONDITIONS if getattr(entry, name) is not None}
        if not conditions:
            yield error(draft, at, f"got no condition, expected {', '.join(f'`{name}`' for name in CONDITIONS)}")
        begin, _, end = (entry.hours or "").partition("-")
        if entry.hours is not None and begin == end:
            yield error(draft, f"{at}.hours", f"got {entry.hours}, expected two different times")
        for number, earlier in enumerate(entries[:index]):
            if _covers(earlier, entry):
                message = f"never holds, because special_prices[{number}] comes first and fits the same calls"
                yield warning(draft, at, message, "unreachable", "put the entry with more conditions first")
                break


def _covers(earlier: SpecialPrices, entry: SpecialPrices) -> bool:
    return (
        (earlier.above_tokens or 0) <= (entry.above_tokens or 0)
        and earlier.service_tier in (None, entry.service_tier)
        and earlier.hours in (None, entry.hours)
    )


def _check_amounts(draft: Draft, key: str, prices: Mapping[str, Decimal | None]) -> Iterator[Problem]:
    for field, price in prices.items():
        if price is None:
            continue
        if not (price.is_finite() and price >= 0):
            yield error(draft, f"{key}.{field}", f"got {price}, expected a price of at least 0")
        elif price > MAX_PRICE:
            yield error(draft, f"{key}.{field}", f"got {price}, expected at most {MAX_PRICE:,} USD per 1M tokens")
        elif _decimals(price) > PRICE_DECIMALS:
            yield error(draft, f"{key}.{field}", f"got {price}, expected at most {PRICE_DECIMALS} decimals")


def _decimals(amount: Decimal) -> int:
    """Count the decimals of a finite number. Arithmetic would round, and would fail for numbers with many digits."""
    _, digits, exponent = amount.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -int(exponent) - zeros)


def _check_unpriced(draft: Draft) -> Iterator[Problem]:
    """Find models that count as free because no price is given."""
    for id_, model in draft.merged.models.items():
        key = f"models.{id_}"
        provider = draft.merged.providers.get(model.provider)
        given = any(f"{key}.{field}" in draft.sources for field in ("input_price", "output_price", "prices"))
        if provider is not None and provider.dialect != ECHO and not given:
            message = "got no price: the model counts as free in budgets and comparisons"
            yield warning(draft, key, message, "unpriced", "give its prices, or `input_price: 0` if it is free")


def _check_budgets(draft: Draft) -> Iterator[Problem]:
    merged = draft.merged
    models = {f"budgets.{budget.name}.model": budget.model for budget in merged.budgets if budget.model is not None}
    if merged.baseline is not None:
        models["baseline"] = merged.baseline
    yield from unknown(draft, "models", models)
    routes = {f"budgets.{budget.name}.route": budget.route for budget in merged.budgets if budget.route is not None}
    yield from unknown(draft, "routes", routes)
    for budget in merged.budgets:
        if not (budget.usd.is_finite() and 0 <= budget.usd <= MAX_BUDGET):
            expected = f"expected an amount from 0 to {MAX_BUDGET:,}"
            yield error(draft, f"budgets.{budget.name}.usd", f"got {budget.usd}, {expected}")
        scopes = [scope for scope in ("key", "team", "route", "model") if getattr(budget, scope) is not None]
        if len(scopes) > 1:
            message = f"got {' and '.join(f'`{scope}`' for scope in scopes)}, expected at most one of them"
            yield error(draft, f"budgets.{budget.name}", message)
