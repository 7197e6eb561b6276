from __future__ import annotations

import json

from play import CITY, PROMPT, Saw, play
from programs import ProgramFailed, exported, lines, run

SHELL = """
export OPENAI_BASE_URL=URL/v1
export OPENAI_API_KEY=KEY
export OPENAI_MODEL=MODEL
"""
SETTINGS = {
    "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    "memory": {"enableManagedAutoMemory": False},  # it would ask once more, on its own account
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "security": {"auth": {"selectedType": "openai"}},
}


def ask(url: str, model: str, saw: Saw, *options: str) -> None:
    printed = run(
        ["qwen", "--yolo", "--output-format", "stream-json", *options, "--prompt", PROMPT],
        {".qwen/settings.json": SETTINGS},
        **exported(SHELL, URL=url, KEY="any", MODEL=model),
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


play({"openai": {"stream": ask, "tools": ask, "json": structured}}, few=("direct", "anthropic"))
