"""OpenAI's older completions, on the wire."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.service import Service


def post(service: Service, **body: Any) -> httpx.Response:
    return service.client.post("/v1/completions", json={"model": "ok", "prompt": "once", **body})


def events(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [block.removeprefix("data: ") for block in response.text.strip().split("\n\n")]
    return [piece if piece == "[DONE]" else json.loads(piece) for piece in data]


def test_a_prompt_is_one_user_turn(service: Service, faults: FaultServer) -> None:
    body = post(service, max_tokens=7, stop="\n", user="u").json()
    assert (body["object"], body["id"][:5]) == ("text_completion", "cmpl-")
    assert body["choices"] == [{"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 0
    sent = faults.requests[-1].body
    assert sent["messages"] == [{"role": "user", "content": "once"}]
    assert (sent["max_tokens"], sent["stop"], sent["user"]) == (7, ["\n"], "u")
    assert not {"prompt", "suffix", "echo", "best_of"} & sent.keys()


def test_several_prompts_and_answers_are_told_apart_by_index(service: Service, faults: FaultServer) -> None:
    before = faults.counts["ok"]
    one = post(service).json()["usage"]["total_tokens"]
    answer = post(service, prompt=["a", "b"], n=2, echo=True, seed=5)
    body = answer.json()
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [
        (0, f"a{TEXT}"),
        (1, f"a{TEXT}"),
        (2, f"b{TEXT}"),
        (3, f"b{TEXT}"),
    ]
    assert body["usage"]["total_tokens"] == 4 * one
    assert answer.headers["x-semroute-attempts"] == "4"
    assert faults.counts["ok"] == before + 5
    assert sorted(seen.body["seed"] for seen in faults.requests[-4:]) == [5, 5, 6, 6]


def test_streams_come_one_after_the_other_with_one_end(service: Service) -> None:
    *pieces, usage, end = events(
        post(service, prompt=["a", "b"], echo=True, stream=True, stream_options={"include_usage": True})
    )
    said = {0: "", 1: ""}
    for piece in pieces:
        [choice] = piece["choices"]
        said[choice["index"]] += choice["text"]
    assert said == {0: f"a{TEXT}", 1: f"b{TEXT}"}
    assert [piece["choices"][0]["finish_reason"] for piece in pieces].count("stop") == 2
    assert len({piece["id"] for piece in [*pieces, usage]}) == 1
    assert (usage["choices"], end) == ([], "[DONE]")
    assert usage["usage"]["total_tokens"] == post(service, prompt=["a", "b"]).json()["usage"]["total_tokens"]
    assert "usage" not in post(service, stream=True).text


def test_an_ending_is_put_to_the_model_in_words(service: Service, faults: FaultServer) -> None:
    post(service, prompt="def f(x):", suffix="    return y")
    system, user = faults.requests[-1].body["messages"]
    assert system["role"] == "system"
    assert system["content"].endswith("The ending:\n    return y")
    assert user == {"role": "user", "content": "def f(x):"}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"prompt": [1, 2]}, "prompt[0]", "got tokens, expected text"),
        ({"prompt": [[1]]}, "prompt[0]", "got tokens, expected text"),
        ({"prompt": []}, "prompt", "got nothing"),
        ({"prompt": ""}, "prompt", "got an empty prompt"),
        ({"prompt": ["a", " "]}, "prompt[1]", "got an empty prompt"),
        ({"n": 17}, "n", "expected 1 to 16 answers"),
        ({"n": 0}, "n", "expected 1 to 16 answers"),
        ({"prompt": ["a"] * 9, "n": 2}, "n", "2 answers to each of 9 prompts"),
        ({"n": 2, "best_of": 5}, "best_of", "expected the same as `n`"),
        ({"max_tokens": 0}, "max_tokens", "prompts are not scored"),
    ],
)
def test_what_cannot_be_served_is_refused(service: Service, body: dict[str, Any], param: str, words: str) -> None:
    answer = post(service, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


def test_one_that_fails_fails_the_request(service: Service) -> None:
    for stream in (False, True):
        answer = post(service, model="status-500", prompt=["a", "b"], stream=stream)
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "server_error")
    *pieces, last = events(post(service, model="cut-after-2", stream=True))
    assert "error" in last
    assert "".join(piece["choices"][0]["text"] for piece in pieces)


def test_a_repeated_request_is_answered_once(service: Service, faults: FaultServer) -> None:
    before = faults.counts["ok"]
    body = {"model": "ok", "prompt": ["a", "b"]}
    first, second = (
        service.client.post("/v1/completions", json=body, headers={"idempotency-key": "text-1"}) for _ in range(2)
    )
    assert first.text == second.text
    assert faults.counts["ok"] == before + 2
