"""What the fault server can do: a small coroutine each, with a raw socket. To add one, write it and name it below."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.providers.exchange import Exchange, Seen, head, phrase

WORDS = ("Grüße ", "from ", "the ", "provider ", "🙂", ".")
TEXT = "".join(WORDS)
PROMPT_TOKENS, CACHED_TOKENS = 12, 4
TOOL_ARGUMENTS = '{"city":"Köln"}'
FOREVER_S = 600.0


# --- bodies -----------------------------------------------------------------------------------------------------------


def usage() -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": len(WORDS),
        "total_tokens": PROMPT_TOKENS + len(WORDS),
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }


def completion(model: str, message: dict[str, Any] | None = None, finish_reason: str = "stop") -> dict[str, Any]:
    message = message or {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage()}


def chunk(model: str, delta: dict[str, Any] | None, finish_reason: str | None = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model, "choices": choices, "usage": None}
    return encode({**body, "usage": usage()} if delta is None else body)


def chunks(seen: Seen) -> Iterable[bytes]:
    """All events of a good answer but `[DONE]`."""
    yield chunk(seen.model, {"role": "assistant", "content": ""})
    for word in WORDS:
        yield chunk(seen.model, {"content": word})
    yield chunk(seen.model, {}, "stop")
    if (seen.body.get("stream_options") or {}).get("include_usage"):
        yield chunk(seen.model, None)


def failure(message: str, code: str | None = None, kind: str = "invalid_request_error") -> bytes:
    return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def tool_call(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", **fields}}


# --- scenarios --------------------------------------------------------------------------------------------------------


async def ok(exchange: Exchange) -> None:
    """A good answer."""
    if not exchange.seen.streamed:
        return await exchange.answer(200, encode(completion(exchange.seen.model)))
    await exchange.start_events()
    for data in chunks(exchange.seen):
        await exchange.event(data)
    await exchange.event(b"[DONE]")
    await exchange.end_events()


async def status(exchange: Exchange) -> None:
    """An error status, as OpenAI words it."""
    code = exchange.argument
    if code == 404:
        body = failure(f"The model `{exchange.seen.model}` does not exist", "model_not_found")
    else:
        body = failure(f"Failed with {phrase(code)}")
    await exchange.answer(code, body, x_request_id="req_1")


async def html(exchange: Exchange) -> None:
    """A page of some proxy, with whatever status."""
    await exchange.answer(
        exchange.argument or 200, b"<!DOCTYPE html><html><title>Bad gateway</title></html>", "text/html"
    )


async def error_200(exchange: Exchange) -> None:
    """An error that claims to be fine."""
    await exchange.answer(200, failure("Upstream is on fire", "server_error"))


async def error_event(exchange: Exchange) -> None:
    """A rate limit in the middle of a stream."""
    await exchange.start_events()
    await exchange.event(chunk(exchange.seen.model, {"content": WORDS[0]}))
    await exchange.event(failure("Slow down", "rate_limit_exceeded"))
    await exchange.end_events()


async def empty_choices(exchange: Exchange) -> None:
    await exchange.answer(200, encode({**completion(exchange.seen.model), "choices": []}))


async def malformed_json(exchange: Exchange) -> None:
    await exchange.answer(200, encode(completion(exchange.seen.model))[:-20])


async def quotes_key(exchange: Exchange) -> None:
    """An error message that holds the key it was sent."""
    await exchange.answer(401, failure(f"Bad header: {exchange.seen.headers['authorization']}"))


async def quotes_address(exchange: Exchange) -> None:
    """An error of some proxy that says where it is."""
    host, _, port = exchange.seen.headers["host"].partition(":")
    text = f"No route to http://{host}:{port}/v1; Apache Server at {host} Port {port}"
    await exchange.answer(exchange.argument, failure(text))


INNER = 'upstream http://gpu-7.internal:9000/v1 of account 123456789012: <html lang="en"><h1>nginx</h1></html>'


async def quotes_inner(exchange: Exchange) -> None:
    """An error that names what is behind the provider: with a status, or with 200 and inside a stream."""
    if exchange.argument == 200 and exchange.seen.streamed:
        await exchange.start_events()
        await exchange.event(chunk(exchange.seen.model, {"content": WORDS[0]}))
        await exchange.event(failure(INNER, "server_error"))
        return await exchange.end_events()
    await exchange.answer(exchange.argument, failure(INNER, "server_error"))


async def empty_body(exchange: Exchange) -> None:
    await exchange.answer(200, b"")


async def huge(exchange: Exchange) -> None:
    """An answer without end, of so many MiB."""
    await exchange.write(head(200, {"content-type": "application/json", "connection": "close"}))
    for _ in range(exchange.argument):
        await exchange.write(b" " * 2**20)
    exchange.cut()


async def hang(exchange: Exchange) -> None:
    """Never answers."""
    await asyncio.sleep(FOREVER_S)


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def close(exchange: Exchange) -> None:
    exchange.cut()


async def not_http(exchange: Exchange) -> None:
    await exchange.write(b"220 mail.example.org ESMTP\r\n\r\n")
    exchange.cut()


async def cut_body(exchange: Exchange) -> None:
    """Promises more bytes than it sends."""
    body = encode(completion(exchange.seen.model))
    await exchange.write(head(200, {"content-type": "application/json", "content-length": "99999"}) + body)
    exchange.cut()


async def bad_chunked(exchange: Exchange) -> None:
    """Breaks the chunked transfer encoding; with a 1 most likely not in one read with what precedes it."""
    await exchange.start_events()
    await exchange.event(chunk(exchange.seen.model, {"content": WORDS[0]}))
    await asyncio.sleep(0.1 * exchange.argument)
    await exchange.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    exchange.cut()


async def slow_first_token(exchange: Exchange) -> None:
    """Starts a stream at once, sends its role and comments, but no content."""
    await exchange.start_events()
    await exchange.event(chunk(exchange.seen.model, {"role": "assistant", "content": ""}))
    while True:
        await exchange.piece(b": still thinking\n\n")
        await asyncio.sleep(0.02)


async def cut_after(exchange: Exchange) -> None:
    """Ends a stream cleanly, as HTTP goes, after so many events."""
    await exchange.start_events()
    for data in list(chunks(exchange.seen))[: exchange.argument]:
        await exchange.event(data)
    await exchange.end_events()


async def reset_after(exchange: Exchange) -> None:
    """Cuts the connection after so many events of a stream."""
    await exchange.start_events()
    for data in list(chunks(exchange.seen))[: exchange.argument]:
        await exchange.event(data)
    exchange.cut()


async def half_event(exchange: Exchange) -> None:
    """Ends a stream inside an event."""
    await exchange.start_events()
    await exchange.piece(b"data: " + chunk(exchange.seen.model, {"content": WORDS[0]})[:-10])
    await exchange.end_events()


async def stall_after(exchange: Exchange) -> None:
    """Says nothing more after so many events of a stream, but keeps the connection."""
    await exchange.start_events()
    for data in list(chunks(exchange.seen))[: exchange.argument]:
        await exchange.event(data)
    while True:
        await exchange.piece(b": ping\n\n")
        await asyncio.sleep(0.02)


async def paced(exchange: Exchange) -> None:
    """A good stream of so many words, one every 20 ms."""
    await exchange.start_events()
    for _ in range(exchange.argument):
        await exchange.event(chunk(exchange.seen.model, {"content": "word "}))
        await asyncio.sleep(0.02)
    await exchange.event(chunk(exchange.seen.model, {}, "stop"))
    await exchange.event(b"[DONE]")


async def endless(exchange: Exchange) -> None:
    """A stream that goes on until the client leaves."""
    await exchange.start_events()
    while True:
        await exchange.event(chunk(exchange.seen.model, {"content": "on "}))
        await asyncio.sleep(0.01)


async def flood(exchange: Exchange) -> None:
    """The same, as fast as the client takes it."""
    await exchange.start_events()
    while True:
        await exchange.event(chunk(exchange.seen.model, {"content": "on " * 7000}))


async def cut_error(exchange: Exchange) -> None:
    """An error status whose body is cut."""
    await exchange.write(head(exchange.argument, {"content-length": "99"}) + b'{"error": ')
    exchange.cut()


async def no_last_line_end(exchange: Exchange) -> None:
    """A good stream whose last event lacks its blank line: `[DONE]`, or with a 1 the one before it."""
    events = [*chunks(exchange.seen), b"[DONE]"]
    *others, last = events[: len(events) - exchange.argument]
    await exchange.start_events()
    for data in others:
        await exchange.event(data)
    await exchange.piece(b"data: " + last)
    await exchange.end_events()


async def half_usage(exchange: Exchange) -> None:
    """A stream that ends inside its usage, after its finish reason."""
    *others, last = chunks(exchange.seen)
    await exchange.start_events()
    for data in others:
        await exchange.event(data)
    await exchange.piece(b"data: " + last[:20])
    await exchange.end_events()


async def malformed_chunk(exchange: Exchange) -> None:
    await exchange.start_events()
    await exchange.event(chunk(exchange.seen.model, {"content": WORDS[0]}))
    await exchange.event(b'{"choices": [{"delta": ')
    await exchange.end_events()


async def no_done(exchange: Exchange) -> None:
    """A whole answer without `[DONE]`."""
    await exchange.start_events()
    for data in chunks(exchange.seen):
        await exchange.event(data)
    await exchange.end_events()


async def gzipped(exchange: Exchange) -> None:
    if not exchange.seen.streamed:
        body = gzip.compress(encode(completion(exchange.seen.model)))
        return await exchange.answer(200, body, content_encoding="gzip")
    events = b"".join(b"data: %b\n\n" % data for data in (*chunks(exchange.seen), b"[DONE]"))
    await exchange.answer(200, gzip.compress(events), "text/event-stream", content_encoding="gzip")


async def bad_gzip(exchange: Exchange) -> None:
    await exchange.answer(200, encode(completion(exchange.seen.model)), content_encoding="gzip")


async def redirect(exchange: Exchange) -> None:
    await exchange.answer(307, b"", "text/plain", location="https://elsewhere.example/v1/chat/completions")


async def whole_answer(exchange: Exchange) -> None:
    """Does not know `stream`."""
    await exchange.answer(200, encode(completion(exchange.seen.model)))


async def whole_untyped(exchange: Exchange) -> None:
    """As before, and calls it plain text."""
    await exchange.answer(200, b" \n" + encode(completion(exchange.seen.model)), "text/plain")


async def marked(exchange: Exchange) -> None:
    """A whole answer after a byte order mark, as .NET writes it."""
    await exchange.answer(200, b"\xef\xbb\xbf" + encode(completion(exchange.seen.model)))


async def marked_untyped(exchange: Exchange) -> None:
    """As before, and calls it plain text."""
    await exchange.answer(200, b"\xef\xbb\xbf" + encode(completion(exchange.seen.model)), "text/plain")


async def marked_error(exchange: Exchange) -> None:
    """An error after a byte order mark."""
    await exchange.answer(400, b'\xef\xbb\xbf{"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}')


async def crlf_sse(exchange: Exchange) -> None:
    """Events with CRLF, comments and a byte order mark."""
    await exchange.start_events()
    await exchange.piece(b"\xef\xbb\xbf: OPENROUTER PROCESSING\r\n\r\n")
    for data in (*chunks(exchange.seen), b"[DONE]"):
        await exchange.piece(b"data: " + data + b"\r\n\r\n")
    await exchange.end_events()


async def split_bytes(exchange: Exchange) -> None:
    """A stream in writes of one byte, also inside UTF-8."""
    await exchange.start_events()
    for data in (*chunks(exchange.seen), b"[DONE]"):
        for byte in b"data: " + data + b"\n\n":
            await exchange.piece(bytes([byte]))
    await exchange.end_events()


async def tools(exchange: Exchange) -> None:
    """A tool call."""
    model = exchange.seen.model
    if not exchange.seen.streamed:
        message = {"role": "assistant", "content": None, "tool_calls": [tool_call(arguments=TOOL_ARGUMENTS)]}
        return await exchange.answer(200, encode(completion(model, message, "tool_calls")))
    await exchange.start_events()
    first = {"role": "assistant", "content": None, "tool_calls": [tool_call(arguments="")]}
    await exchange.event(chunk(model, first))
    for start in range(0, len(TOOL_ARGUMENTS), 5):
        piece = {"index": 0, "function": {"arguments": TOOL_ARGUMENTS[start : start + 5]}}
        await exchange.event(chunk(model, {"tool_calls": [piece]}))
    await exchange.event(chunk(model, {}, "tool_calls"))
    await exchange.event(b"[DONE]")
    await exchange.end_events()


async def cookie(exchange: Exchange) -> None:
    """Sets a cookie, which must not come back with the next call."""
    await exchange.answer(200, encode(completion(exchange.seen.model)), set_cookie="session=caller-1; Path=/")


Scenario = Callable[[Exchange], Awaitable[None]]
PLAIN: dict[str, Scenario] = {
    "ok": ok,
    "status": status,
    "html": html,
    "error-200": error_200,
    "error-event": error_event,
    "empty-choices": empty_choices,
    "empty-body": empty_body,
    "malformed-json": malformed_json,
    "quotes-key": quotes_key,
    "quotes-address": quotes_address,
    "quotes-inner": quotes_inner,
    "huge": huge,
    "hang": hang,
    "reset": reset,
    "close": close,
    "not-http": not_http,
    "cut-body": cut_body,
    "bad-chunked": bad_chunked,
    "slow-first-token": slow_first_token,
    "cut-after": cut_after,
    "reset-after": reset_after,
    "half-event": half_event,
    "cut-error": cut_error,
    "no-last-line-end": no_last_line_end,
    "half-usage": half_usage,
    "stall-after": stall_after,
    "paced": paced,
    "endless": endless,
    "flood": flood,
    "malformed-chunk": malformed_chunk,
    "no-done": no_done,
    "gzip": gzipped,
    "bad-gzip": bad_gzip,
    "redirect": redirect,
    "whole-answer": whole_answer,
    "whole-untyped": whole_untyped,
    "marked": marked,
    "marked-untyped": marked_untyped,
    "marked-error": marked_error,
    "crlf-sse": crlf_sse,
    "split-bytes": split_bytes,
    "tools": tools,
    "cookie": cookie,
}
