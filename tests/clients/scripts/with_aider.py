from __future__ import annotations

import re
import sys
from pathlib import Path

from play import PROMPT, Saw, play
from programs import ProgramFailed, run

AIDER = str(Path(sys.executable).with_name("aider"))
QUIET = [
    "--no-check-update",
    "--analytics-disable",
    "--no-show-model-warnings",
    "--no-show-release-notes",
    "--no-pretty",
]
ALONE = ["--no-git", "--yes-always", "--no-detect-urls", "--no-suggest-shell-commands", "--map-tokens", "0"]


def ask(url: str, model: str, saw: Saw, *options: str) -> None:
    place = ["--openai-api-base", f"{url}/v1", "--openai-api-key", "any"]
    printed = run([AIDER, *QUIET, *ALONE, *place, "--model", f"openai/{model}", *options, "--message", PROMPT])
    said = re.search(r"Hello .*?(?=\n|$)", printed)
    saw.text = said[0].rstrip() if said else ""
    told = re.search(r"Tokens: (\S+) sent, (\S+) received", printed)
    saw.usage = [int(told[1]), int(told[2])] if told else []
    failed = re.search(r"^litellm\.\w+:.*", printed, re.MULTILINE | re.DOTALL)
    if failed:
        raise ProgramFailed(failed[0])


def text(url: str, model: str, saw: Saw) -> None:
    ask(url, model, saw, "--no-stream")


play({"openai": {"text": text, "stream": ask}}, failing=("direct", "anthropic"))
