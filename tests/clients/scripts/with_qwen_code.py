from __future__ import annotations

from play import PROMPT, Saw, play
from programs import ProgramFailed, exported, lines, run

SHELL = """
export OPENAI_BASE_URL=URL/v1
export OPENAI_API_KEY=KEY
export OPENAI_MODEL=MODEL
"""
SETTINGS = {
    "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "security": {"auth": {"selectedType": "openai"}},
}


def ask(url: str, model: str, saw: Saw) -> None:
    printed = run(
        ["qwen", "--yolo", "--output-format", "stream-json", "--prompt", PROMPT],
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
            failed = str(event.get("error") or event.get("result")) if event["is_error"] else ""
    saw.text = saw.text.partition("[API Error")[0]
    if failed:
        raise ProgramFailed(failed)


play({"openai": {"stream": ask, "tools": ask}}, failing=("direct", "anthropic"))
