"""Routes that answer without a model, in every dialect."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from semroute.config.schema.routes import Route
from semroute.messages import ChatRequest
from semroute.routing.canned_answers import canned_answer
from tests.service import Service, until

ROUTES = """
providers: {here: {dialect: echo}}
models: {one: {provider: here, name: one, input_price: 1, output_price: 2, features: [tools, vision, json]}}
routes:
- name: hours
  utterances: [when are you open, what are your opening hours, are you open on sunday, at what time do you close,
    do you open on holidays]
  models: [one]
  answer: "We are open from 9 to 17, {metadata.name}. {\\"as of\\": {date}}"
- name: address
  utterances: [where is your office, what is your address, how do I get to you, in which street are you, where can
    I find your shop]
  models: [one]
  answer: {text: "Main Street 1.", threshold: 1}
rules:
- {name: closing, when: {regex: "(?i)closing time"}, route: hours}
default: {models: [one]}
log: {content: full}
"""
PROMPT = "what are your opening hours"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("canned")
    (folder / "routes").mkdir()
    (folder / "routes" / "all.yaml").write_text(ROUTES)
    with Service(folder / "routes", folder / "log", SEMROUTE_DATABASE_URL=f"sqlite:///{folder}/semroute.db") as running:
        yield running


def text() -> str:
    return f'We are open from 9 to 17, Ann. {{"as of": {datetime.datetime.now(datetime.UTC).date()}}}'


USER = {"role": "user", "content": PROMPT}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
NAMED = {"type": "function", "function": {"name": "find"}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CHAT = {"model": "auto", "messages": [USER], "metadata": {"name": "Ann"}}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "labels": {"name": "Ann"}}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/complete", {"messages": [USER], "metadata": {"name": "Ann"}}),
    "openai": ("/v1/chat/completions", {**CHAT, "stream_options": {"include_usage": True}}),
    "completions": ("/v1/completions", {"model": "auto", "prompt": PROMPT, "metadata": {"name": "Ann"}}),
    "responses": ("/v1/responses", {"model": "auto", "input": PROMPT, "metadata": {"name": "Ann"}}),
    "anthropic": ("/v1/messages", {"model": "auto", "max_tokens": 9, "messages": [USER]}),
    "gemini": ("/v1beta/models/auto:generateContent", GEMINI),
    "ollama": ("/api/chat", {"model": "auto", "messages": [USER], "stream": False}),
}


def texts(found: Any) -> Iterator[str]:
    """Yield all strings of an answer."""
    if isinstance(found, dict):
        for value in found.values():
            yield from texts(value)
    elif isinstance(found, list):
        for value in found:
            yield from texts(value)
    elif isinstance(found, str):
        yield found


@pytest.mark.parametrize("name", ASKED)
def test_the_text_is_the_answer_and_costs_nothing(service: Service, name: str) -> None:
    path, body = ASKED[name]
    answer = httpx.post(service.url + path, json=body)
    assert answer.status_code == 200, answer.text
    said = [one for one in texts(answer.json()) if one.startswith("We are open")]
    assert said and all(one.startswith("We are open from 9 to 17, ") for one in said)
    assert answer.headers["x-semroute-route"] == "hours" and "x-semroute-model" not in answer.headers
    assert Decimal(answer.headers["x-semroute-cost-usd"]) == 0 < Decimal(answer.headers["x-semroute-saved-usd"])
    assert answer.headers["x-semroute-attempts"] == "0"
    if name in ("native", "openai", "responses"):
        assert said[0] == text()


@pytest.mark.parametrize("name", ASKED)
def test_a_stream_is_a_stream(service: Service, name: str) -> None:
    path, body = ASKED[name]
    path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    streamed = body if name == "gemini" else {**body, "stream": True}
    with httpx.stream("POST", service.url + path, json=streamed) as answer:
        assert answer.status_code == 200
        assert answer.headers["x-semroute-route"] == "hours"
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith(("data: ", "{"))]
    found = [json.loads(event) for event in events if event != "[DONE]"]
    assert any("We are open from 9 to 17, " in one for event in found for one in texts(event))
    if name == "openai":
        assert found[-1]["usage"]["total_tokens"] == 0
        assert [event["choices"][0]["finish_reason"] for event in found[:-1]][-1] == "stop"


@pytest.mark.parametrize(
    ("prompt", "fields", "by_model"),
    [
        ("what is the closing time", {}, False),
        (PROMPT, {"response_format": {"type": "json_object"}}, True),
        (PROMPT, {"n": 2}, True),
        (PROMPT, {"logprobs": True}, True),
        (PROMPT, {"model": "auto:hours"}, False),
        (PROMPT, {"model": "one"}, True),
        ("where is your office please", {}, True),
        ("please send me to your address, dear people", {"model": "auto:address"}, False),
    ],
)
def test_who_answers(service: Service, prompt: str, fields: dict[str, Any], by_model: bool) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": prompt}], **fields}
    answer = httpx.post(f"{service.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert (answer.headers.get("x-semroute-model") == "one") is by_model


@pytest.mark.parametrize(
    ("fields", "by_model"),
    [
        ({"tools": [TOOL]}, False),
        ({"tools": [TOOL], "tool_choice": "auto"}, False),
        ({"tools": [TOOL], "tool_choice": "required"}, True),
        ({"tools": [TOOL], "tool_choice": NAMED}, True),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}, PICTURE]}]}, True),
        ({"messages": [USER, {"role": "assistant", "content": "We are"}]}, True),
        ({"messages": [USER, {"role": "system", "content": "Be brief."}]}, False),
        (
            {
                "tools": [TOOL],
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
                    {"role": "tool", "tool_call_id": "c1", "content": "9 to 17"},
                ],
            },
            True,
        ),
    ],
)
def test_a_model_answers_what_needs_more_than_a_text(service: Service, fields: dict[str, Any], by_model: bool) -> None:
    decision = httpx.post(f"{service.url}/route", json={**CHAT, **fields}).json()
    assert decision["route"] == "hours"
    assert (decision["answer"] is None) is by_model
    assert decision["plan"] == (["one"] if by_model else []), decision["rejected"]


def test_a_tool_result_of_anthropic_goes_to_a_model(service: Service) -> None:
    said = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "find", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "9 to 17"}]},
    ]
    tools = [{"name": "find", "input_schema": {"type": "object"}}]
    body = {"model": "auto", "max_tokens": 9, "messages": said, "tools": tools}
    answer = httpx.post(f"{service.url}/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-semroute-route"], answer.headers["x-semroute-model"]) == ("hours", "one")


def test_a_replayed_request_without_its_text_keeps_the_answer() -> None:
    route = Route(name="hours", utterances=(PROMPT,), models=("one",), answer="We are open.")
    assert canned_answer(route, ChatRequest(id="1", messages=()), 0.9) == "We are open."


def test_thanks_in_the_same_conversation_gets_no_canned_answer(service: Service) -> None:
    headers, answered = {"x-semroute-session": "talk"}, []
    for prompt, fields in ((PROMPT, {"response_format": {"type": "json_object"}}), (PROMPT, {}), ("thanks", {})):
        body = {**CHAT, "messages": [{"role": "user", "content": prompt}], **fields}
        answer = httpx.post(f"{service.url}/v1/chat/completions", json=body, headers=headers)
        assert answer.headers["x-semroute-route"] == "hours"
        answered.append(answer.headers.get("x-semroute-model"))
    assert answered == ["one", None, "one"]


def test_the_decision_says_it(service: Service) -> None:
    decision = httpx.post(f"{service.url}/route", json={"messages": [USER]}).json()
    assert decision["answer"].startswith("We are open") and decision["plan"] == [] and decision["model"] is None
    assert decision["explanation"].endswith("; the route has an answer of its own, so no model is called")


def test_the_log_has_it(service: Service) -> None:
    answer = httpx.post(f"{service.url}/v1/chat/completions", json=CHAT)
    url = f"{service.url}/decisions/{answer.headers['x-semroute-decision']}"
    assert until(lambda: "outcome" in httpx.get(url).json())
    found = httpx.get(url).json()
    assert (found["outcome"], found["cost_usd"], found["model"], found["answer"]) == ("ok", 0, None, text())


def test_budgets_that_are_spent_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    spent = ROUTES + "budgets: [{name: all, usd: 0, per: day}]\n"
    (tmp_path / "routes" / "all.yaml").write_text(spent)
    with Service(tmp_path / "routes", tmp_path / "log") as running:
        answer = httpx.post(f"{running.url}/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200, answer.text
        other = {**CHAT, "model": "one"}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=other).status_code in (402, 429)
