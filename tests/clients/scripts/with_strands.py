from __future__ import annotations

from typing import Any

from play import PROMPT, Saw, play
from pydantic import BaseModel
from strands import Agent, tool
from strands.models.anthropic import AnthropicModel
from strands.models.openai import OpenAIModel
from strands.models.openai_responses import OpenAIResponsesModel


class City(BaseModel):
    """A city."""

    city: str
    population: int


def openai(url: str, model: str) -> Any:
    return OpenAIModel(client_args={"base_url": f"{url}/v1", "api_key": "any"}, model_id=model)


def responses(url: str, model: str) -> Any:
    return OpenAIResponsesModel(client_args={"base_url": f"{url}/v1", "api_key": "any"}, model_id=model)


def anthropic(url: str, model: str) -> Any:
    return AnthropicModel(client_args={"base_url": url, "api_key": "any"}, model_id=model, max_tokens=500)


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        done = await Agent(model=make(url, model), callback_handler=None).invoke_async(PROMPT)
        usage = done.metrics.accumulated_usage
        saw.text, saw.usage = str(done).strip(), [usage["inputTokens"], usage["outputTokens"]]

    async def stream(url: str, model: str, saw: Saw) -> None:
        agent = Agent(model=make(url, model), callback_handler=None)
        async for event in agent.stream_async(PROMPT):
            saw.text += event.get("data", "")
        usage = agent.event_loop_metrics.accumulated_usage
        saw.usage = [usage["inputTokens"], usage["outputTokens"]]

    async def tools(url: str, model: str, saw: Saw) -> None:
        @tool
        def get_weather(city: str) -> str:
            """The weather of a city."""
            return saw.get_weather(city)

        @tool
        def get_time(zone: str) -> str:
            """The time of a zone."""
            return saw.get_time(zone)

        agent = Agent(model=make(url, model), tools=[get_weather, get_time], callback_handler=None)
        saw.text = str(await agent.invoke_async(PROMPT)).strip()

    async def structured(url: str, model: str, saw: Saw) -> None:
        agent = Agent(model=make(url, model), callback_handler=None)
        done = await agent.invoke_async(PROMPT, structured_output_model=City)
        saw.value = done.structured_output.model_dump()

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses), "anthropic": steps(anthropic)})
