from __future__ import annotations

from typing import Any

from play import PROMPT, Saw, play
from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    city: str
    population: int


def openai(url: str, model: str) -> Any:
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


def responses(url: str, model: str) -> Any:
    return OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


def anthropic(url: str, model: str) -> Any:
    return AnthropicModel(model, provider=AnthropicProvider(base_url=url, api_key="any"))


def gemini(url: str, model: str) -> Any:
    return GoogleModel(model, provider=GoogleProvider(base_url=url, api_key="any"))


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        done = await Agent(make(url, model)).run(PROMPT)
        saw.text, saw.usage = done.output, [done.usage.input_tokens, done.usage.output_tokens]

    async def stream(url: str, model: str, saw: Saw) -> None:
        async with Agent(make(url, model)).run_stream(PROMPT) as done:
            async for piece in done.stream_text(delta=True, debounce_by=None):
                saw.text += piece
            saw.usage = [done.usage.input_tokens, done.usage.output_tokens]

    async def tools(url: str, model: str, saw: Saw) -> None:
        saw.text = (await Agent(make(url, model), tools=[saw.get_weather, saw.get_time]).run(PROMPT)).output

    async def structured(url: str, model: str, saw: Saw) -> None:
        saw.value = (await Agent(make(url, model), output_type=ToolOutput(City)).run(PROMPT)).output.model_dump()

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses), "anthropic": steps(anthropic), "gemini": steps(gemini)})
