"""Callers who send or read slowly, or never to the end: they get an answer in their dialect, and hold nothing."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service, until

KEY = "caller-key-0123456789"
RUNNING = 4
BODY_BYTES = 300_000
ROUTES = """
providers: {{faults: {{dialect: openai, base_url: "{url}"}}}}
models: {{flood: {{provider: faults, name: flood}}, ok: {{provider: faults, name: ok}}}}
default: {{models: [ok]}}
policy: {{deadline_s: 5, timeouts: {{connect_s: 2, first_token_s: 2, stall_s: 0.5, total_s: 2, stream_s: 0.7}}}}
"""
TOLD = {
    "/route": '"code":"request_timeout"',
    "/complete": '"code":"request_timeout"',
    "/v1/chat/completions": '"code":"request_timeout"',
    "/v1/responses": '"code":"request_timeout"',
    "/v1/embeddings": '"code":"request_timeout"',
    "/v1/responses/input_tokens": '"code":"request_timeout"',
    "/v1/responses/compact": '"code":"request_timeout"',
    "/v1/messages": '"type":"error"',
    "/v1/messages/count_tokens": '"type":"error"',
    "/v1beta/models/ok:generateContent": '"reason":"request_timeout"',
    "/v1beta/models/ok:countTokens": '"reason":"request_timeout"',
    "/v1beta/models/ok:batchEmbedContents": '"reason":"request_timeout"',
    "/feedback": '"code":"request_timeout"',
}
STREAMS: dict[str, dict[str, Any]] = {
    "/complete": {"prompt": "hi", "model": "flood", "stream": True},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "model": "flood", "stream": True},
    "/v1/messages": {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "flood",
        "stream": True,
        "max_tokens": 9,
    },
    "/v1/responses": {"input": "hi", "model": "flood", "stream": True},
    "/v1beta/models/flood:streamGenerateContent": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("routes")
    with FaultServer() as faults:
        (folder / "all.yaml").write_text(ROUTES.format(url=faults.url))
        settings = {
            "SEMROUTE_API_KEY": KEY,
            "SEMROUTE_ADMIN_KEY": "admin-key-0123456789",
            "SEMROUTE_MAX_RUNNING": str(RUNNING),
            "SEMROUTE_MAX_BODY_BYTES": str(BODY_BYTES),
            "SEMROUTE_MAX_BODIES_BYTES": str(2 * BODY_BYTES),
            "SEMROUTE_RECEIVE_S": "0.3",
        }
        with Service(folder, tmp_path_factory.mktemp("log") / "log", **settings) as running:
            yield running


@contextlib.contextmanager
def calling(service: Service, path: str, *lines: str, body: bytes = b"", key: str = KEY) -> Iterator[socket.socket]:
    """A connection that has sent a head and so much of a body."""
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(20)
        wire.connect(("127.0.0.1", service.port))
        head = "\r\n".join((f"POST {path} HTTP/1.1", "host: localhost", f"authorization: Bearer {key}", *lines, "\r\n"))
        wire.sendall(head.encode() + body)
        yield wire


def answer_of(wire: socket.socket) -> tuple[int, str, dict[str, Any]]:
    """Status, head and JSON body of an answer."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = wire.recv(65536)
        assert piece, seen
        seen += piece
    head, _, body = seen.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += wire.recv(65536)
    return int(head[9:12]), head.decode(), json.loads(body)


def metric(service: Service, name: str) -> float:
    text = service.client.get("/metrics", headers={"authorization": "Bearer admin-key-0123456789"}).text
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]


@pytest.mark.parametrize("path", TOLD)
@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
def test_a_body_that_does_not_end_is_answered(service: Service, path: str, framing: str) -> None:
    with calling(service, path, framing, body=b"2\r\n{ \r\n") as wire:
        status, _, body = answer_of(wire)
    text = json.dumps(body, separators=(",", ":"))
    assert status == 408
    assert TOLD[path] in text
    assert "the body was not complete after 0.3 seconds" in text


def test_a_body_that_trickles_is_not_waited_for(service: Service) -> None:
    with calling(service, "/route", "content-length: 100000") as wire:
        wire.settimeout(0.05)
        for _ in range(200):
            wire.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                assert wire.recv(12) == b"HTTP/1.1 408"
                return
        pytest.fail("it was waited for")


def test_a_stranger_is_answered_before_the_body(service: Service) -> None:
    with calling(service, "/complete", f"content-length: {BODY_BYTES}", key="wrong") as wire:
        assert answer_of(wire)[0] == 401


@pytest.mark.parametrize("path", ["/complete", "/v1/messages"])
def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(service: Service, path: str) -> None:
    with calling(service, path, f"content-length: {BODY_BYTES + 1}", "expect: 100-continue") as wire:
        assert answer_of(wire)[0] == 413


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_bodies_for_which_there_is_no_room_are_refused(service: Service, chunked: bool) -> None:
    size = BODY_BYTES - 1000
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {BODY_BYTES}"
    body = (b"%x\r\n" % BODY_BYTES if chunked else b"") + b"x" * size
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(calling(service, "/v1/messages", framing, body=body)) for _ in range(3)]
        answers = sorted((answer_of(wire) for wire in wires), key=lambda answer: answer[0])
    assert [status for status, _, _ in answers] == [408, 408, 503]
    _, head, told = answers[-1]
    assert "retry-after: 1" in head
    assert told["type"] == "error"
    assert "the bodies of requests under way take" in told["error"]["message"]


def test_requests_whose_bodies_are_awaited_are_under_way(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(calling(service, "/route", "content-length: 100")) for _ in range(RUNNING)]
        with calling(service, "/v1/chat/completions", "content-length: 2", body=b"{}") as wire:
            status, head, body = answer_of(wire)
        assert (status, body["error"]["code"]) == (503, "overloaded")
        assert "retry-after: 1" in head
        assert [answer_of(wire)[0] for wire in waiting] == [408] * RUNNING
    asked = service.client.post("/route", json={"prompt": "hi"}, headers={"authorization": f"Bearer {KEY}"})
    assert asked.status_code == 200


@pytest.mark.parametrize(("path", "key"), [*((path, "") for path in STREAMS), ("/v1/chat/completions", "a key")])
def test_a_stream_that_is_not_read_ends_at_the_provider_and_in_the_log(service: Service, path: str, key: str) -> None:
    before = cancelled(service)
    body = json.dumps(STREAMS[path]).encode()
    lines = [f"content-length: {len(body)}", *([f"idempotency-key: {key}"] if key else [])]
    with calling(service, path, *lines, body=body):
        assert until(lambda: cancelled(service) == before + 1)
        assert metric(service, "semroute_running_requests") == 0
    assert metric(service, 'semroute_breaker_open{model="flood"}') == 0


def cancelled(service: Service) -> int:
    headers = {"authorization": "Bearer admin-key-0123456789"}
    found = service.client.get("/decisions?outcome=cancelled&limit=100", headers=headers).json()["decisions"]
    return len(found)
