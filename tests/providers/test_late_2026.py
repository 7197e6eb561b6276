"""No field of any caller makes a model of late 2026 refuse a request: over HTTP, to servers in the vendors' formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.errors import ProviderError, UnsupportedError
from semroute.messages import ChatRequest, ToolCall
from semroute.providers.http_provider import HttpProvider
from semroute.providers.transport import Transport
from tests.dialects.test_rendering import completion, next_turn
from tests.dialects.test_round_trips import CLIENTS, RECORD
from tests.dialects.wires import BODIES, CASES, RECEIVERS, Case
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.bedrock import BedrockVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import VendorServer

PATIENT = Timeouts(connect_s=30, first_token_s=30, stall_s=30, total_s=30)
PATHS = {"openai": "/v1", "responses": "/v1", "anthropic": "", "gemini": "/v1beta", "bedrock": ""}
VENDORS = {
    "openai": OpenAIVendor,
    "responses": ResponsesVendor,
    "anthropic": AnthropicVendor,
    "gemini": GeminiVendor,
    "bedrock": BedrockVendor,
}
OUR_OWN = {"A compaction item"}
"""Cases whose values no server would take: they are opaque."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, VendorServer]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(VendorServer(vendor())) for name, vendor in VENDORS.items()}


def provider_of(receiver: str, servers: dict[str, VendorServer], transport: Transport) -> tuple[HttpProvider, Model]:
    dialect, name = RECEIVERS[receiver]
    kind: Any = dialect.name
    url = servers[kind].url + PATHS[kind]
    settings = ProviderSettings(id="p", dialect=kind, base_url=url, api_key="sk-0123456789", region="eu-central-1")
    features: Any = ("tools", "json", "vision", "reasoning")
    model = Model(id="m", provider="p", name=name, features=features, max_output_tokens=65536)
    return HttpProvider(settings, dialect, transport), model


def asked(case: Case) -> ChatRequest:
    body = {**BODIES[case.dialect], **case.beside, **case.fields}
    return replace(CLIENTS[case.dialect].parse_request(body, "1"), stream=False)


@pytest.mark.parametrize("receiver", RECEIVERS)
async def test_no_case_is_refused(receiver: str, servers: dict[str, VendorServer]) -> None:
    transport = Transport()
    provider, model = provider_of(receiver, servers, transport)
    refused = {}
    for case in CASES:
        if case.title in OUR_OWN:
            continue
        try:
            await provider.complete(asked(case), model, PATIENT)
        except UnsupportedError as error:
            assert (receiver, bool(asked(case).tools)) == ("GPT-6.1 Sol, `openai`", True), error
        except ProviderError as error:  # all refusals are told together
            refused[case.title] = str(error)
    await transport.aclose()
    assert refused == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thinking_block_goes_back_to_its_own_model_alone(
    servers: dict[str, VendorServer], stream: bool
) -> None:
    transport, client = Transport(), CLIENTS["anthropic"]
    thinking = {"max_tokens": 9000, "thinking": {"type": "adaptive"}, "stream": stream}
    question = {"role": "user", "content": "Hi"}
    request = client.parse_request({**thinking, "messages": [question]}, "1")
    opus, model = provider_of("Claude Opus 5.5", servers, transport)
    if stream:
        content: list[dict[str, Any]] = []
        async for chunk in opus.stream(request, model, PATIENT):
            piece = json.loads(chunk.raw)
            if piece["type"] == "content_block_start":
                content.append(piece["content_block"])
            elif piece["type"] == "content_block_delta":
                told = {name: value for name, value in piece["delta"].items() if name != "type"}
                for name, value in told.items():
                    content[piece["index"]][name] = content[piece["index"]].get(name, "") + value
    else:
        content = json.loads((await opus.complete(request, model, PATIENT)).raw)["content"]
    assert content[0]["type"] == "thinking"
    turns = [question, {"role": "assistant", "content": content}, question]
    again = client.parse_request({**thinking, "stream": False, "messages": turns}, "2")
    await opus.complete(again, model, PATIENT)
    own = servers["anthropic"].last.body["messages"][1]["content"]
    assert [block["type"] for block in own] == ["thinking", "text"]
    sonnet, other = provider_of("Claude Sonnet 5.5", servers, transport)
    completion = await sonnet.complete(again, other, PATIENT)
    assert completion.dropped == ("thinking of another model",)
    assert [block["type"] for block in servers["anthropic"].last.body["messages"][1]["content"]] == ["text"]
    await transport.aclose()


@pytest.mark.parametrize("dialect", ["anthropic", "responses"])
async def test_a_signature_of_gemini_goes_back_on_its_call(servers: dict[str, VendorServer], dialect: str) -> None:
    """Neither dialect has a place for it on a call: it goes by way of the call's id."""
    call = ToolCall(id="c", name="f", arguments='{"x":1}', signature="c2ln")
    whole = json.loads(CLIENTS[dialect].render_completion(completion(call), RECORD, ChatRequest(id="1", messages=())))
    body = next_turn(dialect, whole)
    request = replace(CLIENTS[dialect].parse_request(body, "2"), stream=False)
    called = [part for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    assert [(part.id, part.signature) for part in called] == [("c", "c2ln")]
    transport = Transport()
    provider, model = provider_of("Gemini 3.8 Flash", servers, transport)
    answer = await provider.complete(request, model, PATIENT)
    sent = [part for turn in servers["gemini"].last.body["contents"] for part in turn["parts"]]
    assert [part["thoughtSignature"] for part in sent if "functionCall" in part] == ["c2ln"]
    assert [part["functionResponse"]["id"] for part in sent if "functionResponse" in part] == ["c"]
    assert "thinking of another provider" not in answer.dropped
    await transport.aclose()
