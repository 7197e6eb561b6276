"""Read a list of prices in the JSON format of LiteLLM. Pure.

Source: `model_prices_and_context_window.json` in LiteLLM 1.110.2. Prices there are in USD for one token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import msgspec

from semroute.bases import Frozen
from semroute.errors import RequestError

PER = 1_000_000
MAX_USD = 1000
"""No token costs so much."""
_NEVER_FREE = frozenset({"cache_write", "cache_write_1h", "reasoning"})
FIELDS = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}
"""By our name of a price, theirs."""
_BAND = re.compile(r"(?:in|out)put_cost_per_token_above_(\d+)k_tokens")
_VENDORS = {
    "api.openai.com": ("openai",),
    "openai.azure.com": ("azure",),
    "api.anthropic.com": ("anthropic",),
    "generativelanguage.googleapis.com": ("gemini",),
    "amazonaws.com": ("bedrock_converse", "bedrock"),
    "api.groq.com": ("groq",),
    "api.mistral.ai": ("mistral",),
    "api.deepseek.com": ("deepseek",),
    "api.deepinfra.com": ("deepinfra",),
    "api.cerebras.ai": ("cerebras",),
    "api.together.xyz": ("together_ai",),
    "api.x.ai": ("xai",),
    "openrouter.ai": ("openrouter",),
}
"""By the end of a host's name, what LiteLLM calls its vendor."""


class ListedModel(Frozen, frozen=True, kw_only=True):
    """A model in the list."""

    key: str
    """Its key there."""
    prices: Mapping[str, Decimal]
    """In USD per 1M tokens, by the names in `FIELDS`. A price that is absent is not known."""
    band_tokens: int | None = None
    """Above so many input tokens it costs more. None: it does not."""


PriceList = Mapping[str, Mapping[str, Any]]
"""The list as read: an object for each model."""


def read_price_list(data: bytes, file: str) -> PriceList:
    """Read a list. `file`: its name, for messages. Raises `RequestError` if it is none."""
    try:
        found = msgspec.json.Decoder(dict[str, dict[str, Any]], float_hook=Decimal).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: {error}: expected a JSON object with an object for each model") from None
    if not any(FIELDS["input"] in entry for entry in found.values()):
        raise RequestError(f"{file}: no model has `{FIELDS['input']}`: expected prices as LiteLLM lists them")
    return found


def find_model(prices: PriceList, provider: str, base_url: str, name: str) -> ListedModel | None:
    """Find a model of a provider. None: the list has no prices for it.

    `provider`: its name in the route files. It counts if the host of `base_url` is no known vendor's. `name`: what the
    provider calls the model.
    """
    host = urlsplit(base_url).hostname or ""
    known = next((names for end, names in _VENDORS.items() if host == end or host.endswith(f".{end}")), (provider,))
    for vendor in known:
        for key in (f"{vendor}/{name}", name):
            entry = prices.get(key)
            if entry is not None and entry.get("litellm_provider") == vendor and _is_price(entry.get(FIELDS["input"])):
                return _listed(key, entry)
    return None


def _listed(key: str, entry: Mapping[str, Any]) -> ListedModel:
    stated = {ours: entry.get(theirs) for ours, theirs in FIELDS.items()}
    found = {ours: _per_million(price) for ours, price in stated.items() if _is_price(price)}
    if found["input"]:
        # 0 stands for "nobody pays this", as with DeepSeek's writes to the cache, and not for tokens that are free.
        found = {ours: price for ours, price in found.items() if price or ours not in _NEVER_FREE}
    bands = [int(match[1]) * 1000 for field in entry if (match := _BAND.fullmatch(field))]
    return ListedModel(key=key, prices=found, band_tokens=min(bands, default=None))


def _is_price(value: object) -> TypeGuard[int | Decimal]:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool) and 0 <= value <= MAX_USD


def _per_million(price: int | Decimal) -> Decimal:
    return (Decimal(price) * PER).normalize()
