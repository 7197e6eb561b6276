"""No error tells a caller where a provider is: every fault of the benchmark, in every dialect, whole and streamed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from bench.fault_cases import ADDRESSES, CASES, DEFAULTS
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.native.client import Native
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ClientDialect
from semroute.errors import PlanExhaustedError, ProviderError, SemrouteError
from semroute.messages import ChatRequest, Message, Text
from semroute.providers.http_provider import HttpProvider
from semroute.providers.transport import Transport
from tests.dialects.test_round_trips import CLIENTS, DECISION
from tests.providers.fault_server import FaultServer

SHORT = Timeouts(connect_s=5, first_token_s=0.3, stall_s=0.3, total_s=0.3, stream_s=2)
FAULTS = sorted({scenario for case in (*CASES, *DEFAULTS) for scenario in case.plan} | {"quotes-address-503"})
DIALECTS: list[ClientDialect] = [*CLIENTS.values(), Native()]
TOLD_AT_LEAST = 40
"""So many calls must fail: the others show nothing."""


async def failure(provider: HttpProvider, name: str, *, stream: bool) -> SemrouteError | None:
    """The error of one call. None: it is answered."""
    request = ChatRequest(
        id="1",
        messages=(Message(role="user", parts=(Text(text="Hi"),)),),
        stream=stream,
        dialect="openai",
        raw={"messages": [{"role": "user", "content": "Hi"}]},
    )
    model = Model(id=name, provider="p", name=name)
    try:
        if stream:
            async for _ in provider.stream(request, model, SHORT):
                pass
        else:
            await provider.complete(request, model, SHORT)
    except ProviderError as error:
        return error
    return None


def told(error: SemrouteError) -> Iterator[bytes]:
    """What callers may be told of it."""
    for dialect in DIALECTS:
        renderer = dialect.stream(ChatRequest(id="1", messages=()), DECISION)
        yield dialect.render_error(error, 502)
        yield renderer.error(error, 502)


@pytest.mark.parametrize("secret", ["", "user:secret-0123@"])
async def test_no_error_tells_where_a_provider_is(faults: FaultServer, secret: str) -> None:
    transport = Transport()
    address = faults.url.replace("://", f"://{secret}")
    places = dict.fromkeys(FAULTS, address) | ADDRESSES
    providers = {
        name: HttpProvider(
            ProviderSettings(id="p", dialect="openai", base_url=url),
            OpenAIProviderDialect(),
            transport,
        )
        for name, url in places.items()
    }
    calls = [failure(provider, name, stream=stream) for name, provider in providers.items() for stream in (False, True)]
    try:
        errors = [error for error in await asyncio.gather(*calls) if error is not None]
    finally:
        await transport.aclose()
    assert len(errors) >= TOLD_AT_LEAST
    hidden = re.compile(rf"127\.0\.0\.1|localhost|provider\.invalid|{faults.port}|secret-0123".encode())
    for error in errors:
        assert isinstance(error, ProviderError)
        for each in (error, PlanExhaustedError(f"every model of the plan failed: m: {error}", last=error)):
            for text in told(each):
                assert not hidden.search(text), text
