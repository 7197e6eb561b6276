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


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with ExitStack() as stack:
        made = {"openai": OpenAIVendor(), "anthropic": AnthropicVendor(), "gemini": GeminiVendor()}
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
    for name in vendors:
        models[name] = {"provider": name, "name": NAMES[name]}
        models[f"{name}-500"] = {"provider": name, "name": "status-500", "breaker": patient}
    contracts: dict[str, Any] = {"schema": {"json_schema": SCHEMA}, "json": {}}
    return {
        "providers": {
            name: {"dialect": name, "base_url": server.url + PATHS[name], "api_key": "sk-vendor-key-0123"}
            for name, server in vendors.items()
        },
        "models": models,
        "default": {"models": ["openai"]},
        "policy": {"retry": {"base_s": 0.001, "cap_s": 0.01}},
        "routes": [
            {"name": f"{plan}-{kind}", "utterances": [f"{plan} {kind}"], "models": ids, "output": output}
            for plan, ids in PLANS.items()
            for kind, output in contracts.items()
        ],
    }


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
    return "".join(event.get("content") or "" for event in events)


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
    service.client.post("/complete", json=body).raise_for_status()
    told = sent(vendors, plan)
    match plan:
        case "to-openai":
            assert told["response_format"] == {"type": "json_object"}
        case "to-gemini":
            assert told["generationConfig"]["responseMimeType"] == "application/json"
        case _:  # Anthropic has no such setting
            assert "Answer with one JSON object and nothing else" in json.dumps(told["system"])
