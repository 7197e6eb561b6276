"""Measure `semroute suggest` on CLINC150 (Larson et al. 2019) with 20 of its 150 routes taken out.

    python bench/suggest.py                # two minutes or so; a second run takes the vectors from --cache
    python bench/suggest.py --quick        # one draw of the routes taken out, below a minute
    python bench/suggest.py --split val    # choose settings on this split; only report figures of the test split
    python bench/suggest.py --json

A stream of 5,000 prompts goes to a router with 5 utterances for each of the other 130 routes. One in ten of the prompts
in scope has feedback that names its route (`--feedback`). Two questions are asked of the suggestions:

- How many of the 20 routes come back, each as a suggested route of which at least 80% is that route's prompts?
- How many more prompts are decided rightly once the suggested utterances are added? They are added twice: those that
  rest on feedback, and all, also those that should be read first. This is asked of prompts of the training split that
  are neither utterances nor in the stream.

The stream of the test split is 5,000 of its 5,500 prompts. That of the validation split is filled up with prompts from
the training split and with unlabelled ones.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.intent import by_route, configure, data_folder, read
from semroute import Router
from semroute.learning.logged_prompts import Prompt, read_all
from semroute.learning.suggestions import Suggestions, suggest
from semroute.routing.ask import Ask
from semroute.semantic.embedder import Features, OnnxEmbedder
from semroute.semantic.training import Task, prepare

TAKEN_OUT, STREAM = 20, 5000
PURE = 0.8
GOALS = {"back": 16, "gain": 0.01}
DRAWS = {"val": (1, 2, 3), "test": (101, 102, 103)}
"""The seeds of the draws. The two splits share none."""

Done = Callable[[int, int], None]
Rows = list[tuple[str, str | None]]


class KeptVectors:
    """An embedder that embeds each text once, and keeps the vectors in a file."""

    def __init__(self, folder: Path) -> None:
        self._inner = OnnxEmbedder()
        self.name, self.dim, self.fingerprint = self._inner.name, self._inner.dim, self._inner.fingerprint
        self._file = folder / f"suggest-{self.fingerprint}.npz"
        self._known: dict[str, Any] = {}
        if self._file.is_file():
            with np.load(self._file, allow_pickle=False) as kept:
                self._known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def keep(self, texts: Sequence[str], told: Done) -> None:
        """Embed those texts that are not known, and write the file."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), 256):
            some = new[start : start + 256]
            self._known |= dict(zip(some, self._inner.embed(some), strict=True))
            told(min(start + 256, len(new)), len(new))
        if new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self._file, texts=np.array([*self._known]), vectors=np.array([*self._known.values()]))

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        """Return the features of texts."""
        if new := [text for text in texts if text not in self._known]:
            self._known |= dict(zip(new, self._inner.embed(new), strict=True))
        vectors = np.array([self._known[text] for text in texts], np.float32).reshape(len(texts), self.dim)
        return Features(vectors, self.tokens(texts))

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the vectors of texts."""
        return self.featurize(texts).vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the word pieces of texts."""
        return self._inner.tokens(texts)

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return self._inner.count_tokens(text)


class Draw(NamedTuple):
    """Which routes are taken out, and the prompts that are asked then."""

    out: frozenset[str]
    stream: Rows
    fresh: Rows
    """Prompts that are neither utterances nor in the stream."""


def draw(split: str, seed: int, shots: str) -> Draw:
    """Take out some routes, and make a stream of the split."""
    chance = random.Random(seed)
    known = {text for name in ("train_5", "train_10") for text in read(name).texts}
    rows = [row for row in zip(*read(split), strict=True) if row[0] not in known]
    train = [row for row in zip(*read("train"), strict=True) if row[0] not in known]
    out = frozenset(chance.sample(sorted(by_route(read(shots))), TAKEN_OUT))
    if split == "val":
        with gzip.open(data_folder() / "intent_pool" / "unlabelled.jsonl.gz", "rt", encoding="utf-8") as file:
            others = [text for line in file if len(text := json.loads(line)["text"]) < 120]
        rows += [(text, None) for text in random.Random(1).sample(others, 800)]
        rows += chance.sample(train[1::2], STREAM - len(rows))
    chance.shuffle(rows)
    stream = rows[:STREAM]
    asked = {text for text, _ in stream}
    # The even rows judge the test split, and the odd ones the validation split.
    fresh = [row for row in train[split == "val" :: 2] if row[0] not in asked]
    return Draw(out, stream, fresh)


def build(routes: dict[str, tuple[str, ...]], embedder: KeptVectors) -> Router:
    """Train a router."""
    config = configure(routes)
    task = Task(tuple(routes), tuple(routes.values()), (), config.abstain.target_false_abstain, ("",) * len(routes))
    return Router(config, embedder, prepare(task, embedder))


def measure(drawn: Draw, shots: str, share: float, embedder: KeptVectors, seed: int) -> dict[str, Any]:
    """Suggest, add what is suggested, and count."""
    routes = {name: texts for name, texts in by_route(read(shots)).items() if name not in drawn.out}
    router = build(routes, embedder)
    chance = random.Random(seed)
    prompts = []
    for text, route in drawn.stream:
        said = chance.random() < share and route is not None and route not in drawn.out
        prompts.append(Prompt(Ask(text=text, matched=(text,)), 1, route if said else None, int(said), frozenset()))
    found = suggest(router, prompts, read_all(router, prompts))
    true = dict(drawn.stream)
    before = decide(router, drawn)
    figures: dict[str, Any] = {"before": before}
    for which, some in (
        ("feedback", [one for one in found.utterances if one.kind != "border"]),
        ("all", found.utterances),
    ):
        added = {name: (*texts, *(one.text for one in some if one.route == name)) for name, texts in routes.items()}
        after = decide(build(added, embedder), drawn)
        right = sum(true[one.text] == one.route for one in some) / max(1, len(some))
        figures[which] = {**after, "added": len(some), "right": right, "gain": after["accuracy"] - before["accuracy"]}
    labelled = sum(prompt.label is not None for prompt in prompts)
    return {**came_back(found, drawn, router), "labelled": labelled, **figures}


def came_back(found: Suggestions, drawn: Draw, router: Router) -> dict[str, Any]:
    """Count the suggested routes by what their prompts really are."""
    true: dict[str, str | None] = dict(drawn.stream)
    back: dict[str, int] = {}
    kinds: Counter[str] = Counter()
    utterances = Counter[bool]()
    for one in found.routes:
        top, count = Counter(true[text] for text in one.texts).most_common(1)[0]
        pure, known = count / one.prompts >= PURE, top in router.config.routes
        kinds["mixed" if not pure else "out of scope" if top is None else "known" if known else "back"] += 1
        if pure and top is not None and top in drawn.out:
            back[top] = max(back.get(top, 0), count)
            utterances.update(true[text] == top for text in one.utterances)
    size = Counter(true.values())
    return {
        "back": len(back),
        "covered": float(np.mean([back[name] / size[name] for name in back])) if back else 0.0,
        "suggested": len(found.routes),
        "kinds": dict(kinds),
        "their_utterances_right": utterances[True] / max(1, utterances.total()),
    }


def decide(router: Router, drawn: Draw) -> dict[str, float]:
    """Decide fresh prompts. `accuracy`: of those whose route is there, abstentions count as wrong."""
    texts = [text for text, _ in drawn.fresh]
    matches = router.match_features(router.embedder.featurize(texts))
    inside = np.array([route not in drawn.out for _, route in drawn.fresh])
    true = np.array([route for _, route in drawn.fresh])
    best = np.array([match.candidates[0].route for match in matches])
    taken = np.array([router.choose_semantic(match).route or "" for match in matches])
    return {
        "accuracy": float((taken == true)[inside].mean()),
        "in_scope_accuracy": float((best == true)[inside].mean()),
        "oos_recall": float((taken == "")[~inside].mean()),
    }


def main() -> None:
    """Read the arguments, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one draw instead of three")
    parser.add_argument("--json", action="store_true", help="print only the figures, as JSON")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="the split that is streamed")
    parser.add_argument("--shots", choices=("train_5", "train_10"), default="train_5", help="the utterances")
    parser.add_argument("--feedback", type=float, default=0.1, help="the share of the stream that has feedback")
    parser.add_argument("--cache", type=Path, help="a folder to keep vectors in; otherwise they are made each time")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    seeds = DRAWS[arguments.split][: 1 if arguments.quick else None]
    draws = [draw(arguments.split, seed, arguments.shots) for seed in seeds]
    with tempfile.TemporaryDirectory() as temporary:
        embedder = KeptVectors(arguments.cache or Path(temporary))
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("embedding", total=None)
            texts = [*read(arguments.shots).texts, *(row[0] for one in draws for row in (*one.stream, *one.fresh))]
            embedder.keep(texts, lambda done, total: progress.update(bar, completed=done, total=total))
        figures = []
        for one, seed in zip(draws, seeds, strict=True):
            figures.append({"seed": seed, **measure(one, arguments.shots, arguments.feedback, embedder, seed)})
            console.print(f"draw {seed}: {figures[-1]['back']} of {TAKEN_OUT} routes came back", highlight=False)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, console)


def show(figures: list[dict[str, Any]], console: Console) -> None:
    """Print a table with the goals."""
    table = Table("figure", "goal", *(f"draw {one['seed']}" for one in figures), "mean")

    def row(name: str, goal: str, values: Sequence[float], form: str) -> None:
        table.add_row(name, goal, *(format(value, form) for value in values), format(float(np.mean(values)), form))

    row(f"of {TAKEN_OUT} routes came back", f"≥ {GOALS['back']}", [one["back"] for one in figures], ".1f")
    row("share of their prompts in the group", "", [one["covered"] for one in figures], ".2f")
    row("share of their utterances that is right", "", [one["their_utterances_right"] for one in figures], ".3f")
    row("routes suggested", "", [one["suggested"] for one in figures], ".1f")
    for kind in ("back", "out of scope", "known", "mixed"):
        row(f"  of these {kind}", "", [one["kinds"].get(kind, 0) for one in figures], ".1f")
    row("prompts with feedback", "", [one["labelled"] for one in figures], ".0f")
    for which, told in (("feedback", "added because of feedback"), ("all", "added, all of them")):
        table.add_section()
        row(f"utterances {told}", "", [one[which]["added"] for one in figures], ".0f")
        row("  share of these that is right", "", [one[which]["right"] for one in figures], ".3f")
        for name in ("accuracy", "in_scope_accuracy", "oos_recall"):
            row(f"  {name} before", "", [one["before"][name] for one in figures], ".4f")
            row(f"  {name} after", "", [one[which][name] for one in figures], ".4f")
        goal = f"≥ {GOALS['gain']:.3f}" if which == "feedback" else ""
        row("  gain in accuracy", goal, [one[which]["gain"] for one in figures], "+.4f")
    console.print(table)


if __name__ == "__main__":
    main()
