"""Whether the ask decides: prompts that are an ask and a material, on the shipped routes.

    python bench/asks.py                 # both halves: settings are chosen on `dev`, `held` is only reported
    python bench/asks.py --half dev
    python bench/asks.py --base ../old   # beside another checkout, run by the Python of its .venv
    python bench/asks.py --mistakes      # print what went wrong in `dev`, never in `held`
    python bench/asks.py --json

The prompts are made of `ask_data/dev.yaml` and `ask_data/held.yaml` with a fixed seed: each wording of an ask meets
materials that it may be about, in eight shapes; then the same with a sentence inside of the material that is an
utterance of another route or an imperative; material of 100,000 characters; what agents, chat front ends and retrieval
templates put around an ask; follow-ups, changes of topic, several asks; and the one-liners of `routes/eval.jsonl`. The
peer is measured where it is installed: `pip install .[bench]`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "ask_data"
HALVES = ("dev", "held")
GOALS = {"material": 0.95, "imperative": 0.88, "follow-up": 0.85}
SHAPES = ("before", "behind", "around", "quoted", "fenced", "inline", "tagged", "labelled")
LONG_CHARS = 100_000
MATERIALS_EACH = 5
"""How many materials each wording meets."""

Data = dict[str, Any]
Messages = list[dict[str, str]]


class Case(NamedTuple):
    """A conversation, and where its last turn belongs."""

    group: str
    kind: str
    material: str
    shape: str
    messages: Messages
    routes: tuple[str, ...]
    """Any of these is right."""


def read(half: str) -> Data:
    """The data of a half."""
    data: Data = yaml.safe_load((DATA / f"{half}.yaml").read_text("utf-8"))
    return data


def shaped(shape: str, wording: str, material: str, data: Data, random: random.Random) -> str:
    """A prompt of an ask and a material."""
    where = {"behind": "behind", "around": "around", "inline": "around"}.get(shape, "before")
    ask = wording.replace("{it}", random.choice(data["pointers"][where]))
    ask = ask[0].upper() + ask[1:] if wording[0] == "{" else ask
    if shape == "before":
        return f"{ask}\n\n{material}"
    if shape == "behind":
        return f"{material}\n\n{ask}"
    if shape == "around":
        return f"Hi, I need some help here.\n\n{material}\n\n{ask}"
    if shape == "quoted":
        flat = material.replace('"', "'")
        return f'{ask}\n\n"{flat}"' if random.random() < 0.5 else ask + "\n\n> " + material.replace("\n", "\n> ")
    if shape == "fenced":
        fenced = f"```\n{material}\n```"
        return f"{ask}\n\n{fenced}" if random.random() < 0.5 else f"{fenced}\n\n{ask}"
    if shape == "inline":
        return f"{ask.rstrip('.')}: {material}" if ask[-1] != "?" else f"{ask} {material}"
    if shape == "tagged":
        tag = random.choice(data["tags"])
        block = f"<{tag}>\n{material}\n</{tag}>"
        return f"{ask}\n\n{block}" if random.random() < 0.5 else f"{block}\n\n{ask}"
    label = random.choice(data["labels"])
    return f"{ask}\n\n{label}\n{material}" if random.random() < 0.5 else f"{ask}\n\n{label} {material}"


def spoilt(material: str, sentence: str, random: random.Random) -> str:
    """The material with another sentence: a line of its own, or behind one of its sentences."""
    lines = material.split("\n")
    place = random.randrange(1, len(lines) + 1)
    prose = lines[place - 1].rstrip().endswith(".")
    if prose and random.random() < 0.7:
        lines[place - 1] += f" {sentence}"
    else:
        lines.insert(place, sentence)
    return "\n".join(lines)


def lengthened(material: str, data: Data, random: random.Random) -> str:
    """A document of 100,000 characters, made of the sentences of all prose of a half."""
    about = set(data["materials"][material]["about"])
    alike = [one["text"] for one in data["materials"].values() if about & set(one["about"])]
    parts, size = [], 0
    while size < LONG_CHARS:
        parts.append(random.choice(alike))
        size += len(parts[-1]) + 2
    return "\n\n".join(parts)


def fits(ask: Data, material: Data) -> bool:
    """Whether an ask may be about a material."""
    return ask["about"] == "any" or ask["about"] in material["about"]


def cases(half: str, seed: int = 19) -> Iterator[Case]:
    """All prompts of a half, always the same."""
    data, chance = read(half), random.Random(f"{seed} {half}")
    for kind, ask in data["asks"].items():
        fitting = [name for name, material in data["materials"].items() if fits(ask, material)]
        for wording in ask["wordings"]:
            alone = wording.replace("{it}", "this text" if ask["about"] in ("any", "prose") else f"this {ask['about']}")
            yield Case("alone", kind, "", "", _said(alone), (ask["route"],))
            for number, name in enumerate(chance.sample(fitting, min(MATERIALS_EACH, len(fitting)))):
                shape = SHAPES[(number + chance.randrange(8)) % len(SHAPES)]
                material = data["materials"][name]["text"]
                prompt = shaped(shape, wording, material, data, chance)
                yield Case("material", kind, name, shape, _said(prompt), (ask["route"],))
                others = [one["text"] for one in data["distractors"] if one["route"] != ask["route"]]
                prompt = shaped(shape, wording, spoilt(material, chance.choice(others), chance), data, chance)
                yield Case("imperative", kind, name, shape, _said(prompt), (ask["route"],))
        for shape in ("before", "behind", "tagged", "fenced"):
            name = chance.choice(fitting)
            long = lengthened(name, data, chance)
            prompt = shaped(shape, chance.choice(ask["wordings"]), long, data, chance)
            yield Case("long", kind, name, shape, _said(prompt), (ask["route"],))
    yield from _conversations(data)


def _conversations(data: Data) -> Iterator[Case]:
    for wrapper in data["wrappers"]:
        for ask in data["plain_asks"]:
            yield Case("wrapper", ask["route"], "", "", _said(wrapper.replace("{ask}", ask["text"])), (ask["route"],))
    for talk in data["follow_ups"]:
        before = [*_said(talk["first"]), {"role": "assistant", "content": talk["answer"]}]
        for turn in talk["turns"]:
            yield Case("follow-up", talk["route"], "", "", before + _said(turn), (talk["route"],))
    for talk in data["changes"]:
        before = [*_said(talk["first"]), {"role": "assistant", "content": talk["answer"]}]
        yield Case("change", talk["route"], "", "", before + _said(talk["turn"]), (talk["route"],))
    for one in data["several"]:
        prompt = f"{one['text']}\n\n{data['materials']['news']['text']}"
        yield Case("several", "", "news", "before", _said(prompt), tuple(one["routes"]))


def plain() -> list[Case]:
    """The one-liners that the shipped routes are judged by, of those that belong to a route."""
    rows = [json.loads(line) for line in (ROOT / "routes" / "eval.jsonl").read_text("utf-8").splitlines()]
    return [Case("plain", "", "", "", _said(row["text"]), (row["route"],)) for row in rows if row["route"] is not None]


def _said(text: str) -> Messages:
    return [{"role": "user", "content": text}]


# --- who is asked -----------------------------------------------------------------------------------------------------

ASK = """
import json, sys, time
from semroute import Router
from semroute.messages import ChatRequest, Message, Text
router = Router.load(sys.argv[1])
answers = []
for line in sys.stdin:
    said = tuple(Message(role=one["role"], parts=(Text(text=one["content"]),)) for one in json.loads(line))
    started = time.perf_counter()
    decision = router.route(ChatRequest(id="bench", messages=said))
    answers.append([decision.route, (time.perf_counter() - started) * 1000])
print(json.dumps(answers))
"""
"""Asks any build of semroute: the routes' folder is its argument, and a conversation stands on each line."""

Answers = list[tuple[str | None, float]]
"""The route of each case, and how long the decision took, in ms."""


def ask_checkout(folder: Path, asked: Sequence[Case]) -> Answers:
    """What the build of a checkout answers, with the routes of this one."""
    lines = "\n".join(json.dumps(case.messages) for case in asked)
    python = folder / ".venv" / "bin" / "python"
    command = [str(python if python.exists() else sys.executable), "-c", ASK, str(ROOT / "routes")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=folder, check=True)
    return [(route, taken) for route, taken in json.loads(done.stdout)]


def ask_peer(asked: Sequence[Case]) -> Answers:
    """What semantic-router answers, with the same encoder and utterances."""
    from bench.intent import open_fastembed, open_peer
    from semroute import Router

    router = Router.load(ROOT / "routes")
    routes = {name: route.utterances for name, route in router.config.routes.items()}
    peer: Callable[[str], Any] = open_peer(routes, open_fastembed())
    answers: Answers = []
    for case in asked:
        started = time.perf_counter()
        answer = peer(case.messages[-1]["content"])
        answers.append((getattr(answer, "name", None), (time.perf_counter() - started) * 1000))
    return answers


# --- figures ----------------------------------------------------------------------------------------------------------


def shares(asked: Sequence[Case], answers: Answers, by: str) -> dict[str, float]:
    """The share that went to a right route, by one of a case's fields."""
    right: dict[str, list[bool]] = defaultdict(list)
    for case, (route, _) in zip(asked, answers, strict=True):
        if by == "group" or case.group in ("material", "imperative"):
            right[getattr(case, by)].append(route in case.routes)
    return {name: round(sum(each) / len(each), 4) for name, each in right.items()}


def show(console: Console, title: str, figures: dict[str, dict[str, float]]) -> None:
    """Print a table with a column for each build."""
    table = Table(title=title)
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")
    for row in next(iter(figures.values())):
        goal = f" (goal {GOALS[row]:.2f})" if row in GOALS and "material" in next(iter(figures.values())) else ""
        table.add_row(row + goal, *(f"{each.get(row, float('nan')):.3f}" for each in figures.values()))
    console.print(table)


def mistakes(asked: Sequence[Case], answers: Answers) -> Iterator[str]:
    """What went wrong, a line each."""
    for case, (route, _) in zip(asked, answers, strict=True):
        if route not in case.routes:
            text = case.messages[-1]["content"]
            shown = text if len(text) < 260 else f"{text[:120]} … {text[-120:]}"
            where = f"{case.group}/{case.kind}/{case.material}/{case.shape}"
            yield f"{where}: got {route}, expected {' or '.join(case.routes)}: {shown!r}"


def main() -> None:
    """Ask, count, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--half", choices=HALVES, help="only this half")
    parser.add_argument("--base", type=Path, help="another checkout to compare with")
    parser.add_argument("--mistakes", action="store_true", help="print what went wrong in `dev`")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    options = parser.parse_args()
    console, told = Console(stderr=options.json), {}
    for half in [options.half] if options.half else HALVES:
        asked = [*cases(half), *plain()]
        answers = {"semroute": ask_checkout(ROOT, asked)}
        if options.base is not None:
            answers[options.base.name] = ask_checkout(options.base.resolve(), asked)
        if importlib.util.find_spec("semantic_router") is not None:
            answers["semantic-router"] = ask_peer(asked)
        told[half] = {
            by: {name: shares(asked, each, by) for name, each in answers.items()}
            for by in ("group", "kind", "material", "shape")
        }
        for by, figures in told[half].items():
            show(console, f"{half}: right route, by {by}", figures)
        if options.mistakes and half == "dev":
            console.print(*mistakes(asked, answers["semroute"]), sep="\n", markup=False, highlight=False)
    if options.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
