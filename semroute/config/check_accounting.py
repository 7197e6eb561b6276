"""What route files say of money: prices, the baseline and budgets."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from msgspec.structs import asdict

from semroute.config.config import Draft
from semroute.config.dialects import ECHO
from semroute.config.problems import error, unknown, warning
from semroute.config.schema.models import PriceEntry
from semroute.errors import Problem

PRICES = (
    "input_price",
    "cached_input_price",
    "cache_write_price",
    "cache_write_1h_price",
    "output_price",
    "reasoning_price",
)
PRICE_DECIMALS = 6
"""Of USD per 1M tokens: a token then costs a whole number of the log's smallest unit, 10^-12 USD."""


MAX_BUDGET = Decimal(9_000_000)
"""USD: what the log's smallest unit can count to in 64 bits."""
MAX_PRICE = Decimal(1_000_000)
"""USD per 1M tokens: a dollar a token."""


def check_accounting(draft: Draft) -> Iterator[Problem]:
    """Prices that cannot be, and budgets for what is not there."""
    for id_, model in draft.merged.models.items():
        flat = {field: getattr(model, field) for field in PRICES}
        yield from _check_prices(draft, f"models.{id_}", flat, model.prices)
        for place, deployment in enumerate(model.deployments):
            flat = {field: getattr(deployment, field) for field in PRICES}
            yield from _check_prices(draft, f"models.{id_}.deployments[{place}]", flat, deployment.prices or ())
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
    """How many decimals a finite number has. Without arithmetic: that rounds, and fails for numbers of many digits."""
    _, digits, exponent = amount.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -int(exponent) - zeros)


def _check_unpriced(draft: Draft) -> Iterator[Problem]:
    """Models that count as free because nobody said what they cost."""
    for id_, model in draft.merged.models.items():
        key = f"models.{id_}"
        provider = draft.merged.providers.get(model.provider)
        given = any(f"{key}.{field}" in draft.sources for field in ("input_price", "output_price", "prices"))
        if provider is not None and provider.dialect != ECHO and not given:
            message = "got no price: it counts as free, for budgets and for what is cheapest"
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
            message = f"got {' and '.join(f'`{scope}`' for scope in scopes)}, expected one of them at most"
            yield error(draft, f"budgets.{budget.name}", message)
