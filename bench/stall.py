"""Measure how long one hostile answer or request holds up everybody else: the worst stall of the event loop.

    python bench/stall.py             # a minute
    python bench/stall.py --quick     # a tenth of the sizes
    python bench/stall.py --json
    python bench/stall.py --only stream   # only the cases whose name contains this

Callers decide what models say, and anybody may run a provider. So all of it is text from strangers. Each case sends one
request to a real service, and this script plays its provider. Then it asks the service for its worst stall
(`stall_service.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console
from rich.table import Table

from bench.processes import free_port, server
from bench.stall_service import PATH

LIMIT_MS = 50.0
"""The longest stall that is allowed with 1 MB of text, in milliseconds."""
SIZE = 1_000_000
ANSWER_S = 120.0
REPEATS = 3
"""How often each case runs. The best run counts, because others may have met a garbage collection or a busy machine."""
ROUTES = """
providers:
  stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1", api_key: k}}
  claude: {{dialect: anthropic, base_url: "http://127.0.0.1:{port}", api_key: k}}
  gemini: {{dialect: gemini, base_url: "http://127.0.0.1:{port}", api_key: k}}
models:
  stub: {{provider: stub, name: stub, breaker: &never {{failures: 1000000, min_calls: 1000000}}}}
  claude: {{provider: claude, name: claude, breaker: *never}}
  gemini: {{provider: gemini, name: gemini-3, breaker: *never}}
default: {{models: [stub]}}
log: {{content: full}}
routes:
  - {{name: json, utterances: [a, b, c, d], models: [stub], policy: {{cascade: {{checks: {{json: true}}}}}}}}
  - {{name: code, utterances: [e, f, g, h], models: [stub], policy: {{cascade: {{checks: {{code_parses: true}}}}}}}}
  - {{name: words, utterances: [m, n, o, p], models: [stub],
      policy: {{cascade: {{checks: {{no_hedging: true, no_refusal: true, forbids: [zz], regex: "(a|b)*c"}}}}}}}}
  - {{name: schema, utterances: [i, j, k, l], models: [stub], policy: {{cascade: {{checks: {{json_schema:
      {{items: {{uniqueItems: true, pattern: "^(a+)+$"}}}}}}}}}}}}
  - {{name: judged, utterances: [q, r, s, t], models: [stub],
      policy: {{cascade: {{checks: {{judge: {{model: stub, rubric: good}}}}}}}}}}
policy: {{retry: {{max_attempts: 2, base_s: 0.01}}}}
rules:
  - {{name: words, when: {{keywords: [supercalifragilistic, "\\u00fcber alles"]}}, models: [stub]}}
  - {{name: pattern, when: {{regex: "(x+x+)+y"}}, models: [stub]}}
  - {{name: code, when: {{all: [{{has: [code]}}, {{language: [fr]}}, {{script: [greek]}}]}}, models: [stub]}}
"""
Body = dict[str, Any]


class Case(NamedTuple):
    """One request, and the answer of the provider."""

    name: str
    body: Body
    answer: bytes
    """The provider's answer, with its head."""
    path: str = "/v1/chat/completions"


def whole(document: Any) -> bytes:
    """Return an HTTP answer in one piece."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def completion(content: str, **more: Any) -> Body:
    """Return a completion in OpenAI's format."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}, **more}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def streamed(body: bytes, headers: str = "") -> bytes:
    """Return a streamed HTTP answer, which ends when its connection closes."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}connection: close\r\n\r\n".encode() + body


def delta(**fields: Any) -> bytes:
    """Return one event of a stream in OpenAI's format."""
    choice = {"index": 0, "finish_reason": None, "delta": fields}
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode() + b"\n\n"


END = delta(content="hello") + delta().replace(b"null", b'"stop"') + b"data: [DONE]\n\n"
GEMINI = {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}


def fill(piece: bytes, size: int) -> bytes:
    """Repeat a piece until it has `size` bytes."""
    return piece * (size // len(piece))


def chunked(body: bytes, piece: int) -> bytes:
    """Encode a body in chunks of `size` bytes."""
    cut = (body[place : place + piece] for place in range(0, len(body), piece))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut) + b"0\r\n\r\n"


def asked(route: str = "", **fields: Any) -> Body:
    """Return the body of a request."""
    model = f"auto:{route}" if route else "stub"
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}


def answers(size: int) -> Iterator[Case]:
    """Return the cases of whole answers."""
    fine = whole(completion("fine"))
    for name, route, text in (
        ("open fence", "json", "```" + "a" * size),
        ("fences", "json", "```\n" * (size // 4)),
        ("escaped quotes", "code", '```js\n"' + '\\"' * (size // 2) + "\n```"),
        ("open comments", "code", "```js\n" + "/*" * (size // 2) + "\n```"),
        ("brackets", "code", "```js\n" + "(" * size + "\n```"),
        ("deep Python", "code", "```python\n" + "-" * size + "1\n```"),
        ("long Python", "code", "```python\n" + "x=1\n" * (size // 4) + "```"),
        ("like objects", "schema", json.dumps([[{"a": i} for i in range(size // 12)]])),
        ("exponential pattern", "schema", json.dumps(["a" * size + "!"])),
        ("almost hedging", "words", "i'm not " * (size // 8)),
        ("nested JSON", "json", "[" * size),
        ("small lists", "json", "[" + "[]," * (size // 3) + "0]"),
        ("a judge's reply", "judged", "```\n" + "[" * size),
    ):
        yield Case(f"answer: {name}", asked(route), whole(completion(text)))
    yield Case("answer: text", asked(), whole(completion("word " * (size // 5))))
    yield Case(
        "answer: text, translated",
        asked(model="stub") | {"max_tokens": 9},
        whole(completion("é" * size)),
        "/v1/messages",
    )
    for name, more in (
        ("choices", {"choices": [completion("a")["choices"][0]] * (size // 90)}),
        ("unknown fields", {"x": [{}] * (size // 4)}),
        ("nested fields", {"x": json.loads("[" * 900 + "]" * 900)}),
    ):
        yield Case(f"answer: {name}", asked(), whole(completion("a") | more))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = {"message": {"role": "assistant", "content": "", "tool_calls": [call] * (size // 85)}}
    yield Case("answer: tool calls", asked(), whole(completion("", **calls)))
    yield Case("answer: tool calls, translated", asked(max_tokens=9), whole(completion("", **calls)), "/v1/messages")
    token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
    probable = {"logprobs": {"content": [token] * (size // 75)}}
    yield Case("answer: log-probabilities", asked(logprobs=True), whole(completion("a", **probable)))
    yield Case("answer: open brackets", asked(), whole(b"[" * size))
    yield Case("answer: markup", asked(), whole(b"<" * size))
    refused = json.dumps({"error": {"message": "model " * (size // 6)}}).encode()
    yield Case("answer: an error", asked(), whole(refused).replace(b"200 OK", b"400 No"))
    packed = gzip.compress(json.dumps(completion("a" * size)).encode())
    bomb = gzip.compress(b" " * 200 * size)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    yield Case("answer: compressed", asked(), head % len(packed) + packed)
    yield Case("answer: compressed, 200 MB", asked(), head % len(bomb) + bomb)
    yield Case("answer: fine", asked(), fine)


def streams(size: int) -> Iterator[Case]:
    """Return the cases of streamed answers."""
    stream = asked(stream=True)
    for name, body in (
        ("one line", b"data: " + b"a" * size),
        ("tiny events", fill(delta(content="a"), size) + END),
        ("empty events", fill(b"data: {}\n\n", size) + END),
        ("comments", fill(b":\n", size) + END),
        ("empty lines", fill(b"\n", size) + END),
        ("carriage returns", fill(b"\r", size) + END),
        ("data lines", fill(b"data:\n", size) + b"\n" + END),
        ("one long event", delta(content="a" * size) + END),
        ("malformed events", fill(b"data: {\n\ndata: {}\n\n", size) + END),
        ("tool calls", fill(delta(tool_calls=[{"index": 0, "function": {"arguments": "a"}}]), size) + END),
    ):
        yield Case(f"stream: {name}", stream, streamed(body))
    tiny = fill(delta(content="a"), size) + END
    yield Case("stream: chunks of a byte", stream, streamed(chunked(tiny, 1), "transfer-encoding: chunked\r\n"))
    yield Case("stream: compressed", stream, streamed(gzip.compress(tiny), "content-encoding: gzip\r\n"))
    yield Case("stream: to Anthropic's client", stream | {"max_tokens": 9}, streamed(tiny), "/v1/messages")
    yield Case(
        "stream: to a Responses client",
        {"model": "stub", "input": "hi", "stream": True},
        streamed(tiny),
        "/v1/responses",
    )
    yield Case(
        "stream: to semroute's client", {"prompt": "hi", "model": "stub", "stream": True}, streamed(tiny), "/complete"
    )
    begun = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    ping = b"event: content_block_delta\ndata: " + json.dumps(said).encode() + b"\n\n"
    yield Case("stream: of Anthropic", stream | {"model": "claude"}, streamed(begun + fill(ping, size)))
    piece = b"data: " + json.dumps(GEMINI).encode() + b"\n\n"
    yield Case("stream: of Gemini", stream | {"model": "gemini"}, streamed(fill(piece, size)))


def requests(size: int) -> Iterator[Case]:
    """Return the cases of requests."""
    fine = whole(completion("fine"))

    def user(content: Any) -> Body:
        return {"role": "user", "content": content}

    def tool(parameters: Any) -> Body:
        return {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}

    nested = json.loads('{"a":' * 300 + "1" + "}" * 300)
    for name, fields in (
        ("one text", {"messages": [user("word " * (size // 5))]}),
        ("one word", {"messages": [user("x" * size)]}),
        ("no ASCII", {"messages": [user("é " * (size // 3))]}),
        ("spaces", {"messages": [user(" " * size + "x")]}),
        ("line ends", {"messages": [user("\n" * (size // 2) + "x")]}),
        ("lines", {"messages": [user("a line of text\n" * (size // 16))]}),
        ("messages", {"messages": [user("a")] * (size // 32)}),
        ("parts", {"messages": [user([{"type": "text", "text": "a"}] * (size // 30))]}),
        ("pictures", {"messages": [user([{"type": "image_url", "image_url": {"url": "data:;;" + ";" * size}}])]}),
        ("tools", {"tools": [tool({})] * (size // 95)}),
        ("one tool", {"tools": [tool({"properties": {f"p{i}": {"type": "string"} for i in range(size // 30)}})]}),
        ("nested tools", {"tools": [tool(nested)] * (size // 2100)}),
        ("extra fields", {"extra": [{}] * (size // 4)}),
        ("metadata", {"metadata": {f"k{i}": "v" for i in range(size // 14)}}),
        ("stop words", {"stop": ["a"] * (size // 5)}),
        ("fallbacks", {"models": ["stub"] * (size // 8)}),
    ):
        for model in ("stub", "auto") if name not in ("extra fields", "stop words", "metadata") else ("stub",):
            yield Case(f"request: {name}, {model}", asked(**fields) | {"model": model}, fine)
    yield Case(
        "request: messages, translated",
        asked(messages=[user("a")] * (size // 32)) | {"model": "claude", "max_tokens": 9},
        fine,
    )
    yield Case("request: to /route", {"prompt": "word " * (size // 5)}, fine, "/route")
    refused = whole({"error": {"message": "no"}}).replace(b"200 OK", b"400 No")
    yield Case(
        "request: lines, refused",
        asked(messages=[user("".join(f"line number {i}\n" for i in range(size // 18)))]),
        refused,
    )
    yield Case("request: embeddings", {"model": "stub", "input": ["a"] * (size // 5)}, fine, "/v1/embeddings")
    yield Case(
        "request: counted", asked(messages=[user("a")] * (size // 32), max_tokens=9), fine, "/v1/messages/count_tokens"
    )


class Provider:
    """A provider that answers each request with the bytes of the case."""

    def __init__(self) -> None:
        self.answer = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                writer.write(self.answer)
                await writer.drain()
                if b"connection: close" in self.answer[:300]:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the caller has left, or all cases are done
        finally:
            writer.close()


def _length(head: bytes) -> int:
    return next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)


async def ask(port: int, path: str, body: bytes | None = None) -> bytes:
    """Send a request, and read the service's answer to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    method = b"GET" if body is None else b"POST"
    head = b"%b %b HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    writer.write(head % (method, path.encode()) + b"content-length: %d\r\n\r\n" % len(body or b"") + (body or b""))
    try:
        async with asyncio.timeout(ANSWER_S):
            return await reader.read()
    finally:
        writer.close()


async def measure(port: int, provider: Provider, cases: Iterator[Case]) -> AsyncIterator[tuple[Case, int, float]]:
    """Run the cases. Yield each with the size of its text and its worst stall in milliseconds."""
    for case in cases:
        provider.answer, body, worst = case.answer, json.dumps(case.body).encode(), []
        for _ in range(REPEATS):
            await ask(port, PATH)
            await ask(port, case.path, body)
            worst.append(float((await ask(port, PATH)).rpartition(b"\r\n\r\n")[2]))
        yield case, max(len(body), len(case.answer)), min(worst)


async def run(size: int, only: str, show: Callable[[Case, int, float], None]) -> dict[str, float]:
    """Run all cases."""
    provider, upstream, port = Provider(), free_port(), free_port()
    listening = await asyncio.start_server(provider.serve, "127.0.0.1", upstream, limit=2**26)
    stalls: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "routes.yaml").write_text(ROUTES.format(port=upstream))  # noqa: ASYNC240 - nothing else runs yet
        environ = {"SEMROUTE_ROUTES": folder, "SEMROUTE_DATABASE_URL": f"sqlite:///{folder}/log.db"}
        app = ["bench.stall_service:metered", "--factory", "--log-level", "error"]
        command = [sys.executable, "-m", "uvicorn", *app, "--port", str(port), "--lifespan", "on"]
        with server(command, port, environ=environ, folder=ROOT):
            cases = (case for make in (answers, streams, requests) for case in make(size) if only in case.name)
            async for case, bytes_, stall_ms in measure(port, provider, cases):
                stalls[case.name] = stall_ms
                show(case, bytes_, stall_ms)
    listening.close()
    return stalls


def main() -> int:
    """Measure and print. Exit with 1 if a stall is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    table = Table("case", "kB", "worst stall, ms", title=f"at most {LIMIT_MS:g} ms is wanted")

    def show(case: Case, size: int, stall_ms: float) -> None:
        mark = "[red]" if stall_ms > LIMIT_MS else ""
        table.add_row(case.name, f"{size / 1000:,.0f}", f"{mark}{stall_ms:.1f}")

    stalls = asyncio.run(run(SIZE // 10 if options.quick else SIZE, options.only, show))
    if options.json:
        print(json.dumps(stalls))
    else:
        Console(width=110).print(table)
    return 1 if max(stalls.values()) > LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
