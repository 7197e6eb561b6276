from __future__ import annotations

import functools
import re
from typing import Any

from play import PROMPT, Saw, play
from programs import ProgramFailed, lines, run

CONFIG = """
{
  "provider": {
    "semroute": {
      "npm": "PACKAGE",
      "options": {"baseURL": "URL/v1", "apiKey": "KEY"},
      "models": {"MODEL": {}}
    }
  },
  "model": "semroute/MODEL",
  "small_model": "semroute/MODEL",
  "autoupdate": false,
  "share": "disabled"
}
"""
QUIET = {name: "1" for name in ("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_DEFAULT_PLUGINS")}
FAILED = "stream error"
"""What its log says each time that an answer fails. It asks five times more, for a minute in all."""


def config(package: str, url: str, model: str) -> str:
    own = {"PACKAGE": package, '"URL/': f'"{url}/', '"KEY"': '"any"', "MODEL": model}
    return functools.reduce(lambda text, place: text.replace(*place), own.items(), CONFIG)


def steps(package: str) -> Any:
    def ask(url: str, model: str, saw: Saw) -> None:
        printed = run(
            ["opencode", "run", "--format", "json", "--print-logs", "--auto", "--title", "it", PROMPT],
            {".config/opencode/opencode.json": config(package, url, model)},
            enough=FAILED,
            **QUIET,
        )
        for event in lines(printed):
            if event["type"] == "text":
                saw.text = event["part"]["text"]
            if event["type"] == "step_finish":
                told = event["part"]["tokens"]
                given = told["input"] + told["cache"]["read"] + told["cache"]["write"]
                saw.usage = [given, told["output"] + told["reasoning"]]
        failed = re.findall(rf'"{FAILED}".*? (error\.error.*)', printed)
        if failed and not saw.text:
            raise ProgramFailed(failed[-1])

    return {"stream": ask, "tools": ask}


play(
    {"openai": steps("@ai-sdk/openai-compatible"), "anthropic": steps("@ai-sdk/anthropic")},
    few=("direct", "anthropic"),
)
