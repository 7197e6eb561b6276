"""Drives a client through every scene, and prints what it saw. Runs where the client is installed, with nothing else.

A client's script gives for each wire format the steps of `SCENES`, each called with a URL, a
model and a `Saw` to fill; a step that a client does not have is left out. What is printed for each scene is one line of
JSON: `{"wire", "run", "scene", "text", "usage", "done", "value", "error", "said", "asked", "took_s"}`.

`PLAY` in the environment holds `{"stage": URL, "runs": [{"run", "url", "models": {wire: prefix}}]}`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

PROMPT = "How warm is it in Paris?"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
"""The schema of a structured output."""
SCENES = {
    "text": "text",
    "stream": "text",
    "tools": "tools",
    "json": "json",
    "json_stream": "json",
    "continued": "text",
}
"""The model of each step."""
FAILING = {"break": ("stream", "json_stream"), "limited": ("text", "stream"), "unknown": ("text", "stream")}
"""The step that is taken with each model that fails: the first one that a client has."""
FEW = ("limited", "unknown")
"""What semroute deals with alike for every provider: slow clients play it with one provider."""


@dataclass
class Saw:
    """What a client saw of a scene."""

    text: str = ""
    usage: list[int] = field(default_factory=list)
    """Tokens of input and output, as the client tells them."""
    done: list[Any] = field(default_factory=list)
    """The tools that ran, with their arguments."""
    value: Any = None
    """A structured output."""

    def get_weather(self, city: str) -> str:
        """The weather of a city."""
        self.done.append(["get_weather", city])
        return "18 degrees"

    def get_time(self, zone: str) -> str:
        """The time of a zone."""
        self.done.append(["get_time", zone])
        return "12:00"


Step = Callable[[str, str, Saw], Any]
Steps = dict[str, Step]
"""By the name of the step."""


class Raised:
    """Keeps what a client raises, whatever it is."""

    error: BaseException | None = None

    def __enter__(self) -> Raised:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return error is None or not isinstance(error, KeyboardInterrupt)


def play(wires: dict[str, Steps], few: tuple[str, ...] = ()) -> None:
    """Play every scene in every run; of `FEW` only the runs that are named in `few`, where a client takes long."""
    asyncio.run(_play(wires, few))


async def _play(wires: dict[str, Steps], few: tuple[str, ...]) -> None:
    asked = json.loads(os.environ["PLAY"])
    for wire, steps in wires.items():
        for run in asked["runs"]:
            for scene, choice in {**{name: (name,) for name in SCENES}, **FAILING}.items():
                step = next(filter(steps.__contains__, choice), None)
                if step is None or wire not in run["models"]:
                    continue
                if scene in FEW and few and run["run"] not in few:
                    continue
                _forget(asked["stage"])
                saw, begun = Saw(), time.monotonic()
                model = f"{run['models'][wire]}-{SCENES.get(scene, scene)}"
                with Raised() as raised:
                    given = steps[step](run["url"], model, saw)
                    if inspect.isawaitable(given):
                        await given
                told = {**asdict(saw), "error": _name(raised.error), "said": _said(raised.error)}
                told["took_s"] = round(time.monotonic() - begun, 2)
                line = {"wire": wire, "run": run["run"], "scene": scene, **told, "asked": _forget(asked["stage"])}
                print(f"\nPLAYED {json.dumps(line, default=str)}", file=sys.__stdout__, flush=True)


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__name__


def _said(error: BaseException | None) -> str:
    """The messages of an error and of its causes."""
    words: list[str] = []
    while error is not None and len(words) < 5:
        words.append(str(error)[:600])
        error = error.__cause__
    return " <- ".join(words)


def _forget(stage: str) -> int:
    """How often the providers were asked since the last time."""
    request = urllib.request.Request(f"{stage}/forget", b"{}", {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["asked"])
