from __future__ import annotations

import json
from typing import Any

from mistralai.client import Mistral
from play import CITY, PROMPT, Saw, play


def client(url: str) -> Mistral:
    return Mistral(server_url=url, api_key="any")


ASKED: Any = [{"role": "user", "content": PROMPT}]


def function(name: str, about: str, parameter: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


async def text(url: str, model: str, saw: Saw) -> None:
    done = await client(url).chat.complete_async(model=model, messages=ASKED)
    saw.text, saw.usage = done.choices[0].message.content, [done.usage.prompt_tokens, done.usage.completion_tokens]


async def stream(url: str, model: str, saw: Saw) -> None:
    async for event in await client(url).chat.stream_async(model=model, messages=ASKED):
        for choice in event.data.choices:
            saw.text += choice.delta.content or ""
        if event.data.usage and event.data.usage.prompt_tokens:
            saw.usage = [event.data.usage.prompt_tokens, event.data.usage.completion_tokens]


async def tools(url: str, model: str, saw: Saw) -> None:
    own: Any = [function("get_weather", "The weather.", "city"), function("get_time", "The time.", "zone")]
    messages = list(ASKED)
    message = (await client(url).chat.complete_async(model=model, messages=messages, tools=own)).choices[0].message
    messages.append(message)
    for call in message.tool_calls:
        result = getattr(saw, call.function.name)(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": result})
    done = await client(url).chat.complete_async(model=model, messages=messages, tools=own)
    saw.text = done.choices[0].message.content


async def structured(url: str, model: str, saw: Saw) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    done = await client(url).chat.complete_async(model=model, messages=ASKED, response_format=form)
    saw.value = json.loads(done.choices[0].message.content)


play({"openai": {"text": text, "stream": stream, "tools": tools, "json": structured}})
