from __future__ import annotations

from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI
from play import PROMPT, Saw, play
from pydantic import BaseModel


class City(BaseModel):
    city: str
    population: int


def responses(url: str, model: str) -> Any:
    return OpenAIResponsesModel(model=model, openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="any"))


def openai(url: str, model: str) -> Any:
    return OpenAIChatCompletionsModel(model=model, openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="any"))


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        done = await Runner.run(Agent(name="it", model=make(url, model)), PROMPT)
        usage = done.context_wrapper.usage
        saw.text, saw.usage = done.final_output, [usage.input_tokens, usage.output_tokens]

    async def stream(url: str, model: str, saw: Saw) -> None:
        done = Runner.run_streamed(Agent(name="it", model=make(url, model)), PROMPT)
        async for event in done.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                saw.text += event.data.delta
        saw.usage = [done.context_wrapper.usage.input_tokens, done.context_wrapper.usage.output_tokens]

    async def tools(url: str, model: str, saw: Saw) -> None:
        own = [function_tool(saw.get_weather), function_tool(saw.get_time)]
        saw.text = (await Runner.run(Agent(name="it", model=make(url, model), tools=own), PROMPT)).final_output

    async def structured(url: str, model: str, saw: Saw) -> None:
        agent = Agent(name="it", model=make(url, model), output_type=City)
        saw.value = (await Runner.run(agent, PROMPT)).final_output.model_dump()

    async def continued(url: str, model: str, saw: Saw) -> None:
        agent = Agent(name="it", model=make(url, model))
        first = await Runner.run(agent, PROMPT)
        saw.text = (await Runner.run(agent, "And now?", previous_response_id=first.last_response_id)).final_output

    return {"text": text, "stream": stream, "tools": tools, "json": structured, "continued": continued}


def without(steps: Any, name: str) -> Any:
    return {step: does for step, does in steps.items() if step != name}


play({"responses": steps(responses), "openai": without(steps(openai), "continued")})
