"""What the service does for callers under trouble: seen from outside, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from semroute.dialects.sse import EventParser
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import PROMPT_TOKENS, TEXT, WORDS
from tests.service import Service, until

ROUTES = """
providers:
  faults: {{dialect: openai, base_url: "{url}"}}
models:
{models}
policy:
  timeouts: {{first_token_s: 20, stall_s: 20, total_s: 20}}
  retry: {{base_s: 0.01}}
  stream: {{on_break: error}}
default: {{models: [ok]}}
routes: []
"""
MODELS = """
    ok slow-30 slow-100 late-token-12 late-error-6 endless flood hang status-500 status-503 cut-after-3 no-usage
""".split()
KEEPALIVE_S = 0.3
WAIT_S = 30
"""Far longer than it takes, and an error where it never comes."""


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module")
def folder(faults: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    models = "\n".join(
        f"  {name}: {{provider: faults, name: {name}, input_price: 1, output_price: 2, "
        "breaker: {failures: 1000000, min_calls: 1000000}}"
        for name in MODELS
    )
    models += "\n  fragile: {provider: faults, name: status-500, breaker: {failures: 2, probe_s: 60}}"
    (folder / "routes.yaml").write_text(ROUTES.format(url=faults.url, models=models))
    return folder


@pytest.fixture(scope="module")
def service(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("log") / "log"
    settings = {"SEMROUTE_KEEPALIVE_S": str(KEEPALIVE_S), "SEMROUTE_MAX_RUNNING": "8"}
    with Service(folder, log, **settings) as running:
        yield running


def body(model: str, *models: str, stream: bool = False) -> dict[str, Any]:
    return {
        "model": model,
        "models": list(models),
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        "stream_options": {"include_usage": True},
    }


def chat(service: Service, *models: str, stream: bool = False, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.client.post("/v1/chat/completions", json=body(*models, stream=stream), headers=named)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    parsed = EventParser().feed(response.content)
    return [json.loads(event.data) for event in parsed if event.data != b"[DONE]"]


def text(response: httpx.Response) -> str:
    choices = [choice for event in events(response) for choice in event.get("choices") or ()]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- keep-alive -------------------------------------------------------------------------------------------------------


def test_a_stream_that_waits_is_kept_alive(service: Service) -> None:
    response = chat(service, "late-token-12", stream=True)
    assert text(response) == TEXT
    assert response.content.count(b": keep-alive\n\n") >= 2
    assert response.content.startswith(b": keep-alive")
    assert "x-semroute-decision" in response.headers
    assert "x-semroute-model" not in response.headers


def test_ollamas_stream_is_kept_alive_by_lines_that_say_nothing(service: Service) -> None:
    asked = {"model": "late-token-12", "messages": [{"role": "user", "content": "Hi"}]}
    response = service.client.post("/api/chat", json=asked, headers={"x-semroute-cost-trailer": "1"})
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == TEXT
    assert [line["message"]["content"] for line in lines[:2]] == ["", ""]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


def test_a_fault_after_the_first_comment_still_falls_back(service: Service) -> None:
    response = chat(service, "slow-100", "ok", stream=True)
    assert response.status_code == 200
    assert text(response) == TEXT


def test_a_failure_after_the_first_comment_is_an_event(service: Service) -> None:
    response = chat(service, "late-error-6", stream=True)
    assert response.status_code == 200
    assert events(response)[-1]["error"]["code"] == "all_models_failed"
    assert b"[DONE]" not in response.content


def test_a_quick_stream_has_no_comments(service: Service) -> None:
    response = chat(service, "ok", stream=True)
    assert b"keep-alive" not in response.content
    assert response.headers["x-semroute-model"] == "ok"


# --- circuit breakers -------------------------------------------------------------------------------------------------


def test_an_open_breaker_is_in_the_decision_and_fails_fast(service: Service, faults: FaultServer) -> None:
    chat(service, "fragile")
    calls = faults.counts["status-500"]
    response = chat(service, "fragile")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "no_model_available"
    assert 50 < int(response.headers["retry-after"]) <= 60
    decision = service.client.post("/route", json={"prompt": "x", "models": ["fragile", "ok"]}).json()
    assert "circuit breaker is open" in decision["rejected"]["fragile"]
    assert decision["plan"] == ["ok"]
    assert faults.counts["status-500"] == calls


# --- accounting -------------------------------------------------------------------------------------------------------


def test_the_caller_sees_the_fallbacks_name_and_usage(service: Service) -> None:
    response = chat(service, "status-500", "ok")
    assert response.headers["x-semroute-model"] == response.json()["model"] == "ok"
    assert response.headers["x-semroute-attempts"] == "4"
    assert response.json()["usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert float(response.headers["x-semroute-cost-usd"]) == (PROMPT_TOKENS + 2 * len(WORDS)) / 1e6


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_marked_where_it_is_estimated(service: Service, stream: bool) -> None:
    response = chat(service, "no-usage", stream=stream)
    usage = events(response)[-1]["usage"] if stream else response.json()["usage"]
    assert usage["estimated"] is True
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0


def test_the_native_error_event_reports_its_usage(service: Service) -> None:
    asked = {"prompt": "Hi", "model": "cut-after-3", "stream": True}
    *_, error = events(service.client.post("/complete", json=asked))
    assert error["error"]["code"] == "provider_stream_broken"
    assert error["usage"]["estimated"] is True


def test_a_broken_stream_reports_its_usage_and_then_the_error(service: Service) -> None:
    response = chat(service, "cut-after-3", stream=True)
    *_, usage, error = events(response)
    assert usage["usage"]["completion_tokens"] > 0
    assert error["error"]["code"] == "provider_stream_broken"
    assert b"[DONE]" not in response.content


# --- idempotency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_repeated_key_gets_the_same_answer(service: Service, faults: FaultServer, stream: bool) -> None:
    before = faults.counts["ok"]
    key = f"repeated-{stream}"
    first, second = (chat(service, "ok", stream=stream, idempotency_key=key) for _ in range(2))
    assert first.content == second.content
    assert first.headers["x-semroute-decision"] == second.headers["x-semroute-decision"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert faults.counts["ok"] == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_repeated_key_follows_the_one_that_runs(service: Service, faults: FaultServer, stream: bool) -> None:
    before = faults.counts["slow-30"]
    with ThreadPoolExecutor(4) as pool:
        key = f"running-{stream}"
        asked = [pool.submit(chat, service, "slow-30", stream=stream, idempotency_key=key) for _ in range(4)]
        answers = {done.result().content for done in asked}
    assert len(answers) == 1
    assert faults.counts["slow-30"] == before + 1


def test_a_failed_answer_is_not_kept(service: Service, faults: FaultServer) -> None:
    before = faults.counts["status-503"]
    codes = [chat(service, "status-503", idempotency_key="failed").status_code for _ in range(2)]
    assert codes == [502, 502]
    assert faults.counts["status-503"] == before + 6


def test_a_key_of_another_request_is_refused(service: Service) -> None:
    assert chat(service, "ok", idempotency_key="mine").status_code == 200
    refused = chat(service, "ok", "hang", idempotency_key="mine")
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "idempotency_key_reused"
    for key in ("", "k" * 300):
        assert chat(service, "ok", idempotency_key=key).status_code == 400


def test_a_request_that_is_wrong_is_refused_with_a_key_too(service: Service) -> None:
    response = service.client.post("/v1/chat/completions", json={}, headers={"idempotency-key": "wrong"})
    assert response.status_code == 400


# --- callers that leave, or do not read -------------------------------------------------------------------------------


def raw(service: Service, model: str, *, stream: bool, key: str = "") -> socket.socket:
    """A request on a socket of our own."""
    payload = json.dumps(body(model, stream=stream)).encode()
    line = socket.create_connection(("127.0.0.1", service.port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(payload)}\r\n"
    head += f"idempotency-key: {key}\r\n" if key else ""
    line.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + payload)
    return line


@pytest.mark.parametrize(
    ("model", "stream", "key"),
    [("hang", False, ""), ("hang", True, ""), ("endless", True, ""), ("hang", False, "k1"), ("endless", True, "k2")],
)
def test_a_caller_who_leaves_ends_the_providers_call(
    service: Service, faults: FaultServer, model: str, stream: bool, key: str
) -> None:
    before = len(faults.requests)
    line = raw(service, model, stream=stream, key=key)
    assert faults.wait_for_requests(before + 1)
    if model == "endless":
        assert line.recv(10)
    line.close()
    assert faults.requests[before].disconnected.wait(WAIT_S)


def test_a_caller_who_does_not_read_holds_the_provider_back(service: Service, faults: FaultServer) -> None:
    before = len(faults.requests)
    line = raw(service, "flood", stream=True)
    assert faults.wait_for_requests(before + 1)
    sent = faults.requests[before].body
    settled, last = 0, -1
    deadline = time.monotonic() + 20
    while settled < 5 and time.monotonic() < deadline:
        threading.Event().wait(0.1)
        settled, last = (settled + 1 if sent.get("sent") == last else 0), sent.get("sent", 0)
    assert settled == 5, f"{last} bytes, and still going on"
    assert last < 64 * 2**20
    line.close()
    assert faults.requests[before].disconnected.wait(WAIT_S)


# --- overload and shutdown --------------------------------------------------------------------------------------------


def test_too_many_requests_are_shed(service: Service, faults: FaultServer) -> None:
    before = len(faults.requests)
    lines = [raw(service, "hang", stream=False) for _ in range(8)]
    assert faults.wait_for_requests(before + 8)
    response = chat(service, "ok")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["code"] == "overloaded"
    assert service.client.get("/health/live").status_code == 200
    for line in lines:
        line.close()
    assert all(seen.disconnected.wait(WAIT_S) for seen in faults.requests[before : before + 8])
    assert chat(service, "ok").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_does_not_wait_for_a_database_that_cannot_keep_it(service: Service, stream: bool) -> None:
    body = {"model": "ok", "input": "x", "stream": stream}
    with contextlib.closing(sqlite3.connect(service.database, isolation_level=None)) as blocking:
        blocking.execute("BEGIN IMMEDIATE")
        answers = [service.client.post("/v1/responses", json=body) for _ in range(3)]
        blocking.execute("ROLLBACK")
    for answer in answers:
        assert (answer.status_code, '"store":false' in answer.text, '"store":true' in answer.text) == (200, True, False)
    assert service.log.count("cannot keep responses, trying again in 10 s") == 1


def test_a_stop_drains(folder: Path, faults: FaultServer, tmp_path: Path) -> None:
    with Service(folder, tmp_path / "log") as service, ThreadPoolExecutor(2) as pool:
        before = len(faults.requests)
        url = f"{service.url}/v1/chat/completions"
        asked = [
            pool.submit(httpx.post, url, json=body("slow-30", stream=stream), timeout=20, trust_env=False)
            for stream in (False, True)
        ]
        assert faults.wait_for_requests(before + 2)
        assert service.stop() == 0
        assert [done.result().status_code for done in asked] == [200, 200]
        assert text(asked[1].result()) == TEXT


def test_a_caller_who_leaves_before_the_end_of_its_request_asked_for_nothing(service: Service) -> None:
    """Nothing was decided, called, spent or refused: there is no record, and no error of ours."""

    def refused() -> list[str]:
        lines = service.client.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith("semroute_refused_requests_total")]

    refused_before = refused()
    before = service.client.get("/stats?by=all").json()["rows"]
    errors = service.log.count("ERROR")
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(b"POST /complete HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    assert chat(service, "ok").status_code == 200

    def requests() -> int:
        rows = service.client.get("/stats?by=all").json()["rows"]
        return int(rows[0]["requests"]) if rows else 0

    assert until(lambda: requests() == (before[0]["requests"] if before else 0) + 1)
    assert service.log.count("ERROR") == errors
    assert refused() == refused_before
    assert service.client.get("/metrics").text.count("semroute_running_requests 0.0") == 1
