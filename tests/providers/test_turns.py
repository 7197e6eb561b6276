"""Others have their turn while a provider says a lot at once. Counted in turns of the event loop: no clock."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.sse import Event, EventParser, render
from semroute.messages import ChatRequest, Message, Text
from semroute.providers.http_provider import EVENTS, PART_BYTES, HttpProvider
from semroute.providers.transport import TURN_BYTES, Transport, encode_headers
from tests.providers.scenarios import chunk

SIZE = 300_000
PATIENT = Timeouts(connect_s=30, first_token_s=30, stall_s=30, total_s=30)
END = render(chunk("m", {"content": "x"}, "stop")) + b"data: [DONE]\n\n"


class Busy:
    """Counts what a parser does between two turns of somebody else."""

    def __init__(self) -> None:
        self.events = self.bytes = self.most_events = self.most_bytes = 0

    async def turn(self) -> None:
        """Somebody else's turns, until cancelled."""
        while True:
            await asyncio.sleep(0)
            self.most_events, self.events = max(self.most_events, self.events), 0
            self.most_bytes, self.bytes = max(self.most_bytes, self.bytes), 0

    def parser(self) -> EventParser:
        """One that is counted."""
        busy = self

        class Counted(EventParser):
            def feed(self, chunk: bytes) -> list[Event]:
                events = super().feed(chunk)
                busy.bytes += len(chunk)
                return events

        return Counted()


@asynccontextmanager
async def sending(body: bytes, *headers: str) -> AsyncIterator[str]:
    """A provider that answers each request with a stream, as fast as it can."""
    lines = ("HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close", *headers, "\r\n")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "piece",
    [render(chunk("m", {"content": "x"})), b"data: {}\n\n", b":\n", b"\n", b"\r", b"data:\n", b"data: [DONE]\n\n"],
)
async def test_others_have_their_turn_inside_a_burst(piece: bytes, compressed: bool) -> None:
    busy, transport = Busy(), Transport()
    dialect = OpenAIProviderDialect()
    dialect.events = busy.parser  # type: ignore[assignment]  # the same parser, counted
    request = ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="Hi"),)),), stream=True)
    body = piece * (SIZE // len(piece)) + b"\n" + END
    encoding = ["content-encoding: gzip"] if compressed else []
    async with sending(gzip.compress(body) if compressed else body, *encoding) as url:
        provider = HttpProvider(
            ProviderSettings(id="p", dialect="openai", base_url=url, api_key="k"), dialect, transport
        )
        others = asyncio.create_task(busy.turn())
        async for _ in provider.stream(request, Model(id="m", provider="p", name="m"), PATIENT):
            busy.events += 1
        others.cancel()
        await transport.aclose()
    assert busy.most_events <= 2 * EVENTS
    assert busy.most_bytes <= 2 * PART_BYTES


@pytest.mark.parametrize("at_once", [True, False], ids=["whole", "piece by piece"])
async def test_others_have_their_turn_while_much_is_decompressed(at_once: bool) -> None:
    turns, transport, size = 0, Transport(), 30_000_000

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    bomb = gzip.compress(b" " * size)
    async with sending(bomb, "content-encoding: gzip", f"content-length: {len(bomb)}") as url:
        response = await transport.send("POST", url, headers=encode_headers({}), body=b"{}", connect_s=30)
        counting = asyncio.create_task(others())
        async with response:
            got = len(await response.aread()) if at_once else 0
            while not at_once and (piece := await response.read()):
                got += len(piece)
        counting.cancel()
        await transport.aclose()
    assert got == size
    assert turns >= size / TURN_BYTES / 10  # a piece may be longer than is asked for
