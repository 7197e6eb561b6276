"""Measure what semroute adds to the first token of a stream, and how many tokens a second it keeps, beside a stub.

    python bench/streaming.py            # half a minute
    python bench/streaming.py --quick
    python bench/streaming.py --json

The stub sends tokens at a model's pace. `pass-through` is an OpenAI client in front of an OpenAI provider. `translated`
is an Anthropic client in front of the same provider. The time to the first token is measured in two ways: call after
call on one connection, and with all streams begun at the same moment. The targets take turns, so a slow moment of the
machine is slow for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from bench.processes import free_port, semroute, server

STREAMS = 16
TOKENS = 100
ALONE = 60
TOKEN = " tok"
PACE_S = 0.01
ROUTES = """
providers: {{stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}}}
models: {{stub: {{provider: stub, name: stub}}}}
default: {{models: [stub]}}
"""
Figures = dict[str, dict[str, float]]


@dataclass
class Target:
    """Where requests go, and what was measured there."""

    port: int
    path: str
    first_alone_ms: list[float] = field(default_factory=list)
    first_together_ms: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)

    def request(self, tokens: int) -> bytes:
        """Return one streamed call as bytes, for a connection that stays open."""
        body = {"model": "stub", "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": "Hi"}]}
        encoded = json.dumps(body).encode()
        head = f"POST {self.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(encoded)}\r\n\r\n".encode() + encoded


async def stub(port: int) -> None:
    """Run a provider that sends tokens at a model's pace. Late tokens come together."""

    def piece(delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return chunked(b"data: " + json.dumps({"id": "c", "model": "stub", "choices": [choice]}).encode() + b"\n\n")

    def chunked(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    token = piece({"content": TOKEN})
    last = piece({}, "stop") + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                tokens = json.loads(await reader.readexactly(length))["max_tokens"] if length else TOKENS
                started = time.perf_counter()
                writer.write(head + token)
                for number in range(1, tokens):
                    await asyncio.sleep(max(0.0, started + number * PACE_S - time.perf_counter()))
                    writer.write(token)
                    await writer.drain()
                writer.write(last)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as listening:
        await listening.serve_forever()


async def stream(target: Target, tokens: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Read one stream to its end. Return the time to its first token in ms."""
    started = time.perf_counter()
    writer.write(target.request(tokens))
    data, first_ms = b"", 0.0
    while not data.endswith(b"\r\n0\r\n\r\n"):
        piece = await reader.read(65536)
        if not piece:
            raise SystemExit(f"port {target.port}: the stream broke: {data[-200:]!r}")
        data += piece
        if not first_ms and TOKEN.encode() in data:
            first_ms = (time.perf_counter() - started) * 1000
    if data.count(TOKEN.encode()) != tokens:
        raise SystemExit(f"port {target.port}: got {data.count(TOKEN.encode())} tokens, expected {tokens}")
    return first_ms


async def alone(target: Target) -> list[float]:
    """Return the times to the first token of short streams, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    firsts = [await stream(target, 1, reader, writer) for _ in range(ALONE)]
    writer.close()
    return firsts


async def together(target: Target) -> tuple[list[float], float]:
    """Begin several streams at the same moment.

    Return their times to the first token, and their tokens a second in total.
    """
    connections = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(STREAMS)]
    started = time.perf_counter()
    firsts = await asyncio.gather(*(stream(target, TOKENS, *connection) for connection in connections))
    elapsed_s = time.perf_counter() - started
    for _, writer in connections:
        writer.close()
    return list(firsts), STREAMS * TOKENS / elapsed_s


async def measure(targets: dict[str, Target], rounds: int) -> None:
    """Measure the targets in turn, round by round. The first round warms up."""
    for number in range(rounds + 1):
        for target in targets.values():
            first_alone_ms = await alone(target)
            first_together_ms, tokens_per_s = await together(target)
            if number:
                target.first_alone_ms += first_alone_ms
                target.first_together_ms += first_together_ms
                target.tokens_per_s.append(tokens_per_s)


def figures_of(targets: dict[str, Target]) -> Figures:
    """Return the medians, what each target adds to the stub's times, and what share of its rate it keeps."""
    medians = {
        name: {
            "first_token_ms_1": statistics.median(target.first_alone_ms),
            f"first_token_ms_{STREAMS}": statistics.median(target.first_together_ms),
            f"tokens_per_s_{STREAMS}": statistics.median(target.tokens_per_s),
        }
        for name, target in targets.items()
    }
    direct = next(iter(medians.values()))
    for figures in medians.values():
        added = {f"added_{key}": value - direct[key] for key, value in figures.items() if key.startswith("first")}
        kept = figures[f"tokens_per_s_{STREAMS}"] / direct[f"tokens_per_s_{STREAMS}"]
        figures |= {**added, "tokens_kept": kept}
    return medians


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--stub", type=int, metavar="PORT", help="be the stub")
    options = parser.parse_args()
    if options.stub:
        asyncio.run(stub(options.stub))
    stub_port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all.yaml").write_text(ROUTES.format(port=stub_port))
        with (
            server([sys.executable, __file__, "--stub", str(stub_port)], stub_port),
            semroute(Path(folder), log_level="warning") as (port, _),
        ):
            targets = {
                "stub, direct": Target(stub_port, "/v1/chat/completions"),
                "pass-through (openai to openai)": Target(port, "/v1/chat/completions"),
                "translated (anthropic to openai)": Target(port, "/v1/messages"),
            }
            asyncio.run(measure(targets, 3 if options.quick else 8))
    figures = figures_of(targets)
    if options.json:
        print(json.dumps(figures))
        return
    table = Table("", *next(iter(figures.values())))
    for name, values in figures.items():
        table.add_row(name, *(f"{value:.2f}" for value in values.values()))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
