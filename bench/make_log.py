"""Make a log of 100,000 requests, two folders of route files, and run the commands that learn from a log on them.

    python bench/make_log.py FOLDER                          make the log
    python bench/make_log.py FOLDER --run                    make it if it is not there, and run the commands on it

The prompts are those of CLINC150 (`$SEMROUTE_BENCH_DATA/intent`, see bench/README.md), most of them several times and
with other beginnings, drawn with a fixed seed. `FOLDER/routes` decides them: 150 routes with five utterances each.
`FOLDER/candidate` is what to compare it with: ten utterances each, ten routes less, and another model for some.
A third of the records keep the text, a third the features and a third only the vector. One in ten has feedback: the
true route, if another one was taken, or else a score. One in ten requests of the small model has a shadow and a judge.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from bench.intent import by_route, read
from semroute.config.schema.service import LogSettings
from semroute.decision import Decision, Signals
from semroute.gateway.request_features import Evidence, packed_features
from semroute.messages import ChatRequest, Message, Text, Usage
from semroute.record import Attempt, Record, Trial
from semroute.router import DecisionInputs, Router
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts
from semroute.routing.pricing import cost_usd
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback
from semroute.stores.trials import TrialLog
from semroute.trials.verdicts import SCORES, Verdict

REQUESTS, SEED, BATCH = 100_000, 20, 500
TRIED = 0.1
"""The share of the small model's requests that a trial is made beside."""
BEGIN = 1_790_000_000.0
EVERY_S = 26.0
"""Seconds between two requests: the log covers a month."""
STARTS = ("", "", "", "please tell me: ", "hey, ", "quick question, ", "hi there. ", "thanks! now ")
MODELS = """
providers: {here: {dialect: echo}}
models:
  small: {provider: here, name: s, tier: simple, input_price: 0.15, output_price: 0.6, quality: 0.72}
  large: {provider: here, name: l, tier: complex, input_price: 3, output_price: 15, quality: 0.93}
default: {models: [large]}
"""
KEPT = (
    LogSettings(content="full"),
    LogSettings(features=True),
    LogSettings(),
)


def write_folders(folder: Path) -> None:
    """Write both folders of route files."""
    for name, split, first, dear in (("routes", "train_5", 0, 2), ("candidate", "train_10", 10, 3)):
        utterances = {route: texts for route, texts in by_route(read(split)).items() if route != "None"}
        routes = [
            {"name": route, "utterances": list(texts), "models": ["small", "large"] if place % dear else ["large"]}
            for place, (route, texts) in enumerate(sorted(utterances.items()))
        ]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "models.yaml").write_text(MODELS, "utf-8")
        (folder / name / "routes.yaml").write_text(yaml.safe_dump({"routes": routes[first:]}, sort_keys=False), "utf-8")


def write_log(folder: Path, requests: int) -> None:
    """Write `FOLDER/log.db`."""
    router, draw = Router.load(folder / "routes"), random.Random(SEED)
    tried = random.Random(SEED + 1)
    rows = read("test"), read("val")
    texts = [text for split in rows for text in split.texts]
    truths = [route for split in rows for route in split.routes]
    known = [(f"{start}{text}", truth) for text, truth in zip(texts, truths, strict=True) for start in STARTS[2:4]]
    with_start = known + [(f"{STARTS[4 + n % 4]}{text}", truths[n]) for n, text in enumerate(texts)]
    database = open_database(f"sqlite:///{folder / 'log.db'}")
    log = SqlLog(database)
    for first in range(0, requests, BATCH):
        drawn = [with_start[draw.randrange(len(with_start))] for _ in range(min(BATCH, requests - first))]
        asked = [make_request(first + place, text) for place, (text, _) in enumerate(drawn)]
        every = [router.read_facts(request) for request in asked]
        readings = router.read([facts.ask for facts in every])
        records = []
        for place, parts in enumerate(zip(asked, every, readings, strict=True)):
            decision = router.decide_with(DecisionInputs(router, Signals(), 0.0, parts[1], parts[2]), parts[0])
            records.append(make_record(router, *parts, decision, BEGIN + (first + place) * EVERY_S, draw))
        log.write(records)
        TrialLog(database).append([trial for record in records for trial in _trials(record, tried)])
        for record, (_, truth) in zip(records, drawn, strict=True):
            if draw.random() < 0.1:
                log.feed_back(record.request_id, _feedback(record.decision.route, truth, draw), record.at + 60)
        print(f"\r{first + len(drawn):,} of {requests:,}", end="", flush=True)
    print()
    database.close()


def make_request(number: int, text: str) -> ChatRequest:
    """Return a request. `number`: tells when it came."""
    moment = int((BEGIN + number * EVERY_S) * 1000)
    message = Message(role="user", parts=(Text(text=text),))
    return ChatRequest(id=f"{moment:012x}{number:016x}", messages=(message,))


def make_record(
    router: Router,
    request: ChatRequest,
    facts: Facts,
    reading: Reading,
    decision: Decision,
    at: float,
    draw: random.Random,
) -> Record:
    """Return the record of a request that was answered. What it keeps is drawn."""
    keep, text = KEPT[draw.randrange(len(KEPT))], request.messages[0].text
    usage = Usage(input_tokens=facts.input_tokens, output_tokens=draw.randrange(20, 400))
    model = router.config.models[decision.model or "large"]
    attempt = Attempt(model=model.id, status="ok", latency_ms=400, usage=usage, cost_usd=cost_usd(model, usage))
    prompt = text if keep.content == "full" else None
    evidence = Evidence(request, Signals(), None, None)
    wanted = keep.features or keep.content == "full"
    return Record(
        request_id=request.id,
        decision=decision,
        attempts=(attempt,),
        outcome="ok",
        overhead_ms=2.0,
        at=at,
        latency_ms=402.0,
        tier=model.tier,
        saved_usd=Decimal(0),
        embedding=reading.embedding.astype("<f2").tobytes(),
        encoder=router.embedder.fingerprint,
        scores=reading.scores.astype("<f2").tobytes(),
        routes=tuple(router.config.routes),
        features=packed_features(router, facts, reading, evidence, keep, prompt) if wanted else b"",
        content=keep.content,
        prompt=prompt,
    )


def _trials(record: Record, draw: random.Random) -> list[Trial]:
    """Return the trials beside a request. The large model shadows one in ten of the small one's, and compares."""
    if record.model != "small" or draw.random() >= TRIED:
        return []
    cost = Decimal("0.004")
    shadowed = Attempt(model="large", status="ok", latency_ms=900, cost_usd=cost, purpose="shadow")
    judged = Attempt(model="judge", status="ok", latency_ms=900, cost_usd=cost, purpose="judge")
    drawn: dict[str, Any] = {
        "decision": record.request_id,
        "at": record.ended,
        "route": record.decision.route or "",
        "tier": "simple",
    }
    drawn |= {"served": "small", "model": "large", "propensity": TRIED, "unit": f"u{draw.randrange(5000):016x}"}
    same = draw.random() < 0.2
    verdict: Verdict = "tie" if same else draw.choice(("served", "tried", "tie", "tie"))
    served_score, score = SCORES[verdict]
    shadow = Trial(
        **drawn,
        id=f"{record.request_id}:shadow",
        purpose="shadow",
        method="agreement",
        attempts=(shadowed,),
        detail={"same_text": same, "same_finish_reason": True, "served_chars": 400, "chars": 900},
    )
    judge = Trial(
        **drawn,
        id=f"{record.request_id}:judge",
        purpose="judge",
        judge="judge",
        method="pairwise",
        verdict=verdict,
        served_score=served_score,
        score=score,
        attempts=() if same else (judged, judged),
        detail={"same_text": same, "flipped": verdict == "tie" and not same and draw.random() < 0.3},
    )
    return [shadow, judge]


def _feedback(route: str | None, truth: str | None, draw: random.Random) -> Feedback:
    right = route == (truth if truth != "None" else None)
    if right:
        return Feedback(score=1.0 if draw.random() < 0.9 else 0.0)
    return Feedback(score=0.0, label=truth or "")


def commands(folder: Path) -> Iterator[list[str]]:
    """Yield the commands to run."""
    log, routes, candidate = f"sqlite:///{folder / 'log.db'}", str(folder / "routes"), str(folder / "candidate")
    yield ["replay", log, "--routes", routes]
    yield ["replay", log, "--routes", candidate, "--html", str(folder / "replay.html")]
    yield ["diff", routes, candidate, "--log", log]
    yield ["sweep", log, "--routes", routes, "--html", str(folder / "sweep.html")]
    yield ["suggest", log, "--routes", routes]
    yield ["drift", log]
    yield ["judge", log]
    yield ["shadow", log]
    yield ["export", str(folder / "log.jsonl")]
    yield ["tune", str(folder / "log.jsonl"), "--routes", routes, "--dry-run", "--max-false-abstain", "0.05"]
    yield ["report", "--by", "tier", "--days", "100"]


def main() -> None:
    """Make the log, and run the commands if that is asked for."""
    folder = Path(sys.argv[1])
    requests = int(os.environ.get("REQUESTS", REQUESTS))
    if not (folder / "log.db").exists():
        write_folders(folder)
        write_log(folder, requests)
    if "--run" not in sys.argv:
        return
    for command in commands(folder):
        started = time.monotonic()
        environ = {**os.environ, "SEMROUTE_DATABASE_URL": f"sqlite:///{folder / 'log.db'}"}
        print(f"\n$ semroute {' '.join(command)}", flush=True)
        running = subprocess.Popen([sys.executable, "-m", "semroute", *command], env=environ)
        _, status, used = os.wait4(running.pid, 0)
        took = f"took {time.monotonic() - started:.1f} s and {used.ru_maxrss / 1024:.0f} MB at most"
        print(f"{took}; exit code {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
