"""Measure what deliberately slow callers cost in memory, and how long they can hold anything.

    python bench/slow.py              # two minutes
    python bench/slow.py --json

The service runs with its defaults, except for short deadlines of a stream. Three crowds come one after the other. First
come 60 bodies of 10 MB that stop short of their end. Then come 1,000 streams that nobody reads, from a provider that
never stops. The last crowd does the same with an `Idempotency-Key`. For each crowd the script prints how much memory
grew at most, how many requests were refused, and what is left once the deadlines have passed. A crowd may cost 100 MB,
and must leave nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from bench.processes import free_port, semroute
from bench.report import end

BODIES, BODY_BYTES = 60, 10_000_000
STREAMS = 1000
STALL_S = 10
MAX_GROWTH_MB = 100
ROUTES = """
providers: {{stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}}}
models: {{stub: {{provider: stub, name: stub}}}}
default: {{models: [stub]}}
policy: {{timeouts: {{first_token_s: 60, stall_s: {stall_s}, stream_s: 120}}, deadline_s: 120}}
"""
EVENT = (
    b"data: "
    + json.dumps(
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "stub",
            "choices": [{"index": 0, "finish_reason": None, "delta": {"content": "y" * 20_000}}],
        }
    ).encode()
    + b"\n\n"
)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

Crowd = Callable[[int], Coroutine[Any, Any, list[socket.socket]]]


class Provider:
    """A provider that streams without end to every caller."""

    def __init__(self) -> None:
        self.open = 0

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Serve until the block ends."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=STREAMS):
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                while True:
                    writer.write(CHUNK)
                    await writer.drain()
        finally:
            self.open -= 1
            writer.transport.abort()


async def unfinished_bodies(port: int) -> list[socket.socket]:
    """Send all of a body except its last bytes, for each caller of the crowd."""
    return [await _open(port, _head(BODY_BYTES), b"x" * (BODY_BYTES - 100)) for _ in range(BODIES)]


async def unread_streams(port: int) -> list[socket.socket]:
    """Ask for a stream and read nothing of it, for each caller of the crowd."""
    return [await _ask(port) for _ in range(STREAMS)]


async def unread_idempotent_streams(port: int) -> list[socket.socket]:
    """Do the same, with a different idempotency key for each caller."""
    return [await _ask(port, f"idempotency-key: {number}") for number in range(STREAMS)]


async def _ask(port: int, *headers: str) -> socket.socket:
    body = b'{"prompt": "hi", "model": "stub", "stream": true}'
    return await _open(port, _head(len(body), *headers), body)


def _head(size: int, *headers: str) -> bytes:
    lines = ("POST /complete HTTP/1.1", "host: localhost", f"content-length: {size}", *headers)
    return "\r\n".join((*lines, "\r\n")).encode()


async def _open(port: int, head: bytes, body: bytes) -> socket.socket:
    """Send as much of a request as the service takes, and leave the connection open."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(wire, ("127.0.0.1", port))
    await loop.sock_sendall(wire, head)
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(2):
            await loop.sock_sendall(wire, body)
    return wire


async def crowd_of(come: Crowd, port: int, process: psutil.Process, provider: Provider) -> dict[str, Any]:
    """Measure what one crowd costs, and what is left of it."""
    idle, peak = _rss_mb(process), 0.0
    callers: list[socket.socket] = []
    coming = asyncio.create_task(come(port))
    ends, most, running = time.monotonic() + 120, 0, 0.0
    while time.monotonic() < ends:
        await asyncio.sleep(0.25)
        peak = max(peak, _rss_mb(process) - idle)
        running = await asyncio.to_thread(_running, port)
        most = max(most, int(running))
        if coming.done():
            callers = callers or coming.result()
            if not running and not provider.open and not (waiting := _waiting(callers)):
                break
    waiting = _waiting(callers)
    for wire in callers:
        wire.close()
    left = {"running": int(running), "provider_connections": provider.open, "waiting": waiting}
    return {"grown_mb": round(peak, 1), "most_running": most, "left": left}


def _waiting(callers: list[socket.socket]) -> int:
    """Count the callers who have no answer and whose connection is still open."""
    return sum(not _told(wire) for wire in callers)


def _told(wire: socket.socket) -> bool:
    try:
        wire.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _running(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        told = answer.read().decode()
    return next(float(line.split()[1]) for line in told.splitlines() if line.startswith("semroute_running_requests "))


def _rss_mb(process: psutil.Process) -> float:
    """Return the memory of the serving process, in MB.

    The process that writes the log is not counted: nobody asks it here.
    """
    rss: int = process.memory_info().rss
    return rss / 2**20


@contextlib.contextmanager
def service(provider_port: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run semroute with its defaults. Gives its port and its process."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "routes.yaml").write_text(ROUTES.format(port=provider_port, stall_s=STALL_S))
        database = f"sqlite:///{folder}/semroute.db"
        with semroute(Path(folder), database_url=database, log_level="warning") as (port, process):
            yield port, psutil.Process(process.pid)


async def measure() -> dict[str, Any]:
    """Send the crowds one after the other. Return the report."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    provider, provider_port = Provider(), free_port()
    report: dict[str, Any] = {}
    async with provider.listening(provider_port):
        with service(provider_port) as (port, process):
            for _ in range(50):  # connections, caches, lazy imports
                (await _ask(port)).close()
            await asyncio.sleep(2)
            for come in (unfinished_bodies, unread_streams, unread_idempotent_streams):
                report[come.__name__] = await crowd_of(come, port, process, provider)
    passed = all(each["grown_mb"] <= MAX_GROWTH_MB and not any(each["left"].values()) for each in report.values())
    return {"passed": passed, **report}


def main() -> None:
    """Read the options, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(measure())
    end(report, as_json=options.json)


if __name__ == "__main__":
    main()
