"""The official client, unchanged but for its base URL."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.providers.scenarios import TEXT, TOOL_ARGUMENTS
from tests.service import Service

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "I want my money back"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_an_answer(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    assert raw.headers["x-semroute-route"] == "billing"
    completion = raw.parse()
    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 18


def test_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


async def test_an_async_stream(service: Service) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused") as client:
        stream = await client.chat.completions.create(model="auto:billing", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == TEXT


def test_tools(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="tools", messages=MESSAGES, tools=[WEATHER], tool_choice="auto")
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.arguments == TOOL_ARGUMENTS
    assert completion.choices[0].finish_reason == "tool_calls"


def test_streamed_tools(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="tools", messages=MESSAGES, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == TOOL_ARGUMENTS


def test_fallback_is_invisible(client: openai.OpenAI) -> None:
    for fault in ("status-429", "status-500", "hang", "reset", "cut-body"):
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=MESSAGES, extra_body={"models": [fault, "ok"]}
        )
        assert int(raw.headers["x-semroute-attempts"]) >= 2
        assert raw.parse().choices[0].message.content == TEXT


def test_a_break_in_mid_stream_raises(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="cut-after-2", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="status-400", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="context-length", messages=MESSAGES)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError) as gone:
        client.chat.completions.create(model="status-404", messages=MESSAGES)
    assert gone.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="status-429", messages=MESSAGES)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="keyless", messages=MESSAGES)


def test_models(client: openai.OpenAI) -> None:
    assert {"auto", "auto:billing", "ok"} <= {model.id for model in client.models.list()}
