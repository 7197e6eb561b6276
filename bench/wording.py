"""Measure how well two word lists recognise their texts: answers that hedge, and prompts that are not simple.

    python bench/wording.py [--wrong] [--at COMMIT]

`answers.jsonl` holds 200 answers, `prompts.jsonl` 200 prompts. Half of the texts in each file are of the wanted kind,
and many of the others only look like it. All texts were written for this package (Apache-2.0). The lists were widened
with the half `tune` only, and the half `report` shows how good they are. `--wrong` prints the texts of the half `tune`
that the lists get wrong. `--at` measures the lists of another commit. The same people wrote the lists and the texts, so
expect worse figures on your own texts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from semroute.config.schema.policies import Checks, Difficulty
from semroute.execution.answer_quality import failures
from semroute.messages import ChatRequest, Completion, Message, Text
from semroute.routing.difficulty import complexity
from semroute.routing.facts import read_facts

FOLDER = Path(__file__).parent


class Row(NamedTuple):
    """A text, and whether it is of the wanted kind."""

    text: str
    wanted: bool
    half: str


class Scores(NamedTuple):
    """Precision: the wanted share of the recognised texts. Recall: the recognised share of the wanted texts."""

    precision: float
    recall: float


def read_rows(name: str, field: str, *, holds: bool) -> list[Row]:
    """Read the rows of a file. A row is wanted if its field equals `holds`."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Row(row["text"], row[field] is holds, row["half"]) for row in rows]


def hedges(text: str) -> bool:
    """Return whether the check `no_hedging` refuses an answer."""
    answer = Completion(parts=(Text(text=text),), finish_reason="stop", usage=None, model="m")
    return bool(failures(Checks(no_hedging=True), answer))


def is_not_simple(text: str) -> bool:
    """Return whether the complexity of a prompt asks for more than a simple model."""
    request = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text=text),)),))
    return sum(complexity(read_facts(request)).values()) >= Difficulty().moderate_from


SETS: dict[str, tuple[list[Row], Callable[[str], bool]]] = {
    "answers that hedge": (read_rows("answers.jsonl", "hedges", holds=True), hedges),
    "prompts that are not simple": (read_rows("prompts.jsonl", "simple", holds=False), is_not_simple),
}


def scores(rows: list[Row], told: Callable[[str], bool]) -> Scores:
    """Return precision and recall."""
    found = [row.wanted for row in rows if told(row.text)]
    return Scores(sum(found) / max(1, len(found)), sum(found) / sum(row.wanted for row in rows))


def measure_at(commit: str) -> None:
    """Run this script with the code of another commit."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "archive", commit, "semroute"]
        archive = subprocess.run(command, capture_output=True, check=True, cwd=FOLDER.parent)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        subprocess.run([sys.executable, __file__], env=os.environ | {"PYTHONPATH": folder}, check=True)


def main() -> None:
    """Print both lists' figures for each half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", action="store_true", help="print the texts of `tune` that the lists get wrong")
    parser.add_argument("--at", metavar="COMMIT", help="measure the lists of this commit")
    options = parser.parse_args()
    if options.at is not None:
        measure_at(options.at)
        return
    wrong = options.wrong
    for name, (rows, told) in SETS.items():
        for half in ("tune", "report"):
            precision, recall = scores([row for row in rows if row.half == half], told)
            print(f"{name}, half `{half}`: precision {precision:.2f}, recall {recall:.2f}")
        for row in rows if wrong else ():
            if row.half == "tune" and told(row.text) != row.wanted:
                print(f"  {'missed' if row.wanted else 'recognised wrongly'}: {row.text}")


if __name__ == "__main__":
    main()
