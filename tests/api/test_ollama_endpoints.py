"""What Ollama's clients ask for, on the wire."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.service import Service

SAY = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def post(service: Service, path: str, **body: Any) -> httpx.Response:
    return service.client.post(path, json={"model": "ok", **body})


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_chat_is_streamed_unless_it_says_otherwise(service: Service) -> None:
    *pieces, last = lines(post(service, "/api/chat", messages=SAY))
    assert "".join(piece["message"]["content"] for piece in pieces) == TEXT
    assert [piece["done"] for piece in pieces] == [False] * len(pieces)
    assert (last["done"], last["done_reason"], last["message"]["content"]) == (True, "stop", "")
    whole = post(service, "/api/chat", messages=SAY, stream=False)
    assert whole.headers["content-type"] == "application/json"
    body = whole.json()
    assert body["message"] == {"role": "assistant", "content": TEXT}
    for account in (last, body):
        assert account["prompt_eval_count"] > 0
        assert account["eval_count"] > 0
        assert min(account["total_duration"], account["prompt_eval_duration"], account["eval_duration"]) >= 1
    assert whole.headers["x-semroute-model"] == "ok"


def test_generate_takes_one_prompt(service: Service, faults: FaultServer) -> None:
    *pieces, last = lines(post(service, "/api/generate", prompt="hello"))
    assert "".join(piece["response"] for piece in pieces) == TEXT
    assert (last["done"], last["response"]) == (True, "")
    assert post(service, "/api/generate", prompt="x", stream=False).json()["response"] == TEXT
    post(service, "/api/generate", prompt="def f(", suffix="return x", system="Be brief.", stream=False)
    sent = faults.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "system", "user"]
    assert (sent[0]["content"], sent[2]["content"]) == ("Be brief.", "def f(")
    assert sent[1]["content"].endswith("return x")


def test_calls_of_tools_are_told_whole(service: Service) -> None:
    streamed = lines(post(service, "/api/chat", model="tools", messages=SAY, tools=[TOOL]))
    called = [line["message"]["tool_calls"] for line in streamed if "tool_calls" in line["message"]]
    whole = post(service, "/api/chat", model="tools", messages=SAY, tools=[TOOL], stream=False).json()
    assert [call["function"] for call in whole["message"]["tool_calls"]] == [call["function"] for call in called[0]]
    assert len(called) == 1
    assert all(isinstance(call["function"]["arguments"], dict) for call in called[0])
    assert (streamed[-1]["done"], streamed[-1]["done_reason"]) == (True, "stop")


def test_a_broken_stream_ends_with_an_error_and_is_never_done(service: Service) -> None:
    *pieces, last = lines(post(service, "/api/chat", model="cut-after-2", messages=SAY))
    assert pieces
    assert list(last) == ["error"]
    assert not any(piece["done"] for piece in pieces)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_errors_are_ollamas(service: Service, path: str) -> None:
    asked: dict[str, Any] = {"messages": SAY} if path == "/api/chat" else {"prompt": "hello"}
    for body, status in (
        ({**asked, "model": "nope"}, 404),
        ({**asked, "model": "status-500"}, 502),
        ({**asked, "options": {"temperature": "hot"}}, 400),
        ({**asked, "model": None}, 400),
    ):
        for stream in (True, False):
            answer = post(service, path, **{**body, "stream": stream})
            assert (answer.status_code, list(answer.json())) == (status, ["error"])
            assert isinstance(answer.json()["error"], str)
    lost = service.client.post("/api/pull", json={"model": "x"})
    assert (lost.status_code, list(lost.json())) == (404, ["error"])


def test_a_request_without_a_prompt_loads_a_model(service: Service, faults: FaultServer) -> None:
    before = faults.counts["ok"]
    chat = post(service, "/api/chat", messages=[]).json()
    assert (chat["done"], chat["done_reason"], chat["message"]["content"]) == (True, "load", "")
    unloaded = post(service, "/api/generate", keep_alive=0).json()
    assert (unloaded["done_reason"], unloaded["response"]) == ("unload", "")
    assert post(service, "/api/generate", model="nope").status_code == 404
    assert faults.counts["ok"] == before


def test_models_are_listed_and_shown(service: Service) -> None:
    names = [model["name"] for model in service.client.get("/api/tags").json()["models"]]
    assert names[:3] == ["auto", "auto:billing", "auto:coding"]
    assert "ok" in names
    for name in ("ok", "ok:latest", "auto", "auto:billing"):
        shown = post(service, "/api/show", model=name).json()
        assert {"completion", "tools"} <= set(shown["capabilities"])
        assert shown["model_info"]["general.architecture"] == "semroute"
    assert post(service, "/api/show", model="nope").json() == {"error": "model 'nope' does not exist; see /api/tags"}
    assert service.client.get("/api/ps").json() == {"models": []}
    assert service.client.get("/api/version").json()["version"].count(".") == 2
    for path in ("/", "/api/tags", "/api/version"):
        assert service.client.head(path).status_code == 200


def test_a_models_name_may_have_the_tag_that_clients_add(service: Service) -> None:
    done = post(service, "/api/chat", model="ok:latest", messages=SAY, stream=False)
    assert done.headers["x-semroute-model"] == "ok"
    routed = post(service, "/api/chat", model="auto:billing", messages=SAY, stream=False)
    assert routed.headers["x-semroute-route"] == "billing"
