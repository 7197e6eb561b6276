"""Make the background: some ten thousand prompts of everyday intents, and their vectors.

    python bench/make_background.py          # a minute
    python bench/make_background.py --check  # only say whether the shipped files are what this would make

The prompts are written here, in `bench/background/*.txt`: `> name` begins an intent, each line below it is a template.
`(a|b)` takes either, `{city}` takes a filler of `slots.txt`. A seeded draw takes some prompts of each intent. A prompt
that the evaluation file of the shipped routes holds, or one almost like it, is left out, so that the file still judges.

The result lies in `semroute/semantic/everyday/`. The same encoder gives the same bytes. Run this again whenever the
embedded model or a template changes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from semroute.semantic.background import PROMPTS as PROMPTS_FILE
from semroute.semantic.background import VECTORS, fit_rivals, numbered
from semroute.semantic.embedder import OnnxEmbedder

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "bench" / "background"
PROMPTS = 26
"""The most prompts of an intent."""
TRIES = 400
TOLD = 0.85
"""Cosine. A prompt this near to one of the evaluation file is left out."""
CARRIERS = ("hey, {}", "{} please", "hi, {}", "quick question: {}", "ok so {}", "{}, thanks", "please, {}", "um {}")
SEED = 7

Intents = dict[str, list[str]]


def read_slots() -> dict[str, list[str]]:
    """The fillers by name."""
    slots = {}
    for line in (SOURCES / "slots.txt").read_text("utf-8").splitlines():
        name, _, values = line.partition(" = ")
        slots[name] = values.split(" | ")
    return slots


def read_intents() -> Intents:
    """The templates of each intent."""
    intents: Intents = {}
    for file in sorted(SOURCES.glob("*.txt")):
        if file.name == "slots.txt":
            continue
        for line in file.read_text("utf-8").splitlines():
            if line.startswith("> "):
                current = intents[line[2:]] = []
            elif line.strip():
                current.append(line)
    return intents


def expand(templates: Sequence[str], slots: dict[str, list[str]], chance: random.Random) -> list[str]:
    """Different prompts from the templates, each template in its turn."""
    found: dict[str, None] = {}
    for template in itertools.islice(itertools.cycle(templates), TRIES):
        text = re.sub(r"\(([^()]*)\)", lambda own: chance.choice(own[1].split("|")), template)
        text = re.sub(r"\{(\w+)\}", lambda own: chance.choice(slots[own[1]]), text)
        found.setdefault(" ".join(text.split()))
        if len(found) == PROMPTS:
            break
    return [*found]


def carry(texts: list[str], chance: random.Random) -> list[str]:
    """Word some prompts again, as people begin and end what they type, where an intent has few."""
    missing = min(PROMPTS - len(texts), len(texts))
    return [chance.choice(CARRIERS).format(text) for text in chance.sample(texts, missing)] if missing > 0 else []


def make_prompts() -> list[tuple[str, str]]:
    """The intent and the text of each prompt, without repetitions."""
    chance, slots = random.Random(SEED), read_slots()
    found: dict[str, str] = {}
    for intent, templates in read_intents().items():
        texts = expand(templates, slots, chance)
        for text in [*texts, *carry(texts, chance)]:
            found.setdefault(text, intent)
    for intent, text in everyday_lines():
        found.setdefault(text, intent)
    return [(intent, text) for text, intent in found.items()]


def everyday_lines() -> Iterator[tuple[str, str]]:
    """The lines of `background.txt`: each of its sections is an intent."""
    section = ""
    for line in head_lines():
        if line.startswith("# --- "):
            section = f"everyday.{line[6:].split()[0].strip(',')}"
        elif line.strip() and not line.startswith("# "):
            yield section, line


def head_lines() -> list[str]:
    """The lines of the prompts that were written one by one."""
    return (ROOT / "semroute" / "semantic" / "background.txt").read_text("utf-8").splitlines()


def judged() -> list[str]:
    """The texts of the evaluation file of the shipped routes."""
    lines = (ROOT / "routes" / "eval.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def files() -> dict[Path, bytes]:
    """What is shipped."""
    embedder = OnnxEmbedder(threads=2)
    pairs = make_prompts()
    vectors = embedder.embed([text for _, text in pairs])
    fresh = (vectors @ embedder.embed(judged()).T).max(axis=1) < TOLD
    pairs = [pair for pair, keep in zip(pairs, fresh, strict=True) if keep]
    vectors = vectors[fresh]
    quantised = np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    restored = quantised.astype(np.float32)
    restored /= np.linalg.norm(restored, axis=1, keepdims=True)
    rivals = fit_rivals(restored, numbered(tuple(intent for intent, _ in pairs))).astype(np.float16)
    archive = io.BytesIO()
    np.savez_compressed(archive, fingerprint=np.array(embedder.fingerprint), quantised=quantised, rivals=rivals)
    text = "".join(f"{intent}\t{text}\n" for intent, text in pairs)
    return {PROMPTS_FILE: gzip.compress(text.encode("utf-8"), mtime=0), VECTORS: archive.getvalue()}


def main() -> None:
    """Read the arguments, make, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the shipped files differ")
    arguments = parser.parse_args()
    all_made = files()
    stale = [path for path, made in all_made.items() if not path.is_file() or path.read_bytes() != made]
    if arguments.check:
        sys.exit(f"not what this makes: {', '.join(map(str, stale))}" if stale else 0)
    for path, made in all_made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made)
        print(f"{path}: {len(made):,} bytes")


if __name__ == "__main__":
    main()
