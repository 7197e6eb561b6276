"""Minutes of load with a fifth of the calls failing: no request is lost, and nothing grows.

    python bench/soak.py --minutes 10
    python bench/soak.py --quick      # forty seconds
    python bench/soak.py --json

Every request must have exactly one outcome and one record (a line of the service's log); the memory after the warm-up
and at the end must be the same within 5%; when the load is over, no file descriptor may be left open.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
from rich.console import Console
from rich.table import Table

from bench.processes import free_port, server
from semroute.cores import usable_cores

CONNECTIONS = 16
FAULTS = """
    flaky-0 status-500 status-503 limited-9 status-401 html-200 error-200 empty-choices malformed-json reset close
    cut-body bad-gzip cut-after-0 cut-after-3 reset-after-3 error-event error-first malformed-chunk half-event hang
    stall-after-3 broken
""".split()  # noqa: SIM905 - shorter so
FAULT_SHARE = 0.2
LEAVE_SHARE = 0.01
"""Callers who go away before their answer."""
WARM_UP_SHARE = 0.25
MAX_GROWTH = 0.05
RECORD = re.compile(r" INFO +semroute: ([0-9a-f]{28}): ")


def routes(port: int) -> str:
    """The configuration: models that fail, with breakers out of the way, but for one that has its own."""
    never = {"failures": 10**9, "min_calls": 10**9}
    models = {
        name: {
            "provider": "faults",
            "name": "status-500" if name == "broken" else name,
            **({} if name == "broken" else {"breaker": never}),
        }
        for name in ("ok", *FAULTS)
    }
    policy = {
        "timeouts": {"first_token_s": 0.3, "stall_s": 0.3, "total_s": 0.3},
        "retry": {"base_s": 0.01, "cap_s": 0.05},
        "deadline_s": 10,
    }
    providers = {"faults": {"dialect": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}}
    return json.dumps({"providers": providers, "models": models, "policy": policy, "default": {"models": ["ok"]}})


class Soak:
    """The load and its books."""

    def __init__(self, port: int, until: float) -> None:
        self._port = port
        self._until = until
        self.outcomes: Counter[str] = Counter()
        self.ids: list[str] = []

    async def run(self) -> None:
        """Keep all connections busy."""
        await asyncio.gather(*(self._connection(random.Random(number)) for number in range(CONNECTIONS)))

    async def _connection(self, chance: random.Random) -> None:
        line = None
        while time.monotonic() < self._until:
            line = line or await asyncio.open_connection("127.0.0.1", self._port)
            leaves = chance.random() < LEAVE_SHARE
            try:
                async with asyncio.timeout(20):
                    outcome = await self._ask(*line, chance, leaves)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                outcome = f"lost: {type(error).__name__}"
            self.outcomes[outcome] += 1
            if outcome not in ("answered", "failed cleanly"):
                line[1].close()
                line = None
        if line is not None:
            line[1].close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random, leaves: bool
    ) -> str:
        plan = [chance.choice(FAULTS), "ok"] if chance.random() < FAULT_SHARE else ["ok"]
        stream = chance.random() < 0.5
        body = json.dumps(
            {"model": plan[0], "models": plan[1:], "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        if leaves:
            await writer.drain()
            return "left"
        status, answer = await _read(reader, self.ids)
        if stream and status == 200:
            if b"[DONE]" in answer:
                return "answered"
            return "failed cleanly" if b'"error"' in answer else "truncated"
        if status == 200:
            return "answered" if b'"finish_reason"' in answer else "truncated"
        return "failed cleanly" if b'"error"' in answer else f"status {status}"


async def _read(reader: asyncio.StreamReader, ids: list[str]) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
    ids.append(fields.get("x-semroute-decision", "none"))
    status = int(head[9:12])
    if "content-length" in fields:
        return status, await reader.readexactly(int(fields["content-length"]))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size + 2))
    await reader.readexactly(2)
    return status, b"".join(pieces)


class Gauge:
    """Memory and file descriptors of the service's processes."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.samples: list[tuple[float, int]] = []

    def rss(self) -> int:
        """Resident bytes."""
        return sum(process.memory_info().rss for process in self._processes())

    def fds(self) -> int:
        """Open file descriptors."""
        return sum(process.num_fds() for process in self._processes())

    async def watch(self) -> None:
        """Sample twice a second, until cancelled."""
        while True:
            self.samples.append((time.monotonic(), self.rss()))
            await asyncio.sleep(0.5)

    def _processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


@contextlib.contextmanager
def service(provider_port: int, log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """semroute, with its log in a file."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "routes.yaml").write_text(routes(provider_port))
        command = f'exec "{sys.executable}" -m semroute serve --routes "{folder}" --port {port} 2>"{log}"'
        with server(["sh", "-c", command], port, environ={"SEMROUTE_LOG_LEVEL": "info"}) as process:
            yield port, process


async def soak(port: int, gauge: Gauge, seconds: float) -> Soak:
    """Load for so long, then wait for what is still under way."""
    before = time.monotonic()
    run = Soak(port, before + seconds)
    watching = asyncio.create_task(gauge.watch())
    await run.run()
    watching.cancel()
    await asyncio.sleep(2)
    return run


def measure(seconds: float) -> dict[str, object]:
    """Run it all, and look at what it left."""
    provider_port = free_port()
    command = [sys.executable, "-m", "bench.fault_provider", str(provider_port)]
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder, server(command, provider_port, folder=root):
        log = Path(folder) / "log"
        with service(provider_port, log) as (port, process):
            asyncio.run(soak(port, Gauge(process.pid), 2))  # connections, caches, lazy imports
            gauge = Gauge(process.pid)
            lines_before, fds_before = _records(log), gauge.fds()
            started = time.monotonic()
            run = asyncio.run(soak(port, gauge, seconds))
            fds_after = _settled(gauge, fds_before)
            records = _records(log) - lines_before
    warm = [rss for at, rss in gauge.samples if started + seconds * WARM_UP_SHARE <= at]
    tenth = max(1, len(warm) // 10)
    first, last = statistics.median(warm[:tenth]), statistics.median(warm[-tenth:])
    return _judged(run, records, first, last, fds_after - fds_before, seconds)


def _settled(gauge: Gauge, aim: int) -> int:
    """File descriptors once kept connections to the provider have timed out."""
    deadline = time.monotonic() + 45
    while gauge.fds() > aim and time.monotonic() < deadline:
        time.sleep(0.5)
    return gauge.fds()


def _records(log: Path) -> Counter[str]:
    return Counter(match[1] for match in RECORD.finditer(log.read_text("utf-8", "replace")))


def _judged(
    run: Soak, records: Counter[str], first: float, last: float, more_fds: int, seconds: float
) -> dict[str, object]:
    requests = sum(run.outcomes.values())
    left = run.outcomes["left"]
    good = ("answered", "failed cleanly", "left")
    growth = last / first - 1
    checks = {
        "every request has one outcome": all(run.outcomes[each] == 0 for each in run.outcomes if each not in good),
        "every request has one record": set(run.ids) <= records.keys()
        and max(records.values()) == 1
        and requests - left <= sum(records.values()) <= requests,
        "memory is flat": growth <= MAX_GROWTH,
        "no file descriptor is left": more_fds <= 0,
    }
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "requests": requests,
        "rps": round(requests / seconds, 1),
        "outcomes": dict(run.outcomes),
        "records": sum(records.values()),
        "rss_mb": [round(first / 2**20, 1), round(last / 2**20, 1)],
        "rss_growth": round(growth, 4),
        "more_fds": more_fds,
        "cpus": usable_cores(),
    }


def main() -> None:
    """Read the options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--quick", action="store_true", help="forty seconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = measure(40 if options.quick else options.minutes * 60)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        table = Table(show_header=False, box=None)
        for name, value in report.items():
            table.add_row(name, str(value))
        Console().print(table)
    sys.exit(0 if report["passed"] else 1)


if __name__ == "__main__":
    main()
