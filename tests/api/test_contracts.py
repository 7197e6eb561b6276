"""A route's output contract as every vendor gets it, also where one takes over from another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.service import Service
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.server import JSON_ANSWER, VendorServer
from tests.vendors.world import PATHS

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
NAMES = {"openai": "gpt-x", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-3-flash"}
PLANS = {
    "to-openai": ["gemini-500", "openai"],
    "to-anthropic": ["openai-500", "anthropic"],
    "to-claude-old": ["gemini-500", "claude-old"],
    "to-gemini": ["openai-500", "anthropic-500", "gemini"],
}
ANSWER = json.loads("".join(JSON_ANSWER))
Vendors = dict[str, VendorServer]


FENCED = "Here you are:\n```json\n{}\n```"
SAID = {
    "prose": "Paris is the capital of France.",
    "wrong": json.dumps({"city": 5}),
    "cut": '{"city": "Par',
    "fenced": FENCED.format(json.dumps(ANSWER)),
    "trailing": json.dumps(ANSWER) + "\n\nI hope this helps!",
    "thinking": f"<think>{{}}</think>\n{json.dumps(ANSWER)}",
}
"""What models say that were told in vain."""


class Careless(OpenAIVendor):
    """Says what its model is called after, whatever was asked for."""

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        said = SAID[body["model"]]
        return said[:8], said[8:]


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with ExitStack() as stack:
        made = {"openai": OpenAIVendor(), "anthropic": AnthropicVendor(), "gemini": GeminiVendor()}
        made["careless"] = Careless()
        yield {name: stack.enter_context(VendorServer(vendor)) for name, vendor in made.items()}


@pytest.fixture(scope="module")
def service(vendors: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "routes").mkdir()
    (folder / "routes" / "all.yaml").write_text(json.dumps(routes(vendors)))  # JSON is YAML
    with Service(folder / "routes", folder / "log") as running:
        yield running


def routes(vendors: Vendors) -> dict[str, Any]:
    """A route for each plan, with a schema and with JSON alone, whose every model but the last fails."""
    patient = {"failures": 10_000, "min_calls": 10_000}
    models: dict[str, Any] = {"claude-old": {"provider": "anthropic", "name": "claude-3-5-haiku-latest"}}
    for name in SAID:
        models[name] = {"provider": "careless", "name": name, "input_price": 1, "output_price": 1}
    for name in NAMES:
        models[name] = {"provider": name, "name": NAMES[name]}
        models[f"{name}-500"] = {"provider": name, "name": "status-500", "breaker": patient}
    contracts: dict[str, Any] = {"schema": {"json_schema": SCHEMA}, "json": {}}
    return {
        "providers": {
            name: {"dialect": wire(name), "base_url": server.url + PATHS[wire(name)], "api_key": "sk-vendor-key-0123"}
            for name, server in vendors.items()
        },
        "models": models,
        "default": {"models": ["openai"]},
        "policy": {"retry": {"base_s": 0.001, "cap_s": 0.01}},
        "routes": [
            {"name": f"{plan}-{kind}", "utterances": [f"{plan} {kind}"], "models": ids, "output": output}
            for plan, ids in {
                **PLANS,
                **{name: [name, "openai"] for name in SAID},
                "in-vain": ["prose", "wrong"],
            }.items()
            for kind, output in contracts.items()
        ],
    }


def wire(provider: str) -> str:
    """The dialect of a provider."""
    return provider if provider in NAMES else "openai"


def sent(vendors: Vendors, plan: str) -> dict[str, Any]:
    """What the plan's last vendor was sent."""
    name = "anthropic" if plan == "to-claude-old" else plan.removeprefix("to-")
    return vendors[name].last.body


def schema_in(plan: str, body: dict[str, Any]) -> Any:
    """The schema, where each vendor wants it."""
    match plan:
        case "to-openai":
            return body["response_format"]["json_schema"]["schema"]
        case "to-anthropic":
            return body["output_config"]["format"]["schema"]
        case "to-claude-old":
            return body["tools"][0]["input_schema"]
        case _:
            settings = body["generationConfig"]
            return settings.get("responseJsonSchema") or settings["responseSchema"]


def text_of(service: Service, path: str, body: dict[str, Any]) -> str:
    response = service.client.post(path, json=body)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        said = response.json()
        match path:
            case "/complete":
                return str(said["content"])
            case "/v1/messages":
                return "".join(block["text"] for block in said["content"])
            case _:
                return str(said["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    if path == "/v1/messages":
        return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    if path == "/complete":
        return "".join(event.get("content") or "" for event in events)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("plan", PLANS)
def test_a_schema_reaches_the_vendor_that_takes_over(
    service: Service, vendors: Vendors, plan: str, stream: bool
) -> None:
    body = {"prompt": "Tell me of Paris.", "model": f"auto:{plan}-schema", "stream": stream}
    assert json.loads(text_of(service, "/complete", body)) == ANSWER
    assert schema_in(plan, sent(vendors, plan)) == SCHEMA


@pytest.mark.parametrize(
    ("path", "stream"), [("/v1/chat/completions", False), ("/v1/messages", False), ("/v1/messages", True)]
)
@pytest.mark.parametrize("plan", PLANS)
def test_whatever_dialect_the_caller_speaks(
    service: Service, vendors: Vendors, plan: str, path: str, stream: bool
) -> None:
    messages = [{"role": "user", "content": "Tell me of Paris."}]
    body = {"model": f"auto:{plan}-schema", "messages": messages, "max_tokens": 100, "stream": stream}
    assert json.loads(text_of(service, path, body)) == ANSWER
    assert schema_in(plan, sent(vendors, plan)) == SCHEMA


@pytest.mark.parametrize("plan", PLANS)
def test_json_without_a_schema_is_asked_for_too(service: Service, vendors: Vendors, plan: str) -> None:
    body = {"prompt": "Tell me of Paris.", "model": f"auto:{plan}-json"}
    response = service.client.post("/complete", json=body)
    if plan == "to-gemini":
        assert json.loads(response.json()["content"]) == ANSWER
    else:  # these vendors greet, whatever they are told
        assert response.status_code == 502
        assert "the answer breaks the route's `output`: it is not JSON" in response.json()["error"]["message"]
    told = sent(vendors, plan)
    match plan:
        case "to-openai":
            assert told["response_format"] == {"type": "json_object"}
        case "to-gemini":
            assert told["generationConfig"]["responseMimeType"] == "application/json"
        case _:  # Anthropic has no such setting
            assert "Answer with one JSON object and nothing else" in json.dumps(told["system"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("name", SAID)
def test_an_answer_that_breaks_the_schema_reaches_no_caller(
    service: Service, vendors: Vendors, name: str, path: str, stream: bool
) -> None:
    before = len(vendors["openai"].requests)
    messages = [{"role": "user", "content": "Tell me of Paris."}]
    body = {"model": f"auto:{name}-schema", "messages": messages, "max_tokens": 100, "stream": stream}
    assert json.loads(text_of(service, path, body)) == ANSWER
    repaired = name in ("fenced", "trailing", "thinking")
    assert len(vendors["openai"].requests) == before + (not repaired)


@pytest.mark.parametrize("stream", [False, True])
def test_where_no_model_keeps_the_contract_the_error_says_so(service: Service, stream: bool) -> None:
    messages = [{"role": "user", "content": "Tell me of Paris."}]
    body = {"model": "auto:in-vain-schema", "messages": messages, "stream": stream}
    response = service.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 502
    message = response.json()["error"]["message"]
    assert "prose: the answer breaks the route's `output`: it is not JSON: got text" in message
    assert "wrong: the answer breaks the route's `output`: its JSON breaks the schema" in message
    assert response.headers["x-semroute-attempts"] == "2"
    assert float(response.headers["x-semroute-cost-usd"]) == 0.00006  # both answers were paid for


def test_a_held_stream_says_why(service: Service) -> None:
    body = {"prompt": "Tell me of Paris.", "model": "auto:to-openai-schema", "stream": True}
    assert service.client.post("/complete", json=body).headers["x-semroute-held"] == "contract"


def test_an_answer_that_calls_a_tool_is_not_held(service: Service) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    body = {"model": "auto:to-openai-schema", "messages": [{"role": "user", "content": "Weather?"}], "tools": [tool]}
    response = service.client.post("/v1/chat/completions", json=body)
    assert response.json()["choices"][0]["finish_reason"] == "tool_calls"


def test_one_answer_is_asked_for_and_a_callers_own_schema_stands(service: Service, vendors: Vendors) -> None:
    own = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {"required": ["mine"]}}}
    messages = [{"role": "user", "content": "Tell me of Paris."}]
    body = {"model": "auto:to-openai-schema", "messages": messages, "response_format": own, "n": 2}
    response = service.client.post("/v1/chat/completions", json=body)
    assert json.loads(response.json()["choices"][0]["message"]["content"]) == ANSWER
    assert response.headers["x-semroute-dropped"] == "n"
    assert "n" not in vendors["openai"].last.body
    assert vendors["openai"].last.body["response_format"] == own
