from __future__ import annotations

import json
from typing import Any

from ollama import AsyncClient
from play import PROMPT, Saw, play


def client(url: str) -> AsyncClient:
    return AsyncClient(host=url)


ASKED: Any = [{"role": "user", "content": PROMPT}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
}


async def text(url: str, model: str, saw: Saw) -> None:
    done = await client(url).chat(model=model, messages=ASKED)
    saw.text, saw.usage = done.message.content, [done.prompt_eval_count, done.eval_count]


async def stream(url: str, model: str, saw: Saw) -> None:
    async for piece in await client(url).chat(model=model, messages=ASKED, stream=True):
        saw.text += piece.message.content
        if piece.done:
            saw.usage = [piece.prompt_eval_count, piece.eval_count]


async def tools(url: str, model: str, saw: Saw) -> None:
    own = {"get_weather": saw.get_weather, "get_time": saw.get_time}
    messages = list(ASKED)
    said = (await client(url).chat(model=model, messages=messages, tools=[*own.values()])).message
    messages.append(said)
    for call in said.tool_calls:
        result = own[call.function.name](**call.function.arguments)
        messages.append({"role": "tool", "content": result, "tool_name": call.function.name})
    saw.text = (await client(url).chat(model=model, messages=messages, tools=[*own.values()])).message.content


async def structured(url: str, model: str, saw: Saw) -> None:
    done = await client(url).chat(model=model, messages=ASKED, format=CITY)
    saw.value = json.loads(done.message.content)


play({"ollama": {"text": text, "stream": stream, "tools": tools, "json": structured}})
