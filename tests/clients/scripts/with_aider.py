from __future__ import annotations

import re
import sys
from pathlib import Path

from play import PROMPT, Saw, play
from programs import ProgramFailed, exported, run

SHELL = """
export OPENAI_API_BASE=URL/v1
export OPENAI_API_KEY=KEY
export AIDER_MODEL=openai/MODEL
"""
AIDER = str(Path(sys.executable).with_name("aider"))
QUIET = ["--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-show-release-notes"]
ALONE = ["--no-pretty", "--no-git", "--yes-always", "--no-detect-urls", "--map-tokens", "0"]
AGAIN = "Retrying in "
"""What it prints each time before it asks again. It goes on for a minute."""


def ask(url: str, model: str, saw: Saw, *options: str) -> None:
    shell = exported(SHELL, URL=url, KEY="any", MODEL=model)
    printed = run([AIDER, *QUIET, *ALONE, *options, "--message", PROMPT], enough=AGAIN, **shell)
    said = re.search(r"^Hello .*?(?=litellm\.|$)", printed, re.MULTILINE)
    saw.text = said[0] if said else ""
    told = re.search(r"Tokens: (\S+) sent, (\S+) received", printed)
    saw.usage = [int(told[1]), int(told[2])] if told else []
    failed = re.search(r"litellm\.\w+:.*", printed, re.DOTALL)
    if failed and not told:
        raise ProgramFailed(" ".join(failed[0].split()))


def text(url: str, model: str, saw: Saw) -> None:
    ask(url, model, saw, "--no-stream")


play({"openai": {"text": text, "stream": ask}}, few=("direct", "anthropic"))
