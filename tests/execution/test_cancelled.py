"""What a call costs that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.execution.executor import first_answer
from semroute.execution.model_call import Work
from semroute.execution.streaming import first_stream
from semroute.messages import Message, Text
from semroute.providers.http_provider import HttpProvider
from semroute.providers.transport import Transport
from semroute.record import Attempt
from tests.execution.rig import PATIENT, QUICK, rig
from tests.providers.fault_server import FaultServer

LONG = "x" * 30_000_000
"""More than the sockets' buffers hold."""


async def given_up(work: Work, reached: Callable[[], bool]) -> Attempt:
    """The account of a call that is cancelled once it got somewhere."""
    attempts: list[Attempt] = []
    act = first_stream if work.request.stream else first_answer
    call = asyncio.ensure_future(act(work, attempts))
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - of another thread, or of a socket
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert [attempt.status for attempt in attempts] == ["cancelled"]
    return attempts[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_was_sent_costs_its_input(stream: bool) -> None:
    with FaultServer() as server:
        async with rig(server) as execution:
            work = execution.work(["hang"], replace(QUICK, timeouts=PATIENT), stream=stream)
            attempt = await given_up(work, lambda: len(server.requests) == 1)
    assert (attempt.usage.estimated, attempt.usage.output_tokens) == (True, 0)
    assert attempt.usage.input_tokens > 0
    assert attempt.cost_usd * 10**6 == attempt.usage.input_tokens


@asynccontextmanager
async def deaf() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """A server that takes connections, and never reads. Gives its port, and its connections."""
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
        accepted.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], accepted
        for writer in accepted:
            writer.transport.abort()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.filterwarnings("ignore:Sending a large body")
@pytest.mark.parametrize(("scheme", "text"), [("https", "Hi"), ("http", LONG)], ids=["not connected", "not sent whole"])
async def test_a_request_that_did_not_get_there_costs_nothing(scheme: str, text: str, stream: bool) -> None:
    with FaultServer() as server:
        async with deaf() as (port, accepted), rig(server) as execution:
            work = execution.work(["hang"], replace(QUICK, timeouts=PATIENT), stream=stream)
            settings = ProviderSettings(id="p", dialect="openai", base_url=f"{scheme}://127.0.0.1:{port}/v1")
            transport = Transport()
            provider = HttpProvider(settings, OpenAIProviderDialect(), transport)
            message = Message(role="user", parts=(Text(text=text),))
            request = replace(work.request, messages=(message,), raw={"messages": [{"role": "user", "content": text}]})
            work = replace(work, request=request, providers={"hang": provider})
            attempt = await given_up(work, lambda: len(accepted) == 1)
            await transport.aclose()
    assert attempt.usage.input_tokens == attempt.cost_usd == 0
