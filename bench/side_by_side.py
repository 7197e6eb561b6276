"""Compare how much processor time a request takes in two builds of semroute.

    python bench/side_by_side.py OLD NEW                 # five minutes
    python bench/side_by_side.py OLD NEW --quick         # one minute
    python bench/side_by_side.py OLD NEW --json

OLD and NEW are checkouts. The Python of the checkout's `.venv` runs it. To use another Python, name it after a colon:
`../old:../old/venv/bin/python`. Both services run at the same time, in front of the same stub, and are loaded in turn
in short slices. What counts is the processor time of a service's main thread, where its event loop runs. Wall-clock
time would also depend on what else the machine does. Three ratios NEW / OLD are printed: of the smallest slices, of the
lower quartiles, and the median ratio of two slices that followed each other.

The script reads /proc, so it needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from bench.processes import free_port, server

CONNECTIONS = 8
PIECES = 20
"""The pieces of a streamed answer, not counting its end."""
SETTLE_S = 1.0
"""How many seconds a service rests after its start."""
ROUTES = """
providers: {{stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}}}
models:
  stub: {{provider: stub, name: stub, input_price: 1, output_price: 2}}
  other: {{provider: stub, name: other, input_price: 1, output_price: 2}}
default: {{models: [stub, other]}}
routes:
  - name: billing
    utterances: [why was I charged twice, I want my money back, where is my invoice, refund please, cancel my plan]
    models: [stub, other]
  - name: coding
    utterances: [write a python function, fix this loop, refactor this class, write a unit test, parse this json]
    models: [stub, other]
"""


class Kind(NamedTuple):
    """One kind of request."""

    path: str
    body: Callable[[int], dict[str, object]]
    """Returns the body of the n-th request. Prompts to match differ each time, because a service caches prompts."""


def _asks(model: str, prompt: str, **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


CHAT = "/v1/chat/completions"
KINDS = {
    "pinned": Kind(CHAT, lambda _: _asks("stub", "hello")),
    "streamed": Kind(CHAT, lambda _: _asks("stub", "hello", stream=True)),
    "/route": Kind("/route", lambda number: {"prompt": f"please fix loop number {number} in my code"}),
    "semantic": Kind(CHAT, lambda number: _asks("auto", f"please fix loop number {number} in my code")),
}
Ratios = dict[str, float]


async def stub(port: int) -> None:
    """Run a provider that answers at once, whole or in pieces."""

    def chunked(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    def event(choices: list[object], **more: object) -> bytes:
        return chunked(
            b"data: " + json.dumps({"id": "c", "model": "stub", "choices": choices, **more}).encode() + b"\n\n"
        )

    usage = {"prompt_tokens": 10, "completion_tokens": PIECES}
    said = {"role": "assistant", "content": "Hello there"}
    whole = json.dumps(
        {
            "id": "c",
            "model": "stub",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": usage,
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(whole), whole)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = event([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}])
    end = event([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + event([], usage=usage)
    end += chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                if not length or not json.loads(await reader.readexactly(length)).get("stream"):
                    writer.write(answer)
                    continue
                writer.write(head)
                for _ in range(PIECES):
                    writer.write(piece)
                    await asyncio.sleep(0)
                writer.write(end)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as listening:
        await listening.serve_forever()


async def load(port: int, kind: Kind, numbers: range) -> None:
    """Send these requests over a few connections. End the program if an answer has another status than 200."""
    left = iter(numbers)

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        for number in left:
            body = json.dumps(kind.body(number)).encode()
            head = f"POST {kind.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise SystemExit(f"{kind.path}: {answer.decode(errors='replace')}{(await reader.read(1000))!r}")
            _, length, rest = answer.lower().partition(b"content-length: ")
            if length:
                await reader.readexactly(int(rest.partition(b"\r\n")[0]))
            else:
                await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


def cpu_ns(pid: int) -> int:
    """Return the processor time that the main thread of a process has used, in ns."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def measure(services: Sequence[tuple[int, int]], kind: Kind, slices: int, requests: int) -> list[list[float]]:
    """Return the processor time of a request in each slice, in µs, for each service.

    The services take turns, and so does which of them begins. The first slice warms up.
    """
    taken: list[list[float]] = [[] for _ in services]
    for turn in range(slices + 1):
        order = list(enumerate(services))
        for place, (port, pid) in order if turn % 2 else reversed(order):
            before = cpu_ns(pid)
            asyncio.run(load(port, kind, range(turn * requests, (turn + 1) * requests)))
            if turn:
                taken[place].append((cpu_ns(pid) - before) / requests / 1000)
    return taken


def ratios(old: Sequence[float], new: Sequence[float]) -> Ratios:
    """Return NEW / OLD in three ways, and the lower quartile of each build in µs."""
    quarters = [sorted(each)[len(each) // 4] for each in (old, new)]
    return {
        "minimum": min(new) / min(old),
        "lower_quartile": quarters[1] / quarters[0],
        "median": statistics.median(ours / theirs for theirs, ours in zip(old, new, strict=True)),
        "old_us": quarters[0],
        "new_us": quarters[1],
    }


def build_of(text: str) -> tuple[Path, Path]:
    """Return a checkout and the Python that runs it."""
    folder, _, python = text.partition(":")
    found = Path(folder).resolve(), Path(python or f"{folder}/.venv/bin/python").absolute()
    if missing := [path for path in found if not path.exists()]:
        raise SystemExit(f"{missing[0]} does not exist: expected CHECKOUT, or CHECKOUT:PYTHON")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", metavar="CHECKOUT[:PYTHON]", help="the old checkout and the new one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="use fewer and shorter slices")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {','.join(KINDS)}")
    parser.add_argument("--stub", type=int, metavar="PORT", help="be the stub")
    options = parser.parse_args()
    if options.stub:
        asyncio.run(stub(options.stub))
    if len(options.builds) != 2:
        parser.error("expected two checkouts: the old one and the new one")
    kinds = options.kinds.split(",")
    if unknown := [name for name in kinds if name not in KINDS]:
        parser.error(f"got {unknown[0]}, expected some of {', '.join(KINDS)}")
    slices, requests = (8, 200) if options.quick else (30, 400)
    stub_port = free_port()
    figures: dict[str, Ratios] = {}
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        (folder / "routes").mkdir()
        (folder / "routes" / "all.yaml").write_text(ROUTES.format(port=stub_port))
        running.enter_context(server([sys.executable, __file__, "--stub", str(stub_port)], stub_port))
        services = []
        for place, (checkout, python) in enumerate(map(build_of, options.builds)):
            port = free_port()
            command = [str(python), "-m", "semroute", "serve", "--routes", str(folder / "routes"), "--port", str(port)]
            environ = {
                "SEMROUTE_LOG_LEVEL": "warning",
                "SEMROUTE_DATABASE_URL": f"sqlite:///{folder}/{place}.db",
                "PYTHONPATH": str(checkout),
            }
            process = running.enter_context(server(command, port, environ=environ, folder=checkout))
            services.append((port, process.pid))
        time.sleep(SETTLE_S)
        for name in kinds:
            figures[name] = ratios(*measure(services, KINDS[name], slices, requests))
    if options.json:
        print(json.dumps(figures))
        return
    table = Table("NEW / OLD", "minimum", "lower quartile", "median", "OLD µs", "NEW µs")
    for name, each in figures.items():
        shares = (f"{each[key]:.3f}" for key in ("minimum", "lower_quartile", "median"))
        table.add_row(name, *shares, f"{each['old_us']:.0f}", f"{each['new_us']:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
