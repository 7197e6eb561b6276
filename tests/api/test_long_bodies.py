from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from tests.service import Service

LONG = [{"role": "user", "content": "Hi"}] * 180_000
BODIES: dict[str, tuple[dict[str, Any], int]] = {  # a model that there is not: all the work is ours
    "/route": ({"messages": LONG}, 200),
    "/v1/chat/completions": ({"model": "none", "messages": LONG}, 404),
    "/v1/messages": ({"model": "none", "max_tokens": 5, "messages": LONG}, 404),
    "/v1/responses": ({"model": "none", "input": LONG}, 404),
}


@pytest.mark.parametrize("path", BODIES)
def test_a_long_request_does_not_hold_up_the_others(service: Service, path: str) -> None:
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, trust_env=False) as client:
            while not over.is_set():
                started = time.perf_counter()
                client.get("/health/live")
                waits.append(time.perf_counter() - started)

    others = threading.Thread(target=ask)
    others.start()
    body, status = BODIES[path]
    content = json.dumps(body)
    started = time.perf_counter()
    answer = service.client.post(path, content=content)
    took = time.perf_counter() - started
    over.set()
    others.join()
    assert answer.status_code == status
    assert max(waits) < took / 2


def head(*lines: str) -> bytes:
    return "\r\n".join(("POST /route HTTP/1.1", "host: localhost", *lines, "\r\n")).encode()


def answer_of(wire: socket.socket) -> bytes:
    """The answer; all that came where the connection is closed."""
    answer = b""
    while not answer.endswith(b"}") and (piece := wire.recv(65536)):
        answer += piece
    return answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_comes_in_pieces_is_read_whole(service: Service, chunked: bool) -> None:
    body = json.dumps({"prompt": "Hi", "model": "none"}).encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as wire:
        for _ in range(2):  # the connection stays good
            wire.sendall(head("transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"))
            for piece in (body[:10], body[10:]):
                wire.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                time.sleep(0.05)
            if chunked:
                wire.sendall(b"0\r\n\r\n")
            assert answer_of(wire).startswith(b"HTTP/1.1 404")


def test_a_body_with_two_sizes_is_refused(service: Service) -> None:
    """Or who stands between might see another request in it (RFC 9112, 6.1)."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as wire:
        wire.sendall(head("content-length: 4", "transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n")
        assert answer_of(wire).startswith(b"HTTP/1.1 400")


def test_a_head_without_end_is_refused(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as wire:
        wire.sendall(head(f"content-length: {10**6}"))  # a large body is no large head
        for _ in range(20):
            wire.sendall(b" " * 50_000)
            time.sleep(0.01)
        assert answer_of(wire).startswith(b"HTTP/1.1 400")
        wire.sendall(head()[:-2])
        sent = 0
        while sent < 1000 and not select.select([wire], [], [], 0.005)[0]:
            wire.sendall(b"x-more: %b\r\n" % (b"y" * 1000))
            sent += 1
        assert wire.recv(65536).startswith(b"HTTP/1.1 431")
        assert 60 < sent < 80
        with contextlib.suppress(ConnectionError):
            assert not wire.recv(65536)
    assert service.client.get("/health/live").status_code == 200
