from __future__ import annotations

import json
from typing import Any

from play import PROMPT, Saw, play
from programs import ProgramFailed, lines, run


def config(package: str, url: str, model: str) -> dict[str, Any]:
    options = {"baseURL": f"{url}/v1", "apiKey": "any"}
    own = {"npm": package, "name": "semroute", "options": options, "models": {model: {}}}
    return {"provider": {"semroute": own}, "small_model": f"semroute/{model}", "autoupdate": False, "share": "disabled"}


def steps(package: str) -> Any:
    def ask(url: str, model: str, saw: Saw) -> None:
        printed = run(
            ["opencode", "run", "--format", "json", "--auto", "--title", "it", "--model", f"semroute/{model}", PROMPT],
            {".config/opencode/opencode.json": config(package, url, model)},
            OPENCODE_DISABLE_AUTOUPDATE="1",
            OPENCODE_DISABLE_MODELS_FETCH="1",
            OPENCODE_DISABLE_LSP_DOWNLOAD="1",
            OPENCODE_DISABLE_DEFAULT_PLUGINS="1",
        )
        failed = ""
        for event in lines(printed):
            if event["type"] == "text":
                saw.text = event["part"]["text"]
            if event["type"] == "step_finish":
                told = event["part"]["tokens"]
                saw.usage = [
                    told["input"] + told["cache"]["read"] + told["cache"]["write"],
                    told["output"] + told["reasoning"],
                ]
            if event["type"] == "error":
                failed = json.dumps(event["error"])
        if failed:
            raise ProgramFailed(failed)

    return {"stream": ask, "tools": ask}


play(
    {
        "openai": steps("@ai-sdk/openai-compatible"),
        "anthropic": steps("@ai-sdk/anthropic"),
    },
    failing=("direct", "anthropic"),
)
