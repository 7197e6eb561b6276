from __future__ import annotations

import json
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


@pytest.mark.parametrize("declared", ["length", "chunks", "both"])
def test_a_body_that_comes_in_pieces_is_read_whole(service: Service, declared: str) -> None:
    body = json.dumps({"prompt": "Hi", "model": "none"}).encode()
    pieces = [body[:10], body[10:]]
    length = {"length": len(body), "chunks": None, "both": len(pieces[0])}[declared]
    head = "POST /route HTTP/1.1\r\nhost: x\r\n"
    head += "" if length is None else f"content-length: {length}\r\n"
    head += "" if declared == "length" else "transfer-encoding: chunked\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as wire:
        for _ in range(2):  # the connection stays good
            wire.sendall(f"{head}\r\n".encode())
            for piece in pieces:
                wire.sendall(piece if declared == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
                time.sleep(0.05)
            if declared != "length":
                wire.sendall(b"0\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += wire.recv(65536)
            assert answer.startswith(b"HTTP/1.1 404")
            if declared == "both":
                break  # RFC 9112, 6.1: such a connection is closed after its answer
