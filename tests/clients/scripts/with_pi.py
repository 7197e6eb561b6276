from __future__ import annotations

from typing import Any

from play import PROMPT, Saw, play
from programs import ProgramFailed, lines, run

CONFIG = """
{"providers": {"semroute": {"api": "API", "baseUrl": "BASE", "apiKey": "KEY", "models": [{"id": "MODEL"}]}}}
"""


def config(api: str, base: str, model: str) -> str:
    return CONFIG.replace('"API"', f'"{api}"').replace("BASE", base).replace("KEY", "any").replace("MODEL", model)


def steps(api: str, path: str) -> Any:
    def ask(url: str, model: str, saw: Saw) -> None:
        printed = run(
            ["pi", "--print", "--mode", "json", "--no-session", "--model", f"semroute/{model}", PROMPT],
            {".pi/agent/models.json": config(api, f"{url}{path}", model)},
            PI_OFFLINE="1",
            PI_TELEMETRY="0",
            PI_SKIP_VERSION_CHECK="1",
        )
        failed = ""
        for event in lines(printed):
            message = event.get("message") or {}
            if event["type"] == "message_end" and message["role"] == "assistant":
                saw.text = "".join(part["text"] for part in message["content"] if part["type"] == "text")
                told = message["usage"]
                saw.usage = [told["input"] + told["cacheRead"] + told["cacheWrite"], told["output"]]
                failed = message.get("errorMessage") or "" if message["stopReason"] == "error" else ""
        if failed:
            raise ProgramFailed(failed)

    return {"stream": ask, "tools": ask}


play(
    {
        "openai": steps("openai-completions", "/v1"),
        "responses": steps("openai-responses", "/v1"),
        "anthropic": steps("anthropic-messages", ""),
        "gemini": steps("google-generative-ai", "/v1beta"),
    },
    few=("direct", "anthropic"),
)
