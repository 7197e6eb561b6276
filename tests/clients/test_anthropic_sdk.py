"""Anthropic's Python SDK against the service, with other vendors behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from pydantic import BaseModel

from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.server import GREETING, RESULT
from tests.vendors.world import World

HI: list[Any] = [{"role": "user", "content": "Hi"}]


class City(BaseModel):
    city: str
    population: int


@pytest.fixture
def client(world: World) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=world.service.url, api_key="any", max_retries=0) as opened:
        yield opened


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "gemini", "bedrock"])
async def test_the_async_client_streams_too(world: World, model: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=world.service.url, api_key="any") as client:
        whole: Any = await client.messages.create(model=model, max_tokens=99, messages=HI)
        async with client.messages.stream(model=model, max_tokens=99, messages=HI) as stream:
            text = "".join([piece async for piece in stream.text_stream])
    assert whole.content[0].text == text == "".join(GREETING)


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_an_answer_is_parsed_into_a_class(client: anthropic.Anthropic, model: str) -> None:
    done = client.messages.parse(model=model, max_tokens=99, messages=HI, output_format=City)
    assert done.parsed_output == City(city="Paris", population=2100000)


@pytest.mark.parametrize("model", ["openai", "responses", "gemini", "bedrock"])
def test_events_come_in_anthropics_order(client: anthropic.Anthropic, model: str) -> None:
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {}}}}]
    with client.messages.create(model=model, max_tokens=99, messages=HI, tools=tools, stream=True) as stream:
        kinds = [event.type for event in stream]
    kinds = [kind for kind in kinds if kind not in ("content_block_delta", "ping")]
    block = ["content_block_start", "content_block_stop"]
    assert kinds == ["message_start", *block, *block, "message_delta", "message_stop"]


@pytest.mark.parametrize("model", ["responses", "anthropic", "gemini", "bedrock"])
def test_thoughts_come_as_blocks(client: anthropic.Anthropic, model: str) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    whole: Any = client.messages.create(model=model, max_tokens=4000, messages=HI, thinking=thinking)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[0].thinking == "Let me think."
    with client.messages.stream(model=model, max_tokens=4000, messages=HI, thinking=thinking) as stream:
        streamed: Any = stream.get_final_message()
    assert streamed.content[0].thinking == "Let me think."
    assert streamed.content[0].signature == whole.content[0].signature


@pytest.mark.parametrize("first", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_loop_of_tools_may_go_on_with_another_vendor(client: anthropic.Anthropic, first: str) -> None:
    tools: Any = [{"name": name, "input_schema": {"type": "object"}} for name in ("get_weather", "get_time")]
    options: Any = {"max_tokens": 4000, "tools": tools, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    with client.messages.stream(model=first, messages=HI, **options) as stream:
        said: Any = stream.get_final_message().content
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "18"} for block in said[-2:]]
    turns: Any = [*HI, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
    for model in ("anthropic", "responses", "gemini"):
        done: Any = client.messages.create(model=model, messages=turns, **options)
        assert done.content[-1].text == "".join(RESULT)


@pytest.mark.parametrize(
    ("model", "error_type"),
    [
        ("openai-400", anthropic.BadRequestError),
        ("gemini-429", anthropic.RateLimitError),
        ("openai-500", anthropic.InternalServerError),
        ("no-such-model", anthropic.NotFoundError),
    ],
)
def test_errors_are_the_sdks_own(
    client: anthropic.Anthropic, model: str, error_type: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error_type) as caught:
        client.messages.create(model=model, max_tokens=99, messages=HI)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert {"type", "message"} <= body["error"].keys()


def test_the_sdk_retries_what_is_worth_it(world: World) -> None:
    before = len(world.vendors["openai"].requests)
    with anthropic.Anthropic(base_url=world.service.url, api_key="any", max_retries=1) as client:
        with pytest.raises(anthropic.RateLimitError):
            client.messages.create(model="openai-429", max_tokens=99, messages=HI)
        retried = len(world.vendors["openai"].requests) - before
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(model="openai-400", max_tokens=99, messages=HI)
    assert retried >= 2
    assert len(world.vendors["openai"].requests) == before + retried + 1


def test_same_dialect_passes_byte_for_byte(world: World) -> None:
    body = {"model": "anthropic", "max_tokens": 99, "messages": HI, "metadata": {"user_id": "u", "team": "x"}}
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
    through = httpx.post(f"{world.service.url}/v1/messages", json=body, headers=headers, trust_env=False)
    sent = world.vendors["anthropic"].last.body
    assert sent == {**body, "model": "claude-sonnet-4-6", "stream": False, "metadata": {"user_id": "u"}}
    direct = httpx.post(f"{world.vendors['anthropic'].url}/v1/messages", json=sent, headers=headers, trust_env=False)
    assert through.content == direct.content
    through = httpx.post(
        f"{world.service.url}/v1/messages", json={**body, "stream": True}, headers=headers, trust_env=False
    )
    assert through.content == b"".join(AnthropicVendor().events("/v1/messages", headers, {**sent, "stream": True}))


def test_what_is_in_beta_reaches_anthropic(client: anthropic.Anthropic, world: World) -> None:
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    options: Any = {"max_tokens": 99, "messages": HI, "betas": ["context-management-2025-06-27", "x"]}
    done: Any = client.beta.messages.create(model="anthropic", context_management=edits, **options)
    assert done.content[0].text == "".join(GREETING)
    seen = world.vendors["anthropic"].last
    assert (seen.headers["anthropic-beta"], seen.body["context_management"]) == (
        "context-management-2025-06-27,x",
        edits,
    )
    client.beta.messages.create(model="responses", **options)
    assert "anthropic-beta" not in world.vendors["responses"].last.headers


def test_tokens_are_counted_without_a_call(client: anthropic.Anthropic, world: World) -> None:
    before = [len(vendor.requests) for vendor in world.vendors.values()]
    counted = client.messages.count_tokens(model="auto", messages=[{"role": "user", "content": "x" * 400}])
    assert 90 < counted.input_tokens < 120
    assert [len(vendor.requests) for vendor in world.vendors.values()] == before


def test_models_are_listed_in_anthropics_form(client: anthropic.Anthropic) -> None:
    models = client.models.list()
    assert [model.id for model in models.data][:2] == ["auto", "auto:weather"]
    assert models.data[0].type == "model"
    assert not models.has_more


def test_cache_marks_and_documents_reach_who_knows_them(client: anthropic.Anthropic, world: World) -> None:
    mark = {"type": "ephemeral"}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    messages: Any = [
        {
            "role": "user",
            "content": [{**document, "title": "a.pdf"}, {"type": "text", "text": "?", "cache_control": mark}],
        }
    ]
    raw = client.messages.with_raw_response.create(model="openai", max_tokens=99, messages=messages)
    assert raw.headers["x-semroute-dropped"] == "cache_control"
    file = world.vendors["openai"].last.body["messages"][0]["content"][0]
    assert file == {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    raw = client.messages.with_raw_response.create(model="responses", max_tokens=99, messages=messages)
    assert "x-semroute-dropped" not in raw.headers
    sent = world.vendors["responses"].last.body["input"][0]["content"]
    assert sent[1] == {"type": "input_text", "text": "?", "prompt_cache_breakpoint": {"mode": "explicit"}}


def test_models_are_listed_page_by_page(client: anthropic.Anthropic, world: World) -> None:
    every = [model["id"] for model in world.service.client.get("/v1/models").json()["data"]]
    page = client.models.list(limit=7)
    assert (page.has_more, page.first_id, page.last_id) == (True, every[0], every[6])
    assert [model.id for model in page] == every
    before = client.models.list(before_id=every[9], limit=4)
    assert ([model.id for model in before.data], before.has_more) == (every[5:9], True)
    found = client.models.retrieve("auto:weather")
    assert (found.id, found.type, found.lifecycle) == ("auto:weather", "model", "active")
    wrongs: list[Any] = [{"limit": 0}, {"after_id": "none"}]
    for wrong in wrongs:
        with pytest.raises(anthropic.BadRequestError, match="expected"):
            client.models.list(**wrong)
