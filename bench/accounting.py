"""Measure what the books cost: requests a second with and without them, and how long a million records take to read.

python -m bench.accounting [--quick] [--json] [--records 1000000] [--crashes 50]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from bench.crash import ROUTES, crashes
from bench.load import Target, run
from bench.processes import free_port, semroute, server
from semroute.caller import Caller
from semroute.decision import Candidate, Decision, Estimate, Nearest
from semroute.messages import Usage
from semroute.record import Attempt, Record
from semroute.stores.decision_log import SqlLog
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase

CONNECTIONS = 16
TURN_S = 2.5
"""The seconds that one load takes. The warm-up takes a fifth of it. Both are far longer than the interval at which the
log is written, so each load pays for its own records only."""
DAYS, ROUTE_COUNT, MODEL_COUNT, KEY_COUNT = 30, 20, 8, 50
BATCH = 1000
WRITTEN = 20_000
"""The records that are made one by one. All others are copies of them."""
SEMANTIC = """
routes:
  - name: billing
    utterances: [why was I charged twice, I want my money back, where is my invoice, cancel my plan, any discount]
    models: [stub]
"""

_numbers = itertools.count()
_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "pinned": lambda: {"prompt": "hello", "model": "stub"},
    "matched": lambda: {"prompt": "give me my money back"},
    "distinct": lambda: {"prompt": f"why was I charged {next(_numbers)} euros on the last invoice of my plan"},
}
"""By kind of request. `pinned` names its model, which costs the least. `matched` repeats a prompt that was matched
before. `distinct` sends a new prompt each time."""


def overhead(rounds: int, turns: int) -> dict[str, float]:
    """Return the requests a second with log and metrics on, as a share of those with both off.

    Each figure is the median of all rounds. Two processes with the same settings differ by a few percent as long as
    they live. So each round starts new ones and loads them in turn. The figure that ends in `_error` is the standard
    error of the shares.
    """
    rates: dict[str, list[float]] = {name: [] for name in _BODIES}
    shares: dict[str, list[float]] = {name: [] for name in _BODIES}
    with _stub() as stub_port:
        for _ in range(rounds):
            for name, (on, off) in _round(stub_port, turns).items():
                rates[name].append(on)
                shares[name].append(on / off)
    figures: dict[str, float] = {}
    for name, seen in shares.items():
        figures[f"{name}_rps"] = round(statistics.median(rates[name]))
        figures[f"{name}_share_of_off"] = round(statistics.median(seen), 3)
        figures[f"{name}_share_of_off_error"] = round(statistics.stdev(seen) / len(seen) ** 0.5, 3)
    return figures


def _round(stub_port: int, turns: int) -> dict[str, tuple[float, float]]:
    """Return the requests a second of one pair of services, with books and without, for each kind of request."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _service(Path(folder), stub_port, on=True) as on,
        _service(Path(folder), stub_port, on=False) as off,
    ):
        sums: dict[tuple[str, int], float] = defaultdict(float)
        for name, body in _BODIES.items():
            for _ in range(turns):
                for port in random.sample((on, off), 2):
                    sums[name, port] += _rate(port, body) / turns
        return {name: (sums[name, on], sums[name, off]) for name in _BODIES}


def reading(count: int, asks: int) -> dict[str, float]:
    """Return the size of a record on disk, and the 95th percentile of the time to read among `count` records."""
    with tempfile.TemporaryDirectory() as folder, _stub() as stub_port:
        database = SqliteDatabase(Path(folder) / "semroute.db", durable=False)
        migrate(database)
        written = min(count, WRITTEN)
        few = SqliteDatabase(Path(folder) / "few.db", durable=False)
        migrate(few)
        log, write_s = SqlLog(few), 0.0
        for first in range(0, written, BATCH):
            batch = [_record(number, written) for number in range(first, min(first + BATCH, written))]
            started = time.perf_counter()
            log.write(batch)
            write_s += time.perf_counter() - started
        few.close()
        _multiply(Path(folder), count // written)
        figures: dict[str, float] = {"records": count, "written_per_s": round(written / write_s)}
        figures["bytes_per_record"] = round(database.size_bytes() / count)
        database.close()
        with _service(Path(folder), stub_port, on=True) as port:
            figures |= {f"{name}_p95_ms": _p95(port, paths, asks) for name, paths in _paths().items()}
    return figures


def _multiply(folder: Path, times: int) -> None:
    """Copy each record of `few.db` into `semroute.db`, `times` times, in the order in which real records come."""
    with contextlib.closing(sqlite3.connect(folder / "semroute.db")) as many:
        many.execute("ATTACH ? AS few", (str(folder / "few.db"),))
        many.execute(
            "CREATE TEMP TABLE copies AS WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n "
            "WHERE k + 1 < ?) SELECT k FROM n",
            (times,),
        )
        copied = "substr({0}, 1, 12) || printf('%04x', k) || substr({0}, 17)"
        for table in ("decisions", "bodies", "blocks"):
            columns = [row[1] for row in many.execute(f"PRAGMA few.table_info({table})")]
            values = [copied.format(name) if name in ("id", "block") else name for name in columns]
            many.execute(
                f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {', '.join(values)} "
                f"FROM few.{table}, copies ORDER BY 1"
            )
        many.execute("INSERT INTO main.rollups SELECT dimension, day, value, metric, n * ? FROM few.rollups", (times,))
        many.execute("INSERT INTO main.score_names SELECT * FROM few.score_names")
        many.commit()
        many.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _paths() -> dict[str, list[str]]:
    stats = [f"/stats?by={by}" for by in ("all", "model", "tier", "route", "key", "team", "feature", "day")]
    filters = ["", "route=route-3", "model=model-2", "key=key-07", "outcome=failed", "min_cost_usd=0.9"]
    filters += ["error=timed out", "error=nothing like it", "min_cost_usd=2", "model=model-1&route=route-5"]
    filters += ["feature=search", "team=team-2&outcome=failed", f"until={_now() - 15 * 86_400}&model=model-3"]
    return {"stats": stats, "decisions": [f"/decisions?{text}" for text in filters]}


def _p95(port: int, paths: list[str], asks: int) -> float:
    times = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        for _ in range(asks):
            for path in paths:
                started = time.perf_counter()
                client.get(path).raise_for_status()
                times.append((time.perf_counter() - started) * 1000)
    return round(sorted(times)[int(len(times) * 0.95)], 1)


def _now() -> int:
    return int(time.time())


def _record(number: int, count: int) -> Record:
    """Return the record with this number. Records are spread over a month, and their vectors do not compress."""
    chance = random.Random(number)
    at = _now() - DAYS * 86_400 * (1 - number / count)
    route = f"route-{min(int(chance.expovariate(0.2)), ROUTE_COUNT - 1)}" if chance.random() > 0.1 else None
    model = f"model-{chance.randrange(MODEL_COUNT)}"
    failed = chance.random() < 0.02
    usage = Usage(input_tokens=chance.randrange(2000), output_tokens=chance.randrange(500))
    near = Nearest(utterance="why was I charged twice this month", similarity=0.7312)
    attempt = Attempt(
        model=model,
        status="failed" if failed else "ok",
        latency_ms=chance.lognormvariate(6, 1),
        first_token_ms=chance.lognormvariate(5, 1),
        error="no answer: timed out" if failed else None,
        usage=usage,
        cost_usd=Decimal(chance.randrange(10**6)).scaleb(-6),
    )
    decision = Decision(
        id=f"{int(at * 1000):012x}{number:016x}",
        route=route,
        reason="semantic" if route else "default",
        explanation="the prompt matches billing with confidence 0.87 (threshold 0.50)",
        confidence=0.87,
        threshold=0.5,
        margin=0.4,
        model=model,
        plan=(model, "large"),
        rejected={},
        candidates=tuple(Candidate(route=f"route-{n}", confidence=0.5 / (n + 1), nearest=near) for n in range(5)),
        estimate=Estimate(input_tokens=100, output_tokens=300, cost_usd=Decimal("0.0012")),
        config_version="bench",
    )
    return Record(
        request_id=decision.id,
        decision=decision,
        attempts=(attempt,),
        outcome="failed" if failed else "ok",
        overhead_ms=2.5,
        at=at,
        latency_ms=attempt.latency_ms + 2.5,
        caller=Caller(id=f"key-{chance.randrange(KEY_COUNT):02}", team=f"team-{number % 5}"),
        tier=("simple", "moderate", "complex")[number % 3],
        feature=("chat", "search", "summary", "")[number % 4],
        error=attempt.error,
        embedding=chance.randbytes(768),
        scores=chance.randbytes(2 * ROUTE_COUNT),
        routes=tuple(f"route-{n}" for n in range(ROUTE_COUNT)),
    )


def _rate(port: int, body: Callable[[], dict[str, Any]]) -> float:
    load = asyncio.run(run(Target(port, "/complete", lambda _: json.dumps(body()).encode()), CONNECTIONS, TURN_S))
    if load.failed:
        raise SystemExit(f"{load.failed} requests failed")
    return load.rps


@contextlib.contextmanager
def _stub() -> Iterator[int]:
    port = free_port()
    with server([sys.executable, "-m", "bench.stub", str(port)], port):
        yield port


@contextlib.contextmanager
def _service(folder: Path, stub_port: int, *, on: bool) -> Iterator[int]:
    """Run the service on the database in the folder, with its books on or off. Gives its port."""
    routes = folder / "routes"
    routes.mkdir(exist_ok=True)
    (routes / "all.yaml").write_text(ROUTES.format(port=stub_port).partition("budgets:")[0] + SEMANTIC, "utf-8")
    database, kept = f"sqlite:///{folder}/semroute.db" if on else "memory:", str(on).lower()
    with semroute(routes, database_url=database, decision_log=kept, metrics=kept, log_level="warning") as (port, _):
        yield port


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--records", type=int)
    parser.add_argument("--crashes", type=int)
    options = parser.parse_args()
    quick: bool = options.quick
    figures: dict[str, Any] = overhead(*((2, 1) if quick else (8, 2)))
    figures |= reading(options.records or (20_000 if quick else 1_000_000), 3 if quick else 20)
    figures |= crashes(2 if quick and options.crashes is None else options.crashes or 50)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
