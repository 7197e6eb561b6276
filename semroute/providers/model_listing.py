"""Ask providers of OpenAI's dialects for their models, and the days on which these are shut down.

Source: https://developers.openai.com/api/docs/deprecations, 2026-11-30.
"""

from __future__ import annotations

import asyncio
import datetime

import msgspec

from semroute.config.config import Config
from semroute.config.dialects import rules_of
from semroute.config.presets import PRESETS
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.registry import provider_dialect
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.providers.transport import Transport, encode_headers

DEADLINE_S = 10.0
OK = 200


class _Entry(msgspec.Struct):
    id: str
    shutdown_date: str | None = None
    """A day as `YYYY-MM-DD`."""


class _List(msgspec.Struct):
    data: list[_Entry]


async def model_lists(config: Config) -> tuple[dict[str, dict[str, datetime.date | None]], dict[str, str]]:
    """Return the models of each provider that can be asked, and why others cannot. Both are by the provider's id."""
    transport = Transport()
    usable = [each for each in config.providers.values() if not each.unavailable]
    providers = [each for each in usable if rules_of(each.dialect).of_openai]
    try:
        answers = await asyncio.gather(*(_listed(provider, transport) for provider in providers))
    finally:
        await transport.aclose()
    pairs = list(zip((provider.id for provider in providers), answers, strict=True))
    lists = {id_: answer for id_, answer in pairs if isinstance(answer, dict)}
    return lists, {id_: answer for id_, answer in pairs if isinstance(answer, str)}


async def _listed(provider: ProviderSettings, transport: Transport) -> dict[str, datetime.date | None] | str:
    """Return the models that a provider lists, or why it gave no list."""
    base_url = provider.base_url or (PRESETS[provider.preset].base_url if provider.preset else "")
    headers = {**provider_dialect(provider).headers(provider.api_key), **provider.headers}
    try:
        async with asyncio.timeout(DEADLINE_S):
            response = await transport.send(
                "GET", f"{base_url.rstrip('/')}/models", headers=encode_headers(headers), body=b"", connect_s=DEADLINE_S
            )
            async with response:
                body = await response.aread()
    except TimeoutError:
        return f"no answer within {DEADLINE_S:g} s"
    except ProviderError as error:
        return str(error)
    if response.status != OK:
        return f"status {response.status}"
    try:
        listed = msgspec.json.decode(body, type=_List)
    except UNREADABLE:
        return "its answer is not a list of models"
    return {entry.id: _date(entry.shutdown_date) for entry in listed.data}


def _date(text: str | None) -> datetime.date | None:
    """Read a day. None: there is no text, or it is not a day."""
    try:
        return datetime.date.fromisoformat(text) if text else None
    except ValueError:
        return None
