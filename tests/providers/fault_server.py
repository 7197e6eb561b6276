"""A real provider, over real sockets, that can misbehave.

It speaks OpenAI's chat completions. The model's name in the body picks the scenario, and may end in a number: `ok`,
`status-429`, `cut-after-3`; what follows an `@` only tells apart who uses it. `scenarios.py` and `harder.py` hold
them all.

    with FaultServer() as server:
        call(server.url, model="status-500")
        assert server.requests[0].headers["authorization"] == "Bearer key"
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self
from weakref import WeakSet

from tests.providers.exchange import Exchange, Seen
from tests.providers.harder import HARDER
from tests.providers.scenarios import PLAIN, Scenario

SCENARIOS = {**PLAIN, **HARDER}


class FaultServer:
    """Serves in a thread while its context is open. `requests` holds what came, in order."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, port: int = 0, keep: bool = True) -> None:
        """`port`: 0 takes a free one. `keep`: hold every request; else only count them."""
        self.requests: list[Seen] = []
        self.counts: Counter[str] = Counter()
        """Requests, by model."""
        self._keep = keep
        self._first_at: dict[str, float] = {}
        self._wanted_port = port
        self.url = ""
        """The base_url for a provider."""
        self.port = 0
        self._arrival = threading.Condition()
        self._tls = tls
        self._connections = 0
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for_requests(self, count: int, timeout_s: float = 60.0) -> bool:
        """Block until so many have come since the start; false where they do not."""
        with self._arrival:
            return self._arrival.wait_for(lambda: len(self.requests) >= count, timeout_s)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", self._wanted_port, ssl=self._tls, backlog=1024)

    async def _stop(self) -> None:
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(5):  # who has just come is let in first: asyncio would leave such a socket open
            await asyncio.sleep(0)
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()  # also where bytes are left that nobody reads
        await asyncio.sleep(0)  # the sockets close in the loop's next round

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection, early = self._connections, b""
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                seen = await _read_request(reader, early, connection)
                self._note(seen)
                scenario, argument = _scenario(seen.model)
                early = await _run(scenario, Exchange(seen, argument, writer), reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    def _note(self, seen: Seen) -> None:
        seen.nth = self.counts[seen.model]
        seen.since_first_s = seen.at - self._first_at.setdefault(seen.model, seen.at)
        with self._arrival:
            self.counts[seen.model] += 1
            if self._keep:
                self.requests.append(seen)
            self._arrival.notify_all()


async def _read_request(reader: asyncio.StreamReader, early: bytes, connection: int) -> Seen:
    head = early + await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = head.decode().splitlines()
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(
        path=request_line.split()[1],
        headers=headers,
        body=json.loads(body) if body else {},
        connection=connection,
        at=time.monotonic(),
    )


def _scenario(model: str) -> tuple[Scenario, int]:
    model = model.partition("@")[0]
    if model in SCENARIOS:
        return SCENARIOS[model], 0
    match = re.fullmatch(r"(.+)-(\d+)", model)
    if match and match[1] in SCENARIOS:
        return SCENARIOS[match[1]], int(match[2])
    return SCENARIOS["status"], 404


async def _run(scenario: Scenario, exchange: Exchange, reader: asyncio.StreamReader) -> bytes:
    """Play the scenario until it ends or the client leaves. Returns what came early of the next request."""
    player = asyncio.ensure_future(scenario(exchange))
    listener = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({player, listener}, return_when=asyncio.FIRST_COMPLETED)
        if listener.done() and not player.done() and (listener.exception() or listener.result() == b""):
            exchange.seen.disconnected.set()
            return b""
        try:
            await player
        except ConnectionError:
            exchange.seen.disconnected.set()
        return listener.result() if listener.done() and not listener.exception() else b""
    finally:
        for task in (player, listener):
            task.cancel()
        with contextlib.suppress(Exception):
            await asyncio.gather(player, listener, return_exceptions=True)
