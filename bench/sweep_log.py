"""Make a log of 100,000 requests whose true qualities are known, sweep it, and compare the estimates with the truth.

    python bench/sweep_log.py FOLDER

The prompts are those of `make_log.py`. Half of the intents are as easy for the small model as for the large one, the
others are harder, each by an amount of its own; users differ, too. `semroute train` learns from 3,000 graded prompts of
the training split which prompts need the large model. About 3,000 users send the requests; some send many. Of the
requests that may go to both models, one in ten gets the other model by chance, and the log has the propensity. One
answer in ten has a score by its user, one in twenty a grade by a judge, and one in twenty was compared with an answer
of the other model. A third of the records keep the text, a third the features and a third only the vector.

It prints the output of `semroute sweep`, and the estimate and the truth of each setting of `strong_share`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from msgspec.structs import replace

from bench.intent import by_route, read
from bench.make_log import BATCH, BEGIN, EVERY_S, MODELS, REQUESTS, SEED, STARTS, make_record, make_request
from semroute.decision import Decision, Signals
from semroute.learning.logged_decisions import open_log
from semroute.learning.sweep_log import read_table, report_of
from semroute.learning.sweep_report import Floor
from semroute.learning.sweep_rows import hashed
from semroute.record import Record, Trial
from semroute.router import DecisionInputs, Router
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback
from semroute.stores.trials import TrialLog

USERS, LABELS = 3000, 3000
OTHER, SCORED, JUDGED, COMPARED = 0.1, 0.1, 0.05, 0.05
POLICY = "policy: {difficulty: {by: learned, strong_share: 0.6}}\n"


class World:
    """How good each model's answers are."""

    def __init__(self) -> None:
        draw = random.Random(SEED)
        intents = sorted({str(route) for route in read("test").routes})
        self.loss = {intent: 0.0 if draw.random() < 0.5 else draw.uniform(0.1, 0.8) for intent in intents}
        self.user = [draw.gauss(0, 0.1) for _ in range(USERS)]

    def chances(self, intent: str | None, user: int) -> dict[str, float]:
        """Return the chance of a good answer by each model."""
        return {"small": min(1.0, max(0.0, 0.92 - self.loss[str(intent)] + self.user[user])), "large": 0.92}


class Asked(NamedTuple):
    """A request that was drawn."""

    number: int
    text: str
    user: int
    chances: dict[str, float]


def write_folder(folder: Path, world: World) -> None:
    """Write the route files, and learn from graded prompts."""
    utterances = {route: texts for route, texts in by_route(read("train_5")).items() if route != "None"}
    routes = [
        {"name": route, "utterances": list(texts), "models": ["small", "large"]}
        for route, texts in sorted(utterances.items())
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.yaml").write_text(MODELS + POLICY, "utf-8")
    (folder / "routes.yaml").write_text(yaml.safe_dump({"routes": routes}, sort_keys=False), "utf-8")
    draw, split = random.Random(SEED), read("train")
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for place in draw.sample(range(len(split.texts)), LABELS):
            chances = world.chances(split.routes[place], draw.randrange(USERS))
            quality = {model: float(draw.random() < chance) for model, chance in chances.items()}
            file.write(json.dumps({"prompt": split.texts[place], "quality": quality}) + "\n")
    _semroute("train", str(folder / "labels.jsonl"), "--routes", str(folder))


def write_log(folder: Path, world: World, requests: int) -> dict[int, dict[str, float]]:
    """Write `FOLDER/log.db`. Return the chances of good answers, by the number that a sweep knows a request by."""
    router, draw = Router.load(folder / "routes"), random.Random(SEED)
    database = open_database(f"sqlite:///{folder / 'log.db'}")
    log, trials, truth = SqlLog(database), TrialLog(database), dict[int, dict[str, float]]()
    for batch in _drawn(world, draw, requests):
        records, feedback, tried = [], [], list[Trial]()
        for one, record in zip(batch, _decided(router, batch, draw), strict=True):
            truth[hashed(record.request_id)] = one.chances
            good = {model: float(draw.random() < chance) for model, chance in one.chances.items()}
            served = record.decision.model or "large"
            if draw.random() < SCORED:
                feedback.append((record.request_id, Feedback(score=good[served]), record.at + 60))
            tried += _trials(record, served, good, draw)
            records.append(record)
        log.write(records)
        trials.append(tried)
        for given in feedback:
            log.feed_back(*given)
        print(f"\r{len(truth):,} of {requests:,}", end="", flush=True)
    print()
    database.close()
    return truth


def _drawn(world: World, draw: random.Random, requests: int) -> Iterator[list[Asked]]:
    splits = read("test"), read("val")
    known = [(text, route) for split in splits for text, route in zip(split.texts, split.routes, strict=True)]
    for first in range(0, requests, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, requests)):
            text, intent = known[draw.randrange(len(known))]
            user = min(USERS - 1, int(USERS * draw.random() ** 2))
            batch.append(Asked(number, draw.choice(STARTS) + text, user, world.chances(intent, user)))
        yield batch


def _decided(router: Router, batch: Sequence[Asked], draw: random.Random) -> Iterator[Record]:
    requests = [make_request(one.number, one.text) for one in batch]
    every = [router.read_facts(request) for request in requests]
    readings = router.read([facts.ask for facts in every])
    for one, request, facts, reading in zip(batch, requests, every, readings, strict=True):
        decision = router.decide_with(DecisionInputs(router, Signals(), 0.0, facts, reading), request)
        explored = _explored(decision, draw)
        at = BEGIN + one.number * EVERY_S
        record = make_record(router, request, facts, reading, explored, at, draw)
        yield replace(record, unit="u" + blake2b(str(one.user).encode(), digest_size=8).hexdigest())


def _explored(decision: Decision, draw: random.Random) -> Decision:
    """Let the other model answer by chance."""
    if len(decision.plan) < 2:
        return decision
    if draw.random() >= OTHER:
        return replace(decision, propensity=1 - OTHER)
    plan = (decision.plan[1], decision.plan[0], *decision.plan[2:])
    return replace(decision, model=plan[0], plan=plan, propensity=OTHER, explored=True)


def _trials(record: Record, served: str, good: dict[str, float], draw: random.Random) -> Iterator[Trial]:
    about = Trial(id="", decision=record.request_id, at=record.at + 5, purpose="judge", unit=record.unit, served=served)
    if draw.random() < JUDGED:
        yield replace(
            about,
            id=f"{record.request_id}:judge",
            judge="large",
            method="rubric",
            served_score=0.1 + 0.7 * good[served],  # this judge is stricter than people
            propensity=JUDGED,
        )
    if draw.random() < COMPARED:
        other = "small" if served == "large" else "large"
        better = (good[other] - good[served] + 1) / 2
        yield replace(
            about,
            id=f"{record.request_id}:shadow",
            purpose="shadow",
            model=other,
            judge="large",
            method="pairwise",
            verdict="tie" if better == 0.5 else "tried" if better else "served",
            score=better,
            served_score=1 - better,
            propensity=COMPARED,
        )


def compare(folder: Path, truth: dict[int, dict[str, float]]) -> None:
    """Print the estimate and the truth of each setting."""
    router, log = Router.load(folder / "routes"), open_log(f"sqlite:///{folder / 'log.db'}", "")
    table = read_table(router, log, ["strong_share"])
    report = report_of(router, log, table, Floor(value=0.97))
    chances = np.array([[truth[int(key)][model] for model in ("small", "large")] for key in table.rows["order"]])
    chosen = table.rows["model"].astype(int)
    means = [float(chances[np.arange(len(chances)), chosen[:, place]].mean()) for place in range(chosen.shape[1])]
    [curve] = report.curves
    print("strong_share  estimate (95%)             truth   inside")
    for point, mean in zip(curve.points[1:], means[1:], strict=True):
        true = mean / means[0]
        if point.retained is None:
            print(f"{point.value:12g}  ?                          {true:.4f}")
            continue
        found = point.retained
        held = found.low <= true <= found.high
        print(f"{point.value:12g}  {found.value:.4f} ({found.low:.4f} to {found.high:.4f})  {true:.4f}  {held}")


def _semroute(*given: str) -> None:
    print(f"\n$ semroute {' '.join(given)}", flush=True)
    subprocess.run([sys.executable, "-m", "semroute", *given], check=False)


def main() -> None:
    """Make the log, sweep it and compare."""
    folder, requests = Path(sys.argv[1]), int(os.environ.get("REQUESTS", REQUESTS))
    world = World()
    write_folder(folder / "routes", world)
    truth = write_log(folder, world, requests)
    started = time.monotonic()
    log = f"sqlite:///{folder / 'log.db'}"
    _semroute("sweep", log, "--routes", str(folder / "routes"), "--html", str(folder / "sweep.html"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"took {time.monotonic() - started:.1f} s; the most memory of any command so far: {peak:.0f} MB\n", flush=True
    )
    compare(folder, truth)


if __name__ == "__main__":
    main()
