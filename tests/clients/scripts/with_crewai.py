from __future__ import annotations

import os
from typing import Any

from crewai import LLM, Agent
from crewai.tools import tool
from play import PROMPT, Saw, play
from pydantic import BaseModel

os.environ["CREWAI_TRACING_ENABLED"] = "false"


class City(BaseModel):
    city: str
    population: int


def openai(url: str, model: str, **more: Any) -> Any:
    return LLM(model=f"openai/{model}", base_url=f"{url}/v1", api_key="any", **more)


def responses(url: str, model: str, **more: Any) -> Any:
    return LLM(model=f"openai/{model}", base_url=f"{url}/v1", api_key="any", api="responses", **more)


def anthropic(url: str, model: str, **more: Any) -> Any:
    return LLM(model=model, provider="anthropic", base_url=url, api_key="any", **more)


def agent(llm: Any, tools: Any = ()) -> Agent:
    return Agent(role="helper", goal="help", backstory="A helper.", llm=llm, tools=list(tools), max_iter=5)


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        done = await agent(make(url, model)).kickoff_async(PROMPT)
        saw.text, saw.usage = done.raw, [done.usage_metrics["prompt_tokens"], done.usage_metrics["completion_tokens"]]

    def stream(url: str, model: str, saw: Saw) -> None:
        llm = make(url, model, stream=True)
        saw.text = llm.call(PROMPT)
        usage = llm.get_token_usage_summary()
        saw.usage = [usage.prompt_tokens, usage.completion_tokens]

    async def tools(url: str, model: str, saw: Saw) -> None:
        @tool("get_weather")
        def get_weather(city: str) -> str:
            """The weather of a city."""
            return saw.get_weather(city)

        @tool("get_time")
        def get_time(zone: str) -> str:
            """The time of a zone."""
            return saw.get_time(zone)

        saw.text = (await agent(make(url, model), [get_weather, get_time]).kickoff_async(PROMPT)).raw

    def structured(url: str, model: str, saw: Saw) -> None:
        saw.value = make(url, model).call(PROMPT, response_model=City)
        saw.value = saw.value.model_dump() if isinstance(saw.value, City) else saw.value

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses), "anthropic": steps(anthropic)})
