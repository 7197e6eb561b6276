from __future__ import annotations

import json

from play import PROMPT, Saw, play
from programs import ProgramFailed, exported, lines, run

SHELL = """
export GOOGLE_GEMINI_BASE_URL=URL
export GEMINI_API_KEY=KEY
"""
AUTH = """
{"security": {"auth": {"selectedType": "gemini-api-key"}}}
"""
SETTINGS = {
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "security": {**json.loads(AUTH)["security"], "folderTrust": {"enabled": False}},
}


def ask(url: str, model: str, saw: Saw) -> None:
    printed = run(
        ["gemini", "--model", model, "--yolo", "--output-format", "stream-json", "--prompt", PROMPT],
        {".gemini/settings.json": SETTINGS},
        **exported(SHELL, URL=url, KEY="any"),
    )
    failed = ""
    for event in lines(printed):
        if event["type"] == "message" and event["role"] == "assistant":
            saw.text = saw.text + event["content"] if event.get("delta") else event["content"]
        if event["type"] == "result":
            told = event.get("stats") or {}
            saw.usage = [told.get("input_tokens"), told.get("output_tokens")]
            failed = json.dumps(event.get("error") or event) if event["status"] != "success" else ""
        if event["type"] == "error" and event.get("severity") == "error":
            failed = event["message"]
    if failed:
        raise ProgramFailed(failed)


play({"gemini": {"stream": ask, "tools": ask}}, few=("direct", "anthropic"))
