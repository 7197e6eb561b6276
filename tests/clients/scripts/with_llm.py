"""`llm`, which takes its models from a file in its folder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from play import PROMPT, Saw, play

HOME = Path(tempfile.mkdtemp(dir=os.environ["HOME"]))
os.environ["LLM_USER_PATH"] = str(HOME)
os.environ["LLM_LOAD_PLUGINS"] = ""

import llm  # noqa: E402 - it reads the two above
from pydantic import BaseModel  # noqa: E402


class City(BaseModel):
    city: str
    population: int


CONFIG = """
- model_id: it
  model_name: MODEL
  api_base: URL/v1
  supports_tools: true
  supports_schema: true
"""


def openai(url: str, model: str) -> Any:
    written = CONFIG.replace("URL", url).replace("MODEL", model)
    (HOME / "extra-openai-models.yaml").write_text(written)
    return llm.get_model("it")


def responses(url: str, model: str) -> Any:
    written = CONFIG.replace("URL", url).replace("MODEL", model)
    (HOME / "extra-openai-models.yaml").write_text(f"{written}  responses: true\n")
    return llm.get_model("it")


def steps(make: Any) -> Any:
    def text(url: str, model: str, saw: Saw) -> None:
        done = make(url, model).prompt(PROMPT, stream=False)
        saw.text = done.text()
        saw.usage = [done.usage().input, done.usage().output]

    def stream(url: str, model: str, saw: Saw) -> None:
        done = make(url, model).prompt(PROMPT)
        for piece in done:
            saw.text += piece
        saw.usage = [done.usage().input, done.usage().output]

    def tools(url: str, model: str, saw: Saw) -> None:
        saw.text = make(url, model).chain(PROMPT, tools=[saw.get_weather, saw.get_time]).text()

    def structured(url: str, model: str, saw: Saw) -> None:
        saw.value = json.loads(make(url, model).prompt(PROMPT, schema=City, stream=False).text())

    return {"text": text, "stream": stream, "tools": tools, "json": structured}


play({"openai": steps(openai), "responses": steps(responses)})
