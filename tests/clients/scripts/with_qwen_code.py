from __future__ import annotations

import functools
import json

from play import CITY, PROMPT, Saw, play
from programs import ProgramFailed, exported, lines, run

SHELL = """
export OPENAI_BASE_URL=URL/v1
export OPENAI_API_KEY=KEY
export OPENAI_MODEL=MODEL
"""
MESSAGES = """
export ANTHROPIC_BASE_URL=URL
export ANTHROPIC_API_KEY=KEY
export ANTHROPIC_MODEL=MODEL
"""
GEMINI = """
export GOOGLE_GEMINI_BASE_URL=URL
export GEMINI_API_KEY=KEY
export GEMINI_MODEL=MODEL
"""
SHELLS = {"openai": SHELL, "anthropic": MESSAGES, "gemini": GEMINI}
SETTINGS = {
    "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    "memory": {"enableManagedAutoMemory": False},  # it would ask once more, on its own account
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
}


def ask(url: str, model: str, saw: Saw, *options: str, wire: str = "openai") -> None:
    printed = run(
        ["qwen", "--yolo", "--output-format", "stream-json", *options, "--prompt", PROMPT],
        {".qwen/settings.json": {**SETTINGS, "security": {"auth": {"selectedType": wire}}}},
        **exported(SHELLS[wire], URL=url, KEY="any", MODEL=model),
    )
    failed = ""
    for event in lines(printed):
        if event["type"] == "assistant":
            for block in event["message"]["content"]:
                saw.text = block["text"] if block["type"] == "text" else ""
        if event["type"] == "result":
            saw.usage = [event["usage"]["input_tokens"], event["usage"]["output_tokens"]]
            saw.value = event.get("structured_result")
            failed = str(event.get("error") or event.get("result")) if event["is_error"] else ""
    saw.text = saw.text.partition("[API Error")[0]
    if failed:
        raise ProgramFailed(failed)


def structured(url: str, model: str, saw: Saw) -> None:
    ask(url, model, saw, "--json-schema", json.dumps(CITY))


messages, gemini = functools.partial(ask, wire="anthropic"), functools.partial(ask, wire="gemini")
play(
    {
        "openai": {"stream": ask, "tools": ask, "json": structured},
        "anthropic": {"stream": messages, "tools": messages},
        "gemini": {"stream": gemini, "tools": gemini},
    },
    few=("direct", "anthropic"),
)
