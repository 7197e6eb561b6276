"""Count the files and functions of semroute that one request crosses. A reader must know them to follow it.

    python -m bench.rooms [--json] [--list]

The service runs in this process, with the decision log and the metrics. A stub in the same process plays the provider.
A profile function notes each function of semroute that is called during a request. A function counts if each of several
like requests calls it, and if it does not also run while no request is under way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import semroute
from bench.processes import free_port
from bench.stub import Stub
from semroute.api.server import listen, serve
from semroute.settings import Settings

REQUESTS = 5
"""How many requests of each kind are followed."""
SETTLED_S = 0.3
"""How many seconds to wait for the record of an answer to be written."""
IDLE_S = 2.0
"""How many seconds the service is watched without a request."""
START_S = 120.0
PACKAGE = str(Path(semroute.__file__).parent) + os.sep
UNNAMED = frozenset({"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"})
"""Code objects that count as part of the function around them."""
ROUTES = """
providers: {{stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1", api_key: k}}}}
models: {{m: {{provider: stub, name: m, tier: simple, input_price: 1, output_price: 2}}}}
default: {{models: [m]}}
routes:
  - {{name: billing, utterances: ["why was I charged twice", "I want my money back"], models: [m]}}
  - {{name: weather, utterances: ["will it rain", "how warm is it today"], models: [m]}}
"""
PIECE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
STREAM = b"".join(
    b"data: " + json.dumps({**PIECE, **event}).encode() + b"\n\n"
    for event in (
        {"choices": [{"index": 0, "delta": {"content": "The quick brown"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": " fox."}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 10, "total_tokens": 22}},
    )
)
STREAM += b"data: [DONE]\n\n"
STREAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(STREAM) + STREAM


class Streaming(Stub):
    """A provider that also streams, if it is asked to."""

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        if b'"stream":true' in (self._pending + data).replace(b" ", b""):
            self._pending = b""
            self._transport.write(STREAMED)
        else:
            super().data_received(data)


class Crossed:
    """A recorder of the functions of semroute that are called while it is open."""

    def __init__(self) -> None:
        self._open = False
        self._codes: set[CodeType] = set()
        self._calls = 0

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call. This is the function for `sys.setprofile`."""
        if self._open and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self._codes.add(frame.f_code)
            self._calls += 1

    @contextlib.contextmanager
    def during(self, found: list[tuple[set[CodeType], int]]) -> Iterator[None]:
        """Append to `found` what is called until the block ends."""
        self._codes, self._calls, self._open = set(), 0, True
        try:
            yield
        finally:
            self._open = False
            found.append((self._codes, self._calls))


def stubbed(port: int) -> None:
    """Serve the stub until the process ends."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Streaming, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(run())


def post(url: str, body: Mapping[str, Any]) -> bytes:
    """Send a request and return the body of the answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text: bytes = answer.read()
        return text


def until_ready(url: str) -> None:
    """Wait until the service answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health/live", timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit("the service did not answer in time after its start")


def measure(url: str, crossed: Crossed) -> dict[str, Any]:
    """Return the files and functions that every request of a kind crossed, by kind."""
    figures: dict[str, Any] = {}
    post(f"{url}/route", {"prompt": "hello"})
    time.sleep(SETTLED_S)
    idle: list[tuple[set[CodeType], int]] = []
    with crossed.during(idle):
        time.sleep(IDLE_S)
    for name, path, more in (
        ("decision", "/route", {}),
        ("whole answer", "/v1/chat/completions", {}),
        ("streamed answer", "/v1/chat/completions", {"stream": True}),
    ):
        found: list[tuple[set[CodeType], int]] = []
        for number in range(REQUESTS + 2):
            prompt = f"why was I charged twice, number {number} of {name}"
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}
            with crossed.during(found):
                answer = post(url + path, body if path != "/route" else {"prompt": prompt})
                time.sleep(SETTLED_S)
            assert answer, name
        each = found[2:]  # the first ones fill caches
        codes = set.intersection(*(codes for codes, _ in each)) - idle[0][0]
        functions = sorted(
            f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_qualname}"
            for code in codes
            if code.co_name not in UNNAMED
        )
        files = sorted({function.partition(":")[0] for function in functions})
        calls = sorted(calls for _, calls in each)[len(each) // 2]
        figures[name] = {"files": files, "functions": functions, "calls": calls}
    return figures


def show(figures: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Print the figures."""
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{'one request':<18}{'files':>8}{'functions':>11}{'calls':>8}")
    for name, each in figures.items():
        print(f"{name:<18}{len(each['files']):>8}{len(each['functions']):>11}{each['calls']:>8}")
        if arguments.list:
            print("\n".join(f"    {function}" for function in each["functions"]))


def main() -> None:
    """Run the service in the main thread, and send requests from another."""
    parser = argparse.ArgumentParser(description="Count the files and functions that one request crosses.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="also print the name of each function")
    arguments = parser.parse_args()
    stub, port, crossed = free_port(), free_port(), Crossed()
    failed: list[BaseException] = []

    def ask() -> None:
        sys.setprofile(None)
        try:
            until_ready(f"http://127.0.0.1:{port}")
            show(measure(f"http://127.0.0.1:{port}", crossed), arguments)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "routes").mkdir()
        (folder / "routes" / "routes.yaml").write_text(ROUTES.format(port=stub))
        os.chdir(folder)
        settings = Settings(port=port, routes=str(folder / "routes"), log_level="warning")
        for target, given in ((stubbed, (stub,)), (ask, ())):
            threading.Thread(target=target, args=given, daemon=True).start()
        threading.setprofile(crossed.profile)
        sys.setprofile(crossed.profile)
        serve(settings, listen(settings))
        sys.setprofile(None)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
