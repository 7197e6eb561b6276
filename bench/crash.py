"""Kill the service at a random moment under load, and look at what is left in its books.

python -m bench.crash --times 50
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bench.processes import free_port, server

ROUTES = """
providers:
  stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}
models:
  stub: {{provider: stub, name: stub, input_price: 1, output_price: 2, max_output_tokens: 100}}
default: {{models: [stub]}}
budgets: [{{name: all, usd: 1000, per: month}}]
"""
COST = 12 * 1 + 10 * 2
"""Millionths of a USD that one answer of the stub costs."""
CALLERS = 8
MAX_LOSS_S = 1.0


class Crash(NamedTuple):
    """What one crash left."""

    answered: int
    """Requests that callers saw answered."""
    lost: int
    """Of these, the ones that are not in the log."""
    lost_older: int
    """Lost ones that were answered more than a second before."""
    charged: int
    """Requests that the budget was charged for."""
    sent: int
    """Requests that callers sent."""
    sound: bool
    """Whether both databases pass their integrity check, and the rollups add up to the records."""


def crash(folder: Path, chance: random.Random) -> Crash:
    """Start the service, kill it at a random moment under load, and look. Uses the same databases each time."""
    stub_port, port = free_port(), free_port()
    routes = folder / "routes"
    routes.mkdir(exist_ok=True)
    (routes / "all.yaml").write_text(ROUTES.format(port=stub_port), "utf-8")
    command = [sys.executable, "-m", "semroute", "serve", "--routes", str(routes), "--port", str(port)]
    environ = {"SEMROUTE_DATABASE_URL": f"sqlite:///{folder}/semroute.db", "SEMROUTE_LOG_LEVEL": "error"}
    before = _charged(folder)
    answered: dict[str, float] = {}
    sent = [0] * CALLERS
    stub = [sys.executable, "-m", "bench.stub", str(stub_port)]
    with server(stub, stub_port), server(command, port, environ=environ) as process:
        worker = _worker_of(process.pid)
        callers = [threading.Thread(target=_call, args=(port, place, sent, answered)) for place in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(chance.uniform(0.2, 3.0))
        killed = time.time()
        for pid in (process.pid, *worker):
            _kill(pid)
        for caller in callers:
            caller.join()
    with closing(sqlite3.connect(folder / "semroute.db")) as log:
        there = {id_ for (id_,) in log.execute("SELECT id FROM decisions")}
        records = log.execute("SELECT COUNT(*), SUM(cost) FROM decisions").fetchone()
        sums = "SELECT SUM(n) FROM rollups WHERE dimension = 'all' AND metric = ?"
        rolled = tuple(log.execute(sums, (metric,)).fetchone()[0] for metric in (0, 4))
        sound = log.execute("PRAGMA integrity_check").fetchone() == ("ok",) and records == rolled
    with closing(sqlite3.connect(folder / "semroute-state.db")) as state:
        sound = sound and state.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    lost = [at for id_, at in answered.items() if id_ not in there]
    older = [at for at in lost if at < killed - MAX_LOSS_S]
    return Crash(len(answered), len(lost), len(older), _charged(folder) - before, sum(sent), sound)


def _call(port: int, place: int, sent: list[int], answered: dict[str, float]) -> None:
    """Call until the service is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"prompt": "hello", "model": "stub"})
    try:
        while True:
            sent[place] += 1
            connection.request("POST", "/complete", body)
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            answered[response.headers["x-semroute-decision"]] = time.time()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def _charged(folder: Path) -> int:
    if not (folder / "semroute-state.db").exists():
        return 0
    with closing(sqlite3.connect(folder / "semroute-state.db")) as state:
        spent = state.execute("SELECT SUM(spent) FROM counters").fetchone()[0] or 0
    charged, rest = divmod(int(spent), COST * 10**6)
    assert not rest, f"{spent} is no whole number of requests"
    return charged


def _worker_of(pid: int) -> list[int]:
    """The processes below one; where there is no /proc, none."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def crashes(times: int, seed: int = 0) -> dict[str, int]:
    """Crash so many times on one pair of databases, and add up. Raises `SystemExit` where a promise is broken."""
    chance = random.Random(seed)
    total = {"crashes": times, "answered": 0, "lost": 0, "lost_older_than_1_s": 0, "charged": 0}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            seen = crash(Path(folder), chance)
            if seen.lost_older or not seen.sound or not seen.answered - CALLERS <= seen.charged <= seen.sent:
                raise SystemExit(f"crash {number}: {seen}")
            total["answered"] += seen.answered
            total["lost"] += seen.lost
            total["lost_older_than_1_s"] += seen.lost_older
            total["charged"] += seen.charged
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    print(json.dumps(crashes(parser.parse_args().times)))
