from __future__ import annotations

from typing import Any

import dspy
from play import PROMPT, Saw, play

dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)


def openai(url: str, model: str) -> Any:
    return dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key="any", cache=False)


def responses(url: str, model: str) -> Any:
    return dspy.LM(f"openai/{model}", api_base=f"{url}/v1", api_key="any", cache=False, model_type="responses")


def anthropic(url: str, model: str) -> Any:
    return dspy.LM(f"anthropic/{model}", api_base=f"{url}/v1", api_key="any", cache=False)


def usage(done: Any) -> list[int]:
    told = next(iter(done.get_lm_usage().values()))
    names = [("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")]
    return [told.get(old) or told[new] for old, new in names]


def steps(make: Any) -> Any:
    async def text(url: str, model: str, saw: Saw) -> None:
        with dspy.context(lm=make(url, model), track_usage=True):
            done = await dspy.Predict("question -> answer").acall(question=PROMPT)
        saw.text, saw.usage = done.answer, usage(done)

    async def stream(url: str, model: str, saw: Saw) -> None:
        heard = [dspy.streaming.StreamListener(signature_field_name="answer")]
        ask = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=heard)
        with dspy.context(lm=make(url, model), track_usage=True):
            async for piece in ask(question=PROMPT):
                if isinstance(piece, dspy.streaming.StreamResponse):
                    saw.text += piece.chunk
                elif isinstance(piece, dspy.Prediction):
                    saw.usage = usage(piece)

    async def tools(url: str, model: str, saw: Saw) -> None:
        agent = dspy.ReAct("question -> answer", tools=[saw.get_weather, saw.get_time], max_iters=4)
        with dspy.context(lm=make(url, model)):
            done = await agent.acall(question=PROMPT)
        saw.text = done.answer

    async def structured(url: str, model: str, saw: Saw) -> None:
        with dspy.context(lm=make(url, model), adapter=dspy.JSONAdapter()):
            done = await dspy.Predict("question -> city: str, population: int").acall(question=PROMPT)
        saw.value = {"city": done.city, "population": done.population}

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses), "anthropic": steps(anthropic)})
