"""Other people's clients against the service, with Anthropic's, Gemini's and OpenAI's formats behind it."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients import needed
from tests.vendors.server import GREETING
from tests.vendors.world import World

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore"),  # theirs
]
TEXT = "".join(GREETING)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What they leave open is closed here, where its warnings are theirs."""
    yield
    gc.collect()


MODELS = ["openai", "responses", "anthropic", "gemini"]
CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.mark.parametrize("model", MODELS)
def test_litellm(world: World, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch its prices
    litellm: Any = needed.module("litellm")
    options: Any = {"model": f"openai/{model}", "api_base": f"{world.service.url}/v1", "api_key": "any"}
    messages = [{"role": "user", "content": "Hi"}]
    done = litellm.completion(messages=messages, **options)
    assert (done.choices[0].message.content, done.usage.prompt_tokens) == (TEXT, 20)
    pieces = litellm.completion(messages=messages, stream=True, **options)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == TEXT
    called = litellm.completion(messages=messages, tools=[TOOL], **options)
    calls = called.choices[0].message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == CALLS
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(messages=messages, max_retries=0, **{**options, "model": f"openai/{model}-429"})
    options = {"model": f"anthropic/{model}", "api_base": world.service.url, "api_key": "any"}
    assert litellm.completion(messages=messages, **options).choices[0].message.content == TEXT


@pytest.mark.parametrize("model", MODELS)
async def test_langchain_openai(world: World, model: str) -> None:
    langchain: Any = needed.module("langchain_openai")
    chat = langchain.ChatOpenAI(model=model, base_url=f"{world.service.url}/v1", api_key="any", stream_usage=True)
    await _langchain(chat)
    chat = langchain.ChatOpenAI(model=model, base_url=f"{world.service.url}/v1", api_key="any", use_responses_api=True)
    await _langchain(chat)
    embeddings = langchain.OpenAIEmbeddings(
        model="embed", base_url=f"{world.service.url}/v1", api_key="any", check_embedding_ctx_length=False
    )
    assert embeddings.embed_query("a") == [0.25, -0.5]


@pytest.mark.parametrize("model", MODELS)
async def test_langchain_anthropic(world: World, model: str) -> None:
    langchain: Any = needed.module("langchain_anthropic")
    await _langchain(langchain.ChatAnthropic(model=model, base_url=world.service.url, api_key="any", max_tokens=99))


async def _langchain(chat: Any) -> None:
    done = chat.invoke("Hi")
    assert (done.text, done.usage_metadata["input_tokens"]) == (TEXT, 20)
    whole: Any = None
    async for piece in chat.astream("Hi"):
        whole = piece if whole is None else whole + piece
    assert whole.text == TEXT
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (20, 10)
    called = chat.bind_tools([TOOL]).invoke("Hi")
    assert [(call["name"], call["args"]) for call in called.tool_calls] == CALLS


@pytest.mark.parametrize("model", MODELS)
def test_llama_index(world: World, model: str) -> None:
    llama_index: Any = needed.module("llama_index.llms.openai_like")
    types: Any = needed.module("llama_index.core.llms")
    chat = llama_index.OpenAILike(
        model=model, api_base=f"{world.service.url}/v1", api_key="any", is_chat_model=True, context_window=8000
    )
    messages = [types.ChatMessage(role="user", content="Hi")]
    assert chat.chat(messages).message.content == TEXT
    assert [*chat.stream_chat(messages)][-1].message.content == TEXT
