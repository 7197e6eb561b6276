from __future__ import annotations

from typing import Any

import instructor
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from play import PROMPT, Saw, play
from pydantic import BaseModel


class City(BaseModel):
    city: str
    population: int


def openai(url: str, mode: instructor.Mode) -> Any:
    return instructor.from_openai(AsyncOpenAI(base_url=f"{url}/v1", api_key="any"), mode=mode)


def anthropic(url: str, mode: instructor.Mode) -> Any:
    return instructor.from_anthropic(AsyncAnthropic(base_url=url, api_key="any"), mode=mode)


ASKED = [{"role": "user", "content": PROMPT}]


def usage(told: dict[str, int]) -> list[int]:
    return [told.get("prompt_tokens") or told["input_tokens"], told.get("completion_tokens") or told["output_tokens"]]


def steps(make: Any, modes: list[instructor.Mode]) -> Any:
    async def structured(url: str, model: str, saw: Saw) -> None:
        saw.value = {}
        for mode in modes:
            options = {"model": model, "messages": ASKED, "response_model": City, "max_tokens": 500, "max_retries": 1}
            value, done = await make(url, mode).chat.completions.create_with_completion(**options)
            saw.value[mode.value] = value.model_dump()
        saw.usage = usage(done.usage.model_dump())

    async def partial(url: str, model: str, saw: Saw) -> None:
        options = {"model": model, "messages": ASKED, "response_model": City, "max_tokens": 500}
        async for value in make(url, modes[0]).chat.completions.create_partial(**options):
            saw.value = value.model_dump()

    async def text(url: str, model: str, saw: Saw) -> None:
        options = {"model": model, "messages": ASKED, "response_model": None, "max_tokens": 500}
        done = (await make(url, modes[0]).chat.completions.create(**options)).model_dump()
        saw.text = done["content"][0]["text"] if "content" in done else done["choices"][0]["message"]["content"]
        saw.usage = usage(done["usage"])

    return {"text": text, "json": structured, "json_stream": partial}


Mode = instructor.Mode
play(
    {
        "openai": steps(openai, [Mode.TOOLS, Mode.JSON_SCHEMA]),
        "anthropic": steps(anthropic, [Mode.ANTHROPIC_TOOLS]),
    }
)
