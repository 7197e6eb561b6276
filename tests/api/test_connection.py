"""Callers that are slow to say what they want."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from semroute.api import connection
from tests.service import until

HEAD_S = 0.3
WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers after twice the time that a head may take."""
    await asyncio.sleep(2 * HEAD_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connection, "HEAD_S", HEAD_S)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(application, http=connection.Connection, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        assert until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


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
