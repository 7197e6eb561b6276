"""Kill the service at a random moment under load, and check what its books still hold.

Every other crash kills all processes, as a power cut does. The crashes between spare the process that writes the
decision log, as when the service runs out of memory.

python -m bench.crash --times 50
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.processes import free_port, semroute, server

ROUTES = """
providers:
  stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}
models:
  stub: {{provider: stub, name: stub, input_price: 1, output_price: 2, max_output_tokens: 100}}
default: {{models: [stub]}}
budgets: [{{name: all, usd: 1000, per: month}}]
"""
COST = 12 * 1 + 10 * 2
"""What one answer of the stub costs, in millionths of a USD."""
CALLERS = 8
MAX_LOSS_S = 1.0
LOG_PROCESS = "semroute.stores.log_process"
END_S = 30.0


class Crash(NamedTuple):
    """What one crash left behind."""

    answered: int
    """The number of requests whose callers saw an answer."""
    lost: int
    """How many of the answered requests are not in the log."""
    oldest_lost_s: float
    """How many seconds before the crash the first lost request was answered. 0 means that none is lost."""
    charged: int
    """The number of requests that the budget was charged for."""
    sent: int
    """The number of requests that callers sent."""
    sound: bool
    """Whether both databases pass their integrity check, and the rollups add up to the records."""

    @property
    def charged_right(self) -> bool:
        """Return whether the budget was charged for every answered request, and for no more requests than were sent."""
        return self.answered - CALLERS <= self.charged <= self.sent


def crash(folder: Path, chance: random.Random, *, log_too: bool) -> Crash:
    """Start the service, kill it at a random moment under load, and look. Every call uses the same databases.

    With `log_too`, the process that writes the decision log is killed as well. Without it, that process may finish.
    """
    stub_port = free_port()
    routes = folder / "routes"
    routes.mkdir(exist_ok=True)
    (routes / "all.yaml").write_text(ROUTES.format(port=stub_port), "utf-8")
    database = f"sqlite:///{folder}/semroute.db"
    before = _charged(folder)
    answered: dict[str, float] = {}
    sent = [0] * CALLERS
    stub = [sys.executable, "-m", "bench.stub", str(stub_port)]
    with server(stub, stub_port), semroute(routes, database_url=database, log_level="error") as (port, process):
        service = psutil.Process(process.pid)
        processes = [service, *service.children(recursive=True)]
        [writer] = [each for each in processes if LOG_PROCESS in each.cmdline()]
        callers = [threading.Thread(target=_call, args=(port, place, sent, answered)) for place in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(chance.uniform(0.2, 3.0))
        killed = time.time()
        for each in processes:
            if log_too or each != writer:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        for caller in callers:
            caller.join()
        _await_end(writer)
    with contextlib.closing(sqlite3.connect(folder / "semroute.db")) as log:
        there = {id_ for (id_,) in log.execute("SELECT id FROM decisions")}
        records = log.execute("SELECT COUNT(*), COALESCE(SUM(cost), 0) FROM decisions").fetchone()
        sums = "SELECT COALESCE(SUM(n), 0) FROM rollups WHERE dimension = 'all' AND metric = ?"
        rolled = tuple(log.execute(sums, (metric,)).fetchone()[0] for metric in (0, 4))
        sound = log.execute("PRAGMA integrity_check").fetchone() == ("ok",) and records == rolled
    with contextlib.closing(sqlite3.connect(folder / "semroute-state.db")) as state:
        sound = sound and state.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    lost = [at for id_, at in answered.items() if id_ not in there]
    oldest_s = killed - min(lost, default=killed)
    return Crash(len(answered), len(lost), oldest_s, _charged(folder) - before, sum(sent), sound)


def _call(port: int, place: int, sent: list[int], answered: dict[str, float]) -> None:
    """Send requests until the service is gone."""
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
    with contextlib.closing(sqlite3.connect(folder / "semroute-state.db")) as state:
        spent = state.execute("SELECT SUM(spent) FROM counters WHERE name LIKE 'usd:%'").fetchone()[0] or 0
    charged, rest = divmod(int(spent), COST * 10**6)
    assert not rest, f"the budget was charged {spent}: expected a whole number of requests"
    return charged


def _await_end(process: psutil.Process) -> None:
    """Wait until the process has ended. If its parent is gone, nobody reaps it, so a zombie counts as ended."""
    deadline = time.monotonic() + END_S
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                raise SystemExit(f"the process that writes the decision log still runs after {END_S} s")
            time.sleep(0.01)


def crashes(times: int, seed: int = 0) -> dict[str, float]:
    """Crash the service `times` times on one pair of databases, and add up the results.

    Raises `SystemExit` if a promise is broken.
    """
    chance = random.Random(seed)
    total: dict[str, float] = {"crashes": times, "answered": 0, "charged": 0}
    kinds = {True: "all_killed", False: "log_process_spared"}
    total |= {f"{figure}_{kind}": 0 for kind in kinds.values() for figure in ("lost", "oldest_lost_s")}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            log_too = number % 2 == 0
            seen = crash(Path(folder), chance, log_too=log_too)
            if seen.oldest_lost_s > MAX_LOSS_S or not seen.sound or not seen.charged_right:
                raise SystemExit(f"crash {number}, {kinds[log_too]}: a promise is broken: {seen}")
            total["answered"] += seen.answered
            total["charged"] += seen.charged
            total[f"lost_{kinds[log_too]}"] += seen.lost
            oldest = f"oldest_lost_s_{kinds[log_too]}"
            total[oldest] = max(total[oldest], round(seen.oldest_lost_s, 2))
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    print(json.dumps(crashes(parser.parse_args().times)))
