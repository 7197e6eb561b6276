from __future__ import annotations

import json
from typing import Any

from play import CITY, PROMPT, Saw, play
from smolagents import ChatMessage, LogLevel, OpenAIModel, Tool, ToolCallingAgent


def openai(url: str, model: str) -> Any:
    return OpenAIModel(model_id=model, api_base=f"{url}/v1", api_key="any")


ASKED = [ChatMessage(role="user", content=PROMPT)]


def text(url: str, model: str, saw: Saw) -> None:
    done = openai(url, model).generate(ASKED)
    saw.text, saw.usage = done.content, [done.token_usage.input_tokens, done.token_usage.output_tokens]


def stream(url: str, model: str, saw: Saw) -> None:
    for piece in openai(url, model).generate_stream(ASKED):
        saw.text += piece.content or ""
        if piece.token_usage:
            saw.usage = [piece.token_usage.input_tokens, piece.token_usage.output_tokens]


def tools(url: str, model: str, saw: Saw) -> None:
    class Weather(Tool):
        name, description, output_type = "get_weather", "The weather of a city.", "string"
        inputs = {"city": {"type": "string", "description": "A city."}}

        def forward(self, city: str) -> str:
            return saw.get_weather(city)

    class Time(Tool):
        name, description, output_type = "get_time", "The time of a zone.", "string"
        inputs = {"zone": {"type": "string", "description": "A zone."}}

        def forward(self, zone: str) -> str:
            return saw.get_time(zone)

    agent = ToolCallingAgent(
        tools=[Weather(), Time()], model=openai(url, model), verbosity_level=LogLevel.OFF, max_steps=2
    )
    saw.text = str(agent.run(PROMPT))


def structured(url: str, model: str, saw: Saw) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    saw.value = json.loads(openai(url, model).generate(ASKED, response_format=form).content)


play({"openai": {"text": text, "stream": stream, "tools": tools, "json": structured}})
