"""Google's Python SDK against the service, with other vendors behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google import genai

from tests.vendors.server import RESULT
from tests.vendors.world import World

TOOLS: Any = [{"function_declarations": [{"name": "get_weather"}, {"name": "get_time"}]}]
CONFIG: Any = {"tools": TOOLS, "thinking_config": {"include_thoughts": True, "thinking_level": "LOW"}}


@pytest.fixture
def client(world: World) -> Iterator[genai.Client]:
    options = genai.types.HttpOptions(base_url=world.service.url)
    with genai.Client(api_key="any", http_options=options) as opened:
        yield opened


@pytest.mark.parametrize("model", ["responses", "anthropic", "bedrock"])
def test_thoughts_are_streamed_beside_the_answer(client: genai.Client, model: str) -> None:
    config: Any = {"thinking_config": CONFIG["thinking_config"]}
    pieces = [*client.models.generate_content_stream(model=model, contents="Hi", config=config)]
    parts: list[Any] = [part for piece in pieces for part in piece.parts or ()]
    assert "".join(part.text for part in parts if part.thought) == "Let me think."


@pytest.mark.parametrize("first", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_loop_of_tools_may_go_on_with_another_vendor(client: genai.Client, first: str) -> None:
    asked: Any = {"role": "user", "parts": [{"text": "Hi"}]}
    done: Any = client.models.generate_content(model=first, contents=[asked], config=CONFIG)
    results = [
        {"function_response": {"id": call.id, "name": call.name, "response": {"output": "18"}}}
        for call in done.function_calls
    ]
    turns = [asked, done.candidates[0].content, {"role": "user", "parts": results}]
    for model in ("anthropic", "responses", "gemini"):
        answer = client.models.generate_content(model=model, contents=turns, config=CONFIG)
        parts: list[Any] = [part for part in answer.parts or () if part.text and not part.thought]
        assert "".join(part.text for part in parts) == "".join(RESULT)


def test_models_are_listed_page_by_page(client: genai.Client, world: World) -> None:
    every = [model["id"] for model in world.service.client.get("/v1/models").json()["data"]]
    pager = client.models.list(config={"page_size": 7})
    assert len(pager) == 7
    assert [model.name for model in pager] == [f"models/{id_}" for id_ in every]
    found = client.models.get(model="auto:weather")
    assert (found.name, found.description) == ("models/auto:weather", "What the sky does.")
    assert "countTokens" in (found.supported_actions or [])
    with pytest.raises(genai.errors.ClientError) as missing:
        client.models.get(model="none")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("model", ["auto", "auto:weather", "openai", "gemini"])
def test_tokens_are_counted_without_a_model(client: genai.Client, world: World, model: str) -> None:
    before = [len(vendor.requests) for vendor in world.vendors.values()]
    short = client.models.count_tokens(model=model, contents="Hi").total_tokens or 0
    long = client.models.count_tokens(model=model, contents="What is the weather like today? " * 20).total_tokens or 0
    assert 0 < short < long
    assert [len(vendor.requests) for vendor in world.vendors.values()] == before


@pytest.mark.parametrize("model", ["embed", "vectors"])
def test_embeddings_come_from_either_vendor(client: genai.Client, world: World, model: str) -> None:
    several: Any = ["Hi", "there"]
    for contents in ("Hi", several):
        done = client.models.embed_content(model=model, contents=contents)
        vectors = [each.values for each in done.embeddings or ()]
        assert vectors == [[0.25, -0.5]] * (1 if isinstance(contents, str) else 2)
    sized: Any = {"output_dimensionality": 3, "task_type": "RETRIEVAL_QUERY"}
    client.models.embed_content(model=model, contents="Hi", config=sized)
    body = world.vendors["openai" if model == "embed" else "gemini"].last.body
    if model == "embed":
        assert body == {"input": ["Hi"], "dimensions": 3, "encoding_format": "float", "model": "text-embedding-x"}
    else:
        assert body["requests"][0].items() >= {"outputDimensionality": 3, "taskType": "RETRIEVAL_QUERY"}.items()
    with pytest.raises(genai.errors.ClientError, match="embeddings are not routed"):
        client.models.embed_content(model="auto", contents="Hi")
