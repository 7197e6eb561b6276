from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest

from semroute.api.completions import read
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.openai.client import OpenAI
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.service import Service, until

HEADERS = {"decision", "model", "attempts", "cost-usd", "overhead-ms"}


def ask(service: Service, path: str = "/complete", **body: Any) -> httpx.Response:
    return service.client.post(path, json={"prompt": "hello", **body})


def chat(service: Service, **body: Any) -> httpx.Response:
    return service.client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}], **body}
    )


def sse(response: httpx.Response) -> list[tuple[str, Any]]:
    events = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        data = fields["data"]
        events.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return events


def test_route_gives_the_decision_and_calls_no_model(service: Service, faults: FaultServer) -> None:
    before = len(faults.requests)
    response = ask(service, "/route", prompt="I was charged twice, give me my money back")
    decision = response.json()
    assert (decision["route"], decision["reason"], decision["model"]) == ("billing", "semantic", "ok")
    assert decision["plan"] == ["ok"]
    assert decision["confidence"] >= decision["threshold"]
    assert decision["candidates"][0]["nearest"]["utterance"] in {
        "I want my money back",
        "why was I charged twice this month",
    }
    assert decision["latency_ms"] > 0
    assert response.headers["x-semroute-route"] == "billing"
    assert response.headers["x-semroute-decision"] == decision["id"]
    assert len(faults.requests) == before


def test_route_answers_although_no_model_can_be_called(service: Service) -> None:
    decision = ask(service, "/route", model="keyless").json()
    assert (decision["model"], decision["plan"]) == (None, [])
    assert decision["rejected"] == {"keyless": "NO_SUCH_KEY is not set"}


def test_what_matches_nothing_goes_to_the_default(service: Service) -> None:
    decision = ask(service, "/route", prompt="bananas grow on the moon, they say").json()
    assert (decision["route"], decision["reason"]) == (None, "default")


def test_a_rule_decides_before_the_match(service: Service) -> None:
    decision = ask(service, "/route", prompt="I want my money back", metadata={"workload": "batch"}).json()
    assert (decision["reason"], decision["rule"], decision["candidates"]) == ("rule", "batch", [])


def test_a_route_can_be_forced(service: Service) -> None:
    decision = ask(service, "/route", model="auto:coding").json()
    assert (decision["reason"], decision["route"], decision["plan"]) == ("pinned", "coding", ["status-500", "ok"])


def test_complete_answers_with_the_decision_and_the_account(service: Service) -> None:
    response = ask(service, prompt="I want my money back")
    body = response.json()
    assert body["content"] == TEXT
    assert body["model"] == "ok"
    assert body["decision"]["route"] == "billing"
    assert body["usage"] == {
        "input_tokens": 12,
        "output_tokens": 6,
        "cached_tokens": 4,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
    }
    assert body["cost_usd"] == 0.000024  # 12 tokens at 1 USD and 6 at 2 USD a million
    assert [attempt["status"] for attempt in body["attempts"]] == ["ok"]
    assert {f"x-semroute-{name}" for name in HEADERS} <= set(response.headers)
    assert response.headers["x-semroute-cost-usd"] == "0.000024"


def test_complete_streams_decision_deltas_and_account(service: Service) -> None:
    events = sse(ask(service, prompt="I want my money back", stream=True))
    assert [name for name, _ in events] == ["decision", *["delta"] * (len(events) - 2), "end"]
    assert "".join(data.get("content", "") for name, data in events if name == "delta") == TEXT
    assert events[-1][1]["usage"]["output_tokens"] == 6
    assert events[-1][1]["cost_usd"] == 0.000024


def test_chat_completions_pass_the_providers_body_on_as_it_is(service: Service, faults: FaultServer) -> None:
    response = chat(service, model="ok", seed=7, logit_bias={"50256": -100}, unheard_of={"nested": [1, 2]})
    assert response.json()["choices"][0]["message"]["content"] == TEXT
    assert response.headers["x-semroute-model"] == "ok"
    sent = faults.requests[-1].body
    assert sent["model"] == "ok"
    assert (sent["seed"], sent["logit_bias"], sent["unheard_of"]) == (7, {"50256": -100}, {"nested": [1, 2]})
    assert faults.requests[-1].headers["authorization"] == "Bearer sk-faults-0123456789"


def test_chat_completions_stream_ends_with_done_and_usage_if_asked(service: Service) -> None:
    asked = sse(chat(service, model="ok", stream=True, stream_options={"include_usage": True}))
    assert asked[-1][1] == "[DONE]"
    assert asked[-2][1]["usage"]["completion_tokens"] == 6
    plain = sse(chat(service, model="ok", stream=True))
    assert all(not data.get("usage") for _, data in plain[:-1])


def test_a_model_is_found_by_the_providers_name_too(service: Service) -> None:
    assert chat(service, model="ok").status_code == 200


@pytest.mark.parametrize(
    "scenario",
    "status-401 status-404 status-408 status-409 status-425 status-429 status-500 status-503 html error-200"
    " empty-choices malformed-json hang reset close cut-body refused".split(),
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_the_provider_falls_back(service: Service, scenario: str, stream: bool) -> None:
    response = chat(service, models=[scenario, "ok"], stream=stream)
    assert response.status_code == 200
    assert response.headers["x-semroute-model"] == "ok"
    assert int(response.headers["x-semroute-attempts"]) >= 2
    text = (
        "".join(c["delta"].get("content") or "" for _, data in sse(response)[:-1] for c in data["choices"])
        if stream
        else response.json()["choices"][0]["message"]["content"]
    )
    assert text == TEXT


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_the_request_is_passed_on(service: Service, status: int, stream: bool) -> None:
    response = chat(service, model=f"status-{status}", stream=stream)
    assert response.status_code == status
    assert response.headers["x-semroute-attempts"] == "1"
    assert response.json()["error"]["message"]
    listed = chat(service, models=[f"status-{status}", "ok"], stream=stream)
    assert (listed.status_code, listed.headers["x-semroute-attempts"]) == (200, "2")


def test_when_all_fail_the_status_tells_the_last_failure(service: Service) -> None:
    assert chat(service, models=["status-500", "status-429"]).status_code == 429
    assert chat(service, models=["status-429", "status-500"]).status_code == 502
    assert chat(service, models=["status-500", "hang"]).status_code == 504
    error = chat(service, models=["status-500", "status-429"]).json()["error"]
    assert error["code"] == "all_models_failed"
    assert "status-500:" in error["message"]
    assert "status-429:" in error["message"]


def test_a_refused_key_of_ours_is_logged_loudly(service: Service) -> None:
    response = chat(service, models=["status-401", "ok"])
    assert response.status_code == 200
    errors = [line for line in service.log.splitlines() if " ERROR " in line]
    assert any("status-401 failed" in line for line in errors)


def test_without_any_key_the_answer_names_the_variables(service: Service) -> None:
    response = ask(service, model="keyless")
    assert response.status_code == 503
    assert "NO_SUCH_KEY is not set" in response.json()["error"]["message"]
    assert "retry-after" not in response.headers  # it will not be set by waiting


@pytest.mark.parametrize("scenario", ["cut-after-2", "reset-after-2", "stall-after-2"])
def test_a_stream_that_breaks_says_so_and_has_no_clean_end(service: Service, scenario: str) -> None:
    openai = sse(chat(service, model=scenario, stream=True))
    assert openai[-1][1]["error"]["code"] in {"provider_stream_broken", "provider_timeout"}
    native = sse(ask(service, model=scenario, stream=True))
    assert native[-1][0] == "error"


def test_a_stream_without_done_ends_cleanly_after_its_finish_reason(service: Service) -> None:
    assert sse(chat(service, model="no-done", stream=True))[-1][1] == "[DONE]"


def test_a_caller_who_leaves_cancels_the_providers_call(service: Service, faults: FaultServer) -> None:
    with service.client.stream(
        "POST", "/complete", json={"prompt": "x", "model": "endless", "stream": True}
    ) as response:
        next(response.iter_bytes())
        call = faults.requests[-1]
    assert call.disconnected.wait(timeout=60)


def test_a_caller_who_leaves_before_the_answer_cancels_the_providers_call(
    service: Service, faults: FaultServer
) -> None:
    before = len(faults.requests)
    body = b'{"prompt": "x", "model": "hang", "metadata": {"feature": "leaving"}}'
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(b"POST /complete HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert faults.wait_for_requests(before + 1)
    assert faults.requests[before].disconnected.wait(timeout=60)

    def outcomes() -> list[str]:
        logged = service.client.get("/decisions?feature=leaving").json()["decisions"]
        return [decision["outcome"] for decision in logged]

    assert until(lambda: bool(outcomes()))
    assert outcomes() == ["cancelled"]  # semroute itself would have given up later, with a timeout


@pytest.mark.parametrize(("said", "counted"), [(-1, None), (-(10**30), None), (0, None), (7, 7), (10**30, 10**9)])
def test_a_limit_that_is_no_number_of_tokens_is_not_counted_with(said: int, counted: int | None) -> None:
    for dialect, field in ((OpenAI(), "max_completion_tokens"), (Anthropic(), "max_tokens")):
        body = json.dumps({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], field: said}).encode()
        assert asyncio.run(read(body, dialect)).params.max_tokens == counted
