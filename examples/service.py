"""What the examples share: `semroute serve` on their route files, and a provider that runs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import httpx

Reply = Callable[[str, str], tuple[int, str]]
"""Takes the model's name and the prompt, and returns the HTTP status and the text of the answer."""


@contextmanager
def service(routes: Path, log: IO[str], *options: str, **environ: str) -> Iterator[httpx.Client]:
    """Run `semroute serve` on a free port while the block runs, and give a client for it.

    `log` gets what the service prints. Its decision log is in memory, unless `environ` says otherwise.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMROUTE_")}
    kept = {name: value for name, value in os.environ.items() if name == "SEMROUTE_CACHE_DIR"}
    settings = {"SEMROUTE_DATABASE_URL": "memory:", "SEMROUTE_LOG_LEVEL": "warning", **kept, **environ}
    command = [sys.executable, "-m", "semroute", "serve", "--routes", str(routes), "--port", "0", *options]
    process = subprocess.Popen(command, env={**clean, **settings}, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()  # `semroute: 3 routes, 2 models, on http://127.0.0.1:PORT (page: ...)`
    log.write(first)
    if " on http" not in first:
        raise RuntimeError(f"the service did not start: {first}{process.stderr.read()}")
    reader = threading.Thread(target=log.writelines, args=(process.stderr,))
    reader.start()
    try:
        with httpx.Client(base_url=first.partition(" on ")[2].split()[0], timeout=60, trust_env=False) as client:
            wait_until_ready(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stderr.close()


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Ask the service until it can serve, which takes a second or two. Raises `TimeoutError` if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/health/ready").is_success:
                return
        except httpx.ConnectError:
            time.sleep(0.05)
    raise TimeoutError(f"the service is not ready after {seconds:.0f} s, or it ended with {process.poll()}")


@contextmanager
def provider(reply: Reply) -> Iterator[str]:
    """Run a provider that speaks OpenAI's chat completions while the block runs, and give its `base_url`.

    It stands for a real one, so that an example needs no key and no network.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, text = reply(body["model"], body["messages"][-1]["content"])
            answer = json.dumps(_completion(body["model"], text) if status == 200 else _error(text)).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Print no line for a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def _completion(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "c-1", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}


def _error(text: str) -> dict[str, Any]:
    return {"error": {"message": text, "type": "server_error"}}


@contextmanager
def log_file() -> Iterator[IO[str]]:
    """A file for what a service prints, which is gone afterwards."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        yield file
