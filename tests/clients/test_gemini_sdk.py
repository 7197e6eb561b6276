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
