"""Measure the alarm for drift on streams of prompts from CLINC150.

    python bench/drift.py             # 10 streams of 100,000 requests, some minutes
    python bench/drift.py --quick     # 3 streams
    python bench/drift.py --json

Each stream draws prompts of 145 intents at random, with replacement; the first 5,000 are the reference. The stationary
stream goes on like this. For each of the other five intents, another stream has it in a tenth of its requests from some
moment on. How often does the alarm ring without drift, and how many requests pass until it rings with drift? The
in-scope scores are those of a router with 5 utterances for each of the 145 intents.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.intent import by_route, read
from bench.suggest import KeptVectors, build
from semroute.learning.drift_alarm import DriftAlarm

REFERENCE, STREAM, PATIENCE = 5000, 100_000, 2000
NEW_SHARE, NEW_INTENTS = 0.1, 5
GOALS = {"false_alarms_per_100000": 1.0, "late_share": 0.0}


def measure(seeds: Sequence[int], reference: int, cache: Path, progress: Progress) -> dict[str, Any]:
    """Run all streams."""
    embedder = KeptVectors(cache)
    splits = [read(name) for name in ("train", "val", "test")]
    rows = [(text, route) for split in splits for text, route in zip(split.texts, split.routes, strict=True) if route]
    texts = [text for text, _ in rows]
    bar = progress.add_task("embedding", total=None)
    embedder.keep(texts, lambda done, total: progress.update(bar, completed=done, total=total))
    vectors = embedder.embed(texts)
    intents = np.array([route for _, route in rows])
    false_alarms, delays, took = 0, [], []
    bar = progress.add_task("streams", total=len(seeds))
    for done, seed in enumerate(seeds, 1):
        random = np.random.default_rng(seed)
        out = random.choice(np.unique(intents), NEW_INTENTS, replace=False)
        router = build({name: own for name, own in by_route(read("train_5")).items() if name not in out}, embedder)
        matches = router.match_features(embedder.featurize(texts))
        in_scope = np.array([match.in_scope for match in matches])
        usual = np.flatnonzero(~np.isin(intents, out))
        first = random.choice(usual, reference)
        stream = random.choice(usual, STREAM)
        alarm = DriftAlarm(vectors[first], in_scope[first], time.time, seed)
        started = time.perf_counter()
        false_alarms += sum(alarm.observe(vectors[row], in_scope[row]) is not None for row in stream)
        took.append((time.perf_counter() - started) / STREAM * 1e6)
        for name in out:
            alarm = DriftAlarm(vectors[first], in_scope[first], time.time, seed)
            for row in random.choice(usual, random.integers(1000, 5000)):
                alarm.observe(vectors[row], in_scope[row])
            drifted = random.choice(usual, 5 * PATIENCE)
            new = random.random(len(drifted)) < NEW_SHARE
            drifted[new] = random.choice(np.flatnonzero(intents == name), int(new.sum()))
            rang = (n for n, row in enumerate(drifted, 1) if alarm.observe(vectors[row], in_scope[row]) is not None)
            delays.append(next(rang, len(drifted)))
        progress.update(bar, completed=done)
        progress.console.print(f"stream {seed}: {false_alarms} false alarms so far, delays {delays[-NEW_INTENTS:]}")
    return {
        "streams": len(seeds),
        "reference": reference,
        "requests": len(seeds) * STREAM,
        "false_alarms": false_alarms,
        "false_alarms_per_100000": false_alarms / len(seeds),
        "delay_median": float(np.median(delays)),
        "delay_most": int(max(delays)),
        "late_share": float(np.mean(np.array(delays) > PATIENCE)),
        "new_topics": len(delays),
        "microseconds_a_request": round(float(np.median(took)), 2),
    }


def main() -> None:
    """Read the arguments, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 streams instead of 10")
    parser.add_argument("--reference", type=int, default=REFERENCE, help="how many reference requests")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first stream")
    parser.add_argument("--json", action="store_true", help="print only the figures, as JSON")
    parser.add_argument("--cache", type=Path, help="a folder to keep vectors in; otherwise they are made each time")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    with tempfile.TemporaryDirectory() as temporary, Progress(console=console, transient=True) as progress:
        cache = arguments.cache or Path(temporary)
        figures = measure(
            range(arguments.seed, arguments.seed + (3 if arguments.quick else 10)), arguments.reference, cache, progress
        )
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        goal = f"  (goal: at most {GOALS[name]:g})" if name in GOALS else ""
        console.print(f"{name.replace('_', ' ')}: {value:,}{goal}", highlight=False)


if __name__ == "__main__":
    main()
