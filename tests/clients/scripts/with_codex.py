from __future__ import annotations

import json
from typing import Any

from play import CITY, PROMPT, Saw, play
from programs import ProgramFailed, lines, run

CONFIG = """
model = "MODEL"
model_provider = "semroute"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.semroute]
name = "semroute"
base_url = "URL/v1"
env_key = "SEMROUTE_KEY"
wire_api = "responses"
stream_max_retries = 1
"""


def ask(url: str, model: str, saw: Saw, *options: str, **files: Any) -> None:
    config = CONFIG.replace("URL", url).replace("MODEL", model)
    command = ["codex", "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    printed = run([*command, *options, PROMPT], {".codex/config.toml": config, **files}, SEMROUTE_KEY="any")
    failed = ""
    for event in lines(printed):
        if event["type"] == "item.completed" and event["item"]["type"] == "agent_message":
            saw.text = event["item"]["text"]
        if event["type"] == "turn.completed":
            saw.usage = [event["usage"]["input_tokens"], event["usage"]["output_tokens"]]
        if event["type"] == "turn.failed":
            failed = event["error"]["message"]
    if failed:
        raise ProgramFailed(failed)


def structured(url: str, model: str, saw: Saw) -> None:
    ask(url, model, saw, "--output-schema", "../city.json", **{"city.json": CITY})
    saw.value = json.loads(saw.text)


play({"responses": {"stream": ask, "tools": ask, "json": structured}})
