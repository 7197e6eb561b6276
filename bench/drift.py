"""Measure the alarm for drift on streams of prompts from CLINC150.

    python bench/drift.py             # 10 streams of 100,000 requests, some minutes
    python bench/drift.py --quick     # 3 streams
    python bench/drift.py --json

Each stream draws prompts of 145 intents at random, with replacement; the first 5,000 are the reference. The stationary
stream goes on like this. For each of the other five intents, another stream has it in a tenth of its requests from some
moment on. How often is an alarm raised without drift, and how many requests pass until one is with drift? The in-scope
scores are those of a router with 5 utterances for each of the 145 intents.

The streams go through the same code as in the service: each request is written to a decision log in SQLite, and the
service's `Alarms` read it there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.intent import by_route, read
from bench.suggest import KeptVectors, build
from semroute.api.alarm_service import LATE_S, Alarms
from semroute.config.config import Config
from semroute.config.schema.alarms import AlarmSettings
from semroute.config.schema.routes import Default
from semroute.decision import Decision, Estimate
from semroute.learning.alarm_watch import RaisedAlarm
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.routing.scoring import Doubles, Floats
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog

REFERENCE, STREAM, PATIENCE = 5000, 100_000, 2000
NEW_SHARE, NEW_INTENTS = 0.1, 5
STARTED, TOGETHER = 1_700_000_000.0, 1000
"""When the first request came, and how many are written before the alarms look at the log."""
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
        raised, seconds = asyncio.run(_watched(vectors, in_scope, [first, stream], reference))
        false_alarms += len(raised)
        took.append(seconds / STREAM * 1e6)
        for name in out:
            before = random.choice(usual, random.integers(1000, 5000))
            drifted = random.choice(usual, 5 * PATIENCE)
            new = random.random(len(drifted)) < NEW_SHARE
            drifted[new] = random.choice(np.flatnonzero(intents == name), int(new.sum()))
            raised, _ = asyncio.run(_watched(vectors, in_scope, [first, before, drifted], reference))
            began = reference + len(before)
            delays.append(next((n - began for n in raised if n > began), len(drifted)))
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


async def _watched(vectors: Floats, in_scope: Doubles, parts: Sequence[Any], reference: int) -> tuple[list[int], float]:
    """Write requests to a log, and let the alarms of the service read them.

    Returns after how many requests each alarm was raised, and how many seconds the alarms took.
    """
    settings, seconds, now = AlarmSettings(watch=("prompts", "in_scope"), reference_requests=reference), 0.0, 0.0
    config = Config(providers={}, models={}, default=Default(models=()), routes={}, alarms=settings)
    halves, raised = vectors.astype("<f2"), dict[str, RaisedAlarm]()
    with tempfile.TemporaryDirectory() as folder, closing(open_database(f"sqlite:///{folder}/log.db")) as database:
        log, transport = SqlLog(database), Transport()
        alarms = Alarms(database, lambda: config, transport, clock=lambda: now)
        rows = [row for part in parts for row in part]
        for start in range(0, len(rows), TOGETHER):
            some = enumerate(rows[start : start + TOGETHER], start + 1)
            log.write([_record(number, halves[row].tobytes(), float(in_scope[row])) for number, row in some])
            now = STARTED + start + TOGETHER + LATE_S + 1
            before = time.perf_counter()
            await alarms.once()
            seconds += time.perf_counter() - before
            raised |= {one.id: one for one in alarms.raised}
        await transport.aclose()
    return [round(one.at - STARTED) for one in raised.values()], seconds


def _record(number: int, embedding: bytes, in_scope: float) -> Record:
    """Return the record of a request that came `number` seconds after the start."""
    at = STARTED + number
    decision = Decision(
        id=f"{int(at * 1000):012x}{number:020x}",
        route="some",
        reason="semantic",
        explanation="",
        confidence=in_scope,
        threshold=0.5,
        margin=1.0,
        model="small",
        plan=("small",),
        rejected={},
        candidates=(),
        estimate=Estimate(input_tokens=10, output_tokens=10, cost_usd=Decimal(0)),
        config_version="1",
        in_scope=in_scope,
    )
    return Record(
        request_id=decision.id,
        decision=decision,
        attempts=(),
        outcome="ok",
        overhead_ms=1.0,
        at=at,
        embedding=embedding,
        encoder="bench",
    )


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
