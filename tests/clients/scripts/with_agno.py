from __future__ import annotations

from typing import Any

from agno.agent import Agent
from agno.models.anthropic import Claude
from agno.models.google import Gemini
from agno.models.openai import OpenAIChat, OpenAIResponses
from play import PROMPT, Saw, play
from pydantic import BaseModel


class City(BaseModel):
    city: str
    population: int


def openai(url: str, model: str) -> Any:
    return OpenAIChat(id=model, base_url=f"{url}/v1", api_key="any")


def responses(url: str, model: str) -> Any:
    return OpenAIResponses(id=model, base_url=f"{url}/v1", api_key="any")


def anthropic(url: str, model: str) -> Any:
    return Claude(id=model, api_key="any", client_params={"base_url": url})


def gemini(url: str, model: str) -> Any:
    return Gemini(id=model, api_key="any", client_params={"http_options": {"base_url": url}})


def failed(done: Any) -> None:
    """It tells an error by a status."""
    if done.status == "ERROR":
        raise RuntimeError(done.content)


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        done = await Agent(model=make(url, model), telemetry=False).arun(PROMPT)
        failed(done)
        saw.text, saw.usage = done.content, [done.metrics.input_tokens, done.metrics.output_tokens]

    async def stream(url: str, model: str, saw: Saw) -> None:
        agent = Agent(model=make(url, model), telemetry=False)
        async for event in agent.arun(PROMPT, stream=True, stream_events=True):
            if event.event == "RunContent" and event.content:
                saw.text += event.content
            if event.event == "RunError":
                raise RuntimeError(event.content)
            if event.event == "RunCompleted":
                saw.usage = [event.metrics.input_tokens, event.metrics.output_tokens]

    async def tools(url: str, model: str, saw: Saw) -> None:
        agent = Agent(model=make(url, model), tools=[saw.get_weather, saw.get_time], telemetry=False)
        done = await agent.arun(PROMPT)
        failed(done)
        saw.text = done.content

    async def structured(url: str, model: str, saw: Saw) -> None:
        done = await Agent(model=make(url, model), output_schema=City, telemetry=False).arun(PROMPT)
        failed(done)
        saw.value = done.content.model_dump()

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses), "anthropic": steps(anthropic), "gemini": steps(gemini)})
