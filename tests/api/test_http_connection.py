"""Callers that are slow to say what they want."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn

from semroute.api import http_connection
from semroute.api.fast_path import Rendered
from tests.service import until

HEAD_S = 0.3
WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers after twice the time that a head may take."""
    await asyncio.sleep(2 * HEAD_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.contextmanager
def serving(app: Any, unread: http_connection.SlowReaders | None = None, **limits: Any) -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        protocol: Any = partial(http_connection.Connection, unread=unread or http_connection.SlowReaders(), **limits)
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(http_connection, "HEAD_S", HEAD_S)
    with serving(application) as port:
        yield port


def read(wire: socket.socket) -> bytes:
    """All that comes until the connection is closed, or an answer of the application."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while not answer.endswith(b"\r\n\r\nok") and (piece := wire.recv(65536)):
            answer += piece
    return answer


@pytest.mark.parametrize("begun", [b"", WHOLE[:20]], ids=["nothing", "half a head"])
@pytest.mark.parametrize("requests", [0, 1], ids=["first", "second"])
def test_a_head_that_does_not_come_ends_the_connection(port: int, begun: bytes, requests: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        for _ in range(requests):
            wire.sendall(WHOLE)
            assert read(wire).endswith(b"ok")
        if requests and not begun:  # between requests a connection may rest
            wire.settimeout(2 * HEAD_S)
            with pytest.raises(TimeoutError):
                wire.recv(1)
            return
        started = time.monotonic()
        wire.sendall(begun)
        assert read(wire).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert time.monotonic() - started > 0.8 * HEAD_S


def test_a_head_in_pieces_is_read(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        for _ in range(2):
            for byte in (WHOLE[:5], WHOLE[5:20], WHOLE[20:]):
                wire.sendall(byte)
                time.sleep(HEAD_S / 10)
            assert read(wire).startswith(b"HTTP/1.1 200")


# --- limits -----------------------------------------------------------------------------------------------------------


class App:
    """Answers as a test wants, and knows how requests end."""

    def __init__(self) -> None:
        self.body = b"ok"
        self.streams = False
        self.asked = 0
        self.ended: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if not self.streams:
            await send({"type": "http.response.body", "body": self.body})
            self.ended.append("sent")
            return
        gone = asyncio.create_task(self._gone(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 20_000, "more_body": True})
            await asyncio.sleep(0)
        self.ended.append("gone")

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


def open_to(port: int, sent: bytes = b"", *, small: bool = False) -> socket.socket:
    """A connection; `small`: with little room for what it does not read."""
    wire = socket.socket()
    if small:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.settimeout(10)
    wire.connect(("127.0.0.1", port))
    wire.sendall(sent)
    return wire


def ended(wire: socket.socket) -> bool:
    """Whether the other side closes the connection, once all that came has been read."""
    with contextlib.suppress(ConnectionError):
        while wire.recv(1 << 20):
            pass
    return True


class Watched(http_connection.SlowReaders):
    """Counts the callers who were slow, and are no more."""

    over = 0

    def remove(self, connection: http_connection.Connection) -> None:
        self.over += connection in self._waiting
        super().remove(connection)


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
def test_who_does_not_take_an_answer_loses_the_connection(monkeypatch: pytest.MonkeyPatch, streams: bool) -> None:
    monkeypatch.setattr(http_connection, "SEND_S", 0.2)
    monkeypatch.setattr(http_connection, "SEND_BYTES_PER_S", 1 << 30)
    app, others = App(), Watched()
    app.streams, app.body = streams, b"x" * 8_000_000
    with serving(app, others) as port, open_to(port, WHOLE, small=True) as wire:
        assert until(lambda: others.over == 1)
        assert until(lambda: app.ended == ["gone" if streams else "sent"])
        taken = 0
        with contextlib.suppress(ConnectionError):
            while piece := wire.recv(1 << 20):
                taken += len(piece)
        assert taken < 4_000_000


def test_who_takes_an_answer_slowly_but_steadily_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "SEND_S", 0.5)
    app, taken = App(), 0
    app.body = b"x" * 200_000
    with serving(app) as port, open_to(port, WHOLE, small=True) as wire:
        while taken < len(app.body):
            taken += len(wire.recv(20_000))
            time.sleep(0.01)


def test_of_too_many_unread_answers_the_oldest_goes() -> None:
    app = App()
    app.streams = True
    with serving(app, http_connection.SlowReaders(2)) as port, contextlib.ExitStack() as stack:
        wires = []
        for number in range(1, 4):
            wires.append(stack.enter_context(open_to(port, WHOLE, small=True)))
            assert until(lambda number=number: app.asked == number)  # type: ignore[misc]
        assert until(lambda: app.ended == ["gone"])
        assert ended(wires[0])


def test_one_connection_too_many_takes_the_place_of_one_that_rests() -> None:
    app = App()
    app.streams = True
    with (
        serving(app, max_connections=2) as port,
        open_to(port, WHOLE) as busy,
        open_to(port) as resting,
    ):
        assert busy.recv(1000)
        with open_to(port, WHOLE) as new:
            assert ended(resting)
            assert b"200 OK" in new.recv(1000)


def test_where_no_connection_rests_one_more_is_refused() -> None:
    app = App()
    app.streams = True
    with serving(app, max_connections=1) as port, open_to(port, WHOLE) as first:
        assert first.recv(1000)
        with open_to(port, WHOLE) as second:
            refusal = b""
            with contextlib.suppress(ConnectionError):
                while piece := second.recv(1000):
                    refusal += piece
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1" in refusal
            assert b"too many connections" in refusal


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(300)) + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 200_000,
    ],
    ids=["many headers", "a long one"],
)
def test_a_large_head_is_refused(sent: bytes) -> None:
    app = App()
    with serving(app) as port, open_to(port, sent) as wire:
        assert read(wire).startswith(b"HTTP/1.1 431 ")
        assert not app.asked


def test_endless_trailers_end_the_connection() -> None:
    app = App()
    app.streams = True
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    with serving(app) as port, open_to(port, head) as wire:
        with contextlib.suppress(ConnectionError):
            wire.sendall(b"a: " + b"b" * 1_000_000)
        assert until(lambda: app.ended == ["gone"])


def test_very_many_requests_at_once_on_one_connection_end_it() -> None:
    app = App()
    app.streams = True
    with serving(app) as port, open_to(port, WHOLE * 30) as wire:
        assert ended(wire)
        assert app.asked <= 1


def test_what_follows_an_early_answer_is_not_read_for_ever(port: int) -> None:
    """The application answers without the body; its rest is thrown away for a while, then the connection ends."""
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(head + b"x" * 1000)
        assert read(wire).endswith(b"ok")
        wire.sendall(b"x")
        assert ended(wire)


class Wire(asyncio.Transport):
    """A transport that remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def close(self) -> None:
        self.written.append(b"closed")


@pytest.mark.parametrize(
    ("request_line", "end", "closed"),
    [
        (b"POST / HTTP/1.1", b"ok", False),
        (b"HEAD / HTTP/1.1", b"\r\n\r\n", False),
        (b"POST / HTTP/1.0", b"ok", True),
    ],
    ids=["body", "no body", "closed"],
)
async def test_a_whole_answer_is_written_at_once(request_line: bytes, end: bytes, closed: bool) -> None:
    done = asyncio.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await Rendered(b"ok", {}).to_asgi_response(None, None)(scope, receive, send)
        done.set()

    served, wire = connected(answer)
    served.data_received(request_line + b"\r\nhost: x\r\n\r\n")
    await done.wait()
    written, *after = wire.written
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(end)
    assert (b"connection: close\r\n" in written) is closed
    assert set(after) == ({b"closed"} if closed else set())
    served.connection_lost(None)


async def test_a_whole_answer_goes_through_whoever_changes_what_is_sent() -> None:
    done = asyncio.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-more", b"yes")]}
            await send(message)

        await Rendered(b"ok", {}).to_asgi_response(None, None)(scope, receive, tell)
        done.set()

    served, wire = connected(answer)
    served.data_received(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n")
    await done.wait()
    assert b"x-more: yes\r\n" in b"".join(wire.written)
    assert b"".join(wire.written).endswith(b"\r\n\r\nok")
    served.connection_lost(None)


@pytest.mark.parametrize("field", [("x-a", "b\r\nx-c: d"), ("x-a\r\nx-b", "c"), ("x-a", "\0"), ("x a", "b")])
async def test_a_whole_answer_has_no_header_that_http_cannot_carry(field: tuple[str, str]) -> None:
    failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Rendered(b"ok", dict([field])).to_asgi_response(None, None)(scope, receive, send)
        except RuntimeError as error:
            failed.set_result(str(error))

    served, wire = connected(answer)
    served.data_received(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert "Invalid HTTP header" in await failed
    assert set(wire.written) <= {b"closed"}
    served.connection_lost(None)


def connected(app: Any) -> tuple[http_connection.Connection, Wire]:
    config = uvicorn.Config(app, http=http_connection.Connection, lifespan="off", log_config=None, access_log=False)
    config.load()
    served = http_connection.Connection(config=config, server_state=uvicorn.Server(config).server_state, app_state={})
    wire = Wire()
    served.connection_made(wire)
    return served, wire
