"""Use the service hard for minutes, and check that nothing is lost and nothing grows.

    python bench/soak.py --minutes 10
    python bench/soak.py --minutes 10 --workers 1 --kills 0
    python bench/soak.py --quick      # forty seconds
    python bench/soak.py --json

A fifth of the calls fail. 5% of the callers leave before their answer, and 2% ask for a long stream and do not read it.
Twice a minute, one of two workers is killed (`kill -9`). These promises must hold:

- Every request has one outcome. Only requests that were under way on a killed worker, or that came within a second of
  the kill, may be cut off.
- Every answer that a caller saw has its record. Only answers of the last second before a kill may lack one.
- The budget says what the records cost. It may differ by no more than the cost of the requests under way at the kills.
- Memory at the end is within 5% of memory after the warm-up. Peaks are compared, because memory dips at a kill.
- No file descriptor is left open. This is checked only if no worker was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from bench.processes import free_port, semroute, server
from bench.report import end
from semroute.cpus import usable_cores
from semroute.stores.interfaces import to_usd

CONNECTIONS = 16
FAULTS = """
    flaky-0 status-500 status-503 limited-9 status-401 html-200 error-200 empty-choices malformed-json reset close
    cut-body bad-gzip cut-after-0 cut-after-3 reset-after-3 error-event error-first malformed-chunk half-event hang
    stall-after-3 broken
""".split()  # noqa: SIM905 - shorter than a list
FAULT_SHARE = 0.2
LEAVE_SHARE = 0.05
"""The share of callers who leave before their answer."""
UNREAD_SHARE = 0.02
"""The share of callers who ask for an endless stream and do not read it."""
UNREAD_S = 3.0
"""How many seconds these callers wait for the service to give up on them."""
KILLS_A_MINUTE = 2.0
CUT_S = 1.0
"""A kill may cut off requests that come up to this many seconds after it. Answers up to this many seconds before it may
lack a record."""
WARM_UP_SHARE = 0.25
MAX_GROWTH = 0.05
OUTPUT_PRICE, INPUT_PRICE, MAX_OUTPUT_TOKENS = 2, 1, 200


def routes(port: int) -> str:
    """Return the configuration.

    Its models fail, and their breakers never open. Only the model `broken` has a normal breaker.
    """
    never = {"failures": 10**9, "min_calls": 10**9}
    models = {
        name: {
            "provider": "faults",
            "name": "status-500" if name == "broken" else name,
            "input_price": INPUT_PRICE,
            "output_price": OUTPUT_PRICE,
            "max_output_tokens": MAX_OUTPUT_TOKENS,
            **({} if name == "broken" else {"breaker": never}),
        }
        for name in ("ok", "flood", *FAULTS)
    }
    policy = {
        "timeouts": {"first_token_s": 0.3, "stall_s": 0.3, "total_s": 0.3, "stream_s": 1},
        "retry": {"base_s": 0.01, "cap_s": 0.05},
        "deadline_s": 10,
    }
    providers = {"faults": {"dialect": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}}
    written = {"providers": providers, "models": models, "policy": policy, "default": {"models": ["ok"]}}
    return json.dumps({**written, "budgets": [{"name": "all", "usd": 1_000_000, "per": "month"}]})


class Seen(NamedTuple):
    """An answer that its caller received whole."""

    id: str
    at: float


class Soak:
    """The load, and what its callers saw."""

    def __init__(self, port: int, until: float) -> None:
        self._port = port
        self._until = until
        self.outcomes: Counter[str] = Counter()
        self.seen: list[Seen] = []
        self.kills: list[float] = []

    async def run(self) -> None:
        """Keep all connections busy."""
        await asyncio.gather(*(self._connection(random.Random(number)) for number in range(CONNECTIONS)))

    async def kill(self, gauge: Gauge, a_minute: float) -> None:
        """Kill a worker at each interval, until cancelled."""
        chance = random.Random(0)
        while True:
            await asyncio.sleep(60 / a_minute)
            workers = gauge.workers()
            if workers:
                victim = chance.choice(workers)
                self.kills.append(time.monotonic())
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()

    async def _connection(self, chance: random.Random) -> None:
        line = None
        while time.monotonic() < self._until:
            began = time.monotonic()
            kind = chance.random()
            try:
                line = line or await asyncio.open_connection("127.0.0.1", self._port)
                async with asyncio.timeout(20):
                    if kind < UNREAD_SHARE:
                        outcome = await self._ask_and_not_read()
                    else:
                        outcome = await self._ask(*line, chance, leaves=kind < UNREAD_SHARE + LEAVE_SHARE)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                outcome = "cut by a kill" if self._cut_since(began) else f"lost: {type(error).__name__}"
            self.outcomes[outcome] += 1
            # An unread stream has a connection of its own. Meanwhile the worker of this connection may have been
            # killed.
            if outcome not in ("answered", "failed cleanly") and line is not None:
                line[1].close()
                line = None
        if line is not None:
            line[1].close()

    def _cut_since(self, began: float) -> bool:
        """Return whether a request that began at this time may have been on a worker that was killed."""
        return any(kill >= began - CUT_S for kill in self.kills)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random, *, leaves: bool
    ) -> str:
        plan = [chance.choice(FAULTS), "ok"] if chance.random() < FAULT_SHARE else ["ok"]
        stream = chance.random() < 0.5
        writer.write(_request({"model": plan[0], "models": plan[1:], "stream": stream}))
        if leaves:
            await writer.drain()
            return "left"
        head = await _head(reader)
        status, id_ = int(head["status"]), head.get("x-semroute-decision", "none")
        answer = await _body(reader, head)
        self.seen.append(Seen(id_, time.monotonic()))
        if stream and status == 200:
            if b"[DONE]" in answer:
                return "answered"
            return "failed cleanly" if b'"error"' in answer else "truncated"
        if status == 200:
            return "answered" if b'"finish_reason"' in answer else "truncated"
        return "failed cleanly" if b'"error"' in answer else f"status {status}"

    async def _ask_and_not_read(self) -> str:
        """Ask for an endless stream on a connection of its own, and wait until the service gives up."""
        loop = asyncio.get_running_loop()
        with socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.setblocking(False)
            await loop.sock_connect(wire, ("127.0.0.1", self._port))
            await loop.sock_sendall(wire, _request({"model": "flood", "stream": True}))
            await asyncio.sleep(UNREAD_S)
        return "not read"


def _request(fields: dict[str, Any]) -> bytes:
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    fields = dict(line.lower().split(": ", 1) for line in lines if line)
    return {**fields, "status": first[9:12]}


async def _body(reader: asyncio.StreamReader, head: dict[str, str]) -> bytes:
    if "content-length" in head:
        return await reader.readexactly(int(head["content-length"]))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size + 2))
    await reader.readexactly(2)
    return b"".join(pieces)


class Gauge:
    """A reading of the memory and the file descriptors of the service's processes."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.samples: list[tuple[float, int]] = []

    def rss(self) -> int:
        """Return the resident memory in bytes."""
        total = 0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):  # it was just killed
                total += process.memory_info().rss
        return total

    def fds(self) -> int:
        """Return the number of open file descriptors."""
        return sum(process.num_fds() for process in self._processes())

    async def watch(self) -> None:
        """Sample twice a second, until cancelled."""
        while True:
            self.samples.append((time.monotonic(), self.rss()))
            await asyncio.sleep(0.5)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve, if there are several."""
        return [each for each in self._root.children() if "spawn_main" in _command(each)]

    def _processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it just ended
        return ""


@contextlib.contextmanager
def service(provider_port: int, folder: Path, workers: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run semroute with its books in a folder."""
    (folder / "routes").mkdir()
    (folder / "routes" / "routes.yaml").write_text(routes(provider_port))
    database = f"sqlite:///{folder}/semroute.db"
    with semroute(folder / "routes", workers=str(workers), database_url=database, log_level="error") as running:
        yield running


async def soak(port: int, gauge: Gauge, seconds: float, kills_a_minute: float) -> Soak:
    """Load the service for this many seconds, then wait for what is still under way."""
    run = Soak(port, time.monotonic() + seconds)
    behind = [asyncio.create_task(gauge.watch())]
    if kills_a_minute:
        behind.append(asyncio.create_task(run.kill(gauge, kills_a_minute)))
    await run.run()
    for task in behind:
        task.cancel()
    for ended in await asyncio.gather(*behind, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise SystemExit(f"a task of this script ended too early: {ended!r}")
    await asyncio.sleep(2)
    return run


def measure(seconds: float, workers: int, kills_a_minute: float) -> dict[str, object]:
    """Run everything, and check what it left."""
    provider_port = free_port()
    command = [sys.executable, "-m", "bench.fault_provider", str(provider_port)]
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as name, server(command, provider_port, folder=root):
        folder = Path(name)
        with service(provider_port, folder, workers) as (port, process):
            asyncio.run(soak(port, Gauge(process.pid), 2, 0))  # connections, caches, lazy imports
            gauge = Gauge(process.pid)
            fds_before = gauge.fds()
            started = time.monotonic()
            run = asyncio.run(soak(port, gauge, seconds, kills_a_minute))
            more_fds = 0 if run.kills else _settled(gauge, fds_before) - fds_before
        books = _books(folder)
    warm = [rss for at, rss in gauge.samples if started + seconds * WARM_UP_SHARE <= at]
    third = max(1, len(warm) // 3)
    return _judged(run, books, _high(warm[:third]), _high(warm[-third:]), more_fds, seconds)


def _high(samples: list[int]) -> float:
    """Return the value that a tenth of the samples exceed.

    Low samples do not count: memory dips while a worker restarts.
    """
    return statistics.quantiles(samples, n=10)[-1] if len(samples) > 1 else samples[0]


def _settled(gauge: Gauge, aim: int) -> int:
    """Return the number of file descriptors once idle connections to the provider have timed out."""
    deadline = time.monotonic() + 45
    while gauge.fds() > aim and time.monotonic() < deadline:
        time.sleep(0.5)
    return gauge.fds()


class Books(NamedTuple):
    """What the service wrote, read after it has stopped."""

    records: dict[str, int]
    """How often each id is in the log."""
    cost_usd: Decimal
    """The cost of all records, in USD."""
    told_usd: Decimal
    """What the budget says was spent, in USD."""


def _books(folder: Path) -> Books:
    with contextlib.closing(sqlite3.connect(folder / "semroute.db")) as log:
        records = Counter(id_ for (id_,) in log.execute("SELECT id FROM decisions"))
        cost = log.execute("SELECT SUM(cost) FROM decisions").fetchone()[0] or 0
    with contextlib.closing(sqlite3.connect(folder / "semroute-state.db")) as state:
        spent = state.execute("SELECT SUM(spent) FROM counters WHERE name LIKE 'usd:all:%'").fetchone()[0] or 0
    return Books(dict(records), to_usd(int(cost)), to_usd(int(spent)))


def _judged(run: Soak, books: Books, first: float, last: float, more_fds: int, seconds: float) -> dict[str, object]:
    lost = [seen for seen in run.seen if seen.id not in books.records]
    from_kill = [min((abs(kill - each.at) for kill in run.kills), default=math.inf) for each in lost]
    off_usd = books.told_usd - books.cost_usd
    at_once = 2 * CONNECTIONS  # for each caller: its request, and one answered request whose record is not written yet
    most_usd = Decimal(len(run.kills) * at_once * MAX_OUTPUT_TOKENS * OUTPUT_PRICE) / 10**6
    growth = last / first - 1
    good = ("answered", "failed cleanly", "left", "not read", "cut by a kill")
    checks = {
        "every request has one outcome": all(run.outcomes[each] == 0 for each in run.outcomes if each not in good),
        "nothing is recorded twice": max(books.records.values()) == 1,
        "nothing is lost beyond a second": all(each <= CUT_S for each in from_kill),
        "the budget is exact": abs(off_usd) <= most_usd,
        "memory is flat": growth <= MAX_GROWTH,
        "no file descriptor is left": more_fds <= 0,
    }
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "requests": sum(run.outcomes.values()),
        "rps": round(sum(run.outcomes.values()) / seconds, 1),
        "outcomes": dict(run.outcomes),
        "kills": len(run.kills),
        "records": len(books.records),
        "lost": len(lost),
        "lost_at_most_s_from_a_kill": round(max(from_kill, default=0.0), 2),
        "spent_usd": {"told": str(books.told_usd), "recorded": str(books.cost_usd), "off": str(off_usd)},
        "rss_mb": [round(first / 2**20, 1), round(last / 2**20, 1)],
        "rss_growth": round(growth, 4),
        "more_fds": more_fds,
        "cpus": usable_cores(),
    }


def main() -> None:
    """Read the options, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--kills", type=float, default=KILLS_A_MINUTE, help="workers to kill each minute (needs two workers)"
    )
    parser.add_argument("--quick", action="store_true", help="forty seconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = measure(40 if options.quick else options.minutes * 60, options.workers, options.kills)
    end(report, as_json=options.json)


if __name__ == "__main__":
    main()
