from __future__ import annotations

from typing import Any

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack.utils import Secret
from play import PROMPT, Saw, play
from pydantic import BaseModel


class City(BaseModel):
    city: str
    population: int


ASKED = [ChatMessage.from_user(PROMPT)]


def openai(url: str, model: str, **more: Any) -> Any:
    key = Secret.from_token("any")
    return OpenAIChatGenerator(model=model, api_base_url=f"{url}/v1", api_key=key, **more)


def responses(url: str, model: str, **more: Any) -> Any:
    key = Secret.from_token("any")
    return OpenAIResponsesChatGenerator(model=model, api_base_url=f"{url}/v1", api_key=key, **more)


def usage(reply: Any) -> list[int]:
    told = reply.meta["usage"]
    return [told.get("prompt_tokens") or told["input_tokens"], told.get("completion_tokens") or told["output_tokens"]]


def tool(does: Any, name: str, parameter: str) -> Tool:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return Tool(name=name, description=does.__doc__, parameters=schema, function=does)


def steps(make: Any, form: str) -> Any:
    def text(url: str, model: str, saw: Saw) -> None:
        reply = make(url, model).run(ASKED)["replies"][0]
        saw.text, saw.usage = reply.text, usage(reply)

    def stream(url: str, model: str, saw: Saw) -> None:
        def hear(piece: Any) -> None:
            saw.text += piece.content

        options = {"stream_options": {"include_usage": True}} if form == "response_format" else {}
        generator = make(url, model, streaming_callback=hear, generation_kwargs=options)
        saw.usage = usage(generator.run(ASKED)["replies"][0])

    def tools(url: str, model: str, saw: Saw) -> None:
        own = [tool(saw.get_weather, "get_weather", "city"), tool(saw.get_time, "get_time", "zone")]
        agent = Agent(chat_generator=make(url, model), tools=own)
        saw.text = agent.run(ASKED)["last_message"].text

    def structured(url: str, model: str, saw: Saw) -> None:
        reply = make(url, model, generation_kwargs={form: City}).run(ASKED)["replies"][0]
        saw.value = City.model_validate_json(reply.text).model_dump()

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai, "response_format"), "responses": steps(responses, "text_format")})
