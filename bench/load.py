"""A load generator that is lighter than what it measures: raw HTTP/1.1 over connections that stay open."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Load(NamedTuple):
    """The result of one run."""

    rps: float
    """Requests a second that were answered with status 200."""
    p50_ms: float
    p99_ms: float
    failed: int
    """Requests that were answered with another status."""


class Target(NamedTuple):
    """Where requests go."""

    port: int
    path: str
    body: Callable[[int], bytes]
    """Returns the body of the n-th request."""
    headers: Mapping[str, str] = {}

    def request(self, number: int) -> bytes:
        """Return the n-th request as bytes."""
        body = self.body(number)
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{extra}\r\n"
        )
        return head.encode() + body


async def run(target: Target, connections: int, seconds: float) -> Load:
    """Keep `connections` connections busy for `seconds`, after a warm-up of a fifth of that time."""
    numbers = itertools.count()
    await _busy(target, connections, seconds / 5, numbers)
    return await _busy(target, connections, seconds, numbers)


async def _busy(target: Target, connections: int, seconds: float, numbers: itertools.count[int]) -> Load:
    started = time.perf_counter()
    deadline = started + seconds
    results = await asyncio.gather(*(_connection(target, deadline, numbers) for _ in range(connections)))
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for latencies, _ in results for latency in latencies)
    failed = sum(failed for _, failed in results)
    if not latencies:
        return Load(0.0, float("nan"), float("nan"), failed)
    p99 = latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))]
    return Load(len(latencies) / elapsed, statistics.median(latencies) * 1000, p99 * 1000, failed)


async def _connection(target: Target, deadline: float, numbers: itertools.count[int]) -> tuple[list[float], int]:
    latencies: list[float] = []
    failed = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    while (started := time.perf_counter()) < deadline:
        writer.write(target.request(next(numbers)))
        if await _status(reader) == 200:
            latencies.append(time.perf_counter() - started)
        else:
            failed += 1
    writer.close()
    return latencies, failed


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end, and return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        while int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
            await reader.readuntil(b"\r\n")
        await reader.readexactly(2)
    else:
        start = lower.index(b"content-length:") + len(b"content-length:")
        await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
    return int(head[9:12])
