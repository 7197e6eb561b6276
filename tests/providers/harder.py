"""Faults that come and go, long answers, odd encodings: more of what the fault server can do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import brotli

from tests.providers.exchange import Exchange, head
from tests.providers.scenarios import (
    FOREVER_S,
    WORDS,
    Scenario,
    chunk,
    chunks,
    completion,
    encode,
    failure,
    ok,
)

LONG_WORDS = tuple(f"word{number} " for number in range(60))
LONG = "".join(LONG_WORDS)


def _long(exchange: Exchange) -> list[bytes]:
    """The events of an answer of sixty tokens."""
    model = exchange.seen.model
    return [*(chunk(model, {"content": word}) for word in LONG_WORDS), chunk(model, {}, "stop"), chunk(model, None)]


async def _send(exchange: Exchange, events: list[bytes], *, done: bool = True) -> None:
    await exchange.start_events()
    for data in events:
        await exchange.event(data)
    if done:
        await exchange.event(b"[DONE]")
        await exchange.end_events()


# --- faults that come and go ------------------------------------------------------------------------------------------


async def flaky(exchange: Exchange) -> None:
    """Status 500 to the first so many requests."""
    if exchange.seen.nth < exchange.argument:
        return await exchange.answer(500, failure("Try again"))
    await ok(exchange)


async def limited(exchange: Exchange) -> None:
    """Status 429 without a word of when, to the first so many requests."""
    if exchange.seen.nth < exchange.argument:
        return await exchange.answer(429, failure("Slow down", "rate_limit_exceeded"))
    await ok(exchange)


async def retry_after(exchange: Exchange) -> None:
    """Status 429 to the first request, which asks to wait so many seconds."""
    if exchange.seen.nth == 0:
        return await exchange.answer(
            429, failure("Slow down", "rate_limit_exceeded"), retry_after=str(exchange.argument)
        )
    await ok(exchange)


async def outage(exchange: Exchange) -> None:
    """Status 503 for so many tenths of a second from the first request on, then good answers."""
    if exchange.seen.since_first_s < exchange.argument / 10:
        return await exchange.answer(503, failure("Overloaded", "overloaded"))
    await ok(exchange)


async def remaining(exchange: Exchange) -> None:
    """A good answer that says how many requests are left."""
    limits = {"x_ratelimit_limit_requests": "60", "x_ratelimit_reset_requests": "30s"}
    await exchange.answer(
        200, encode(completion(exchange.seen.model)), x_ratelimit_remaining_requests=str(exchange.argument), **limits
    )


async def slow(exchange: Exchange) -> None:
    """A good answer after so many hundredths of a second."""
    await asyncio.sleep(exchange.argument / 100)
    await ok(exchange)


async def late_error(exchange: Exchange) -> None:
    """Status 500 after so many tenths of a second."""
    await asyncio.sleep(exchange.argument / 10)
    await exchange.answer(500, failure("Too late"))


async def late_close(exchange: Exchange) -> None:
    """Closes the connection without an answer, after so many tenths of a second."""
    await asyncio.sleep(exchange.argument / 10)
    exchange.cut()


async def late_token(exchange: Exchange) -> None:
    """A stream whose head comes at once, and its first token after so many tenths of a second."""
    if not exchange.seen.streamed:
        await asyncio.sleep(exchange.argument / 10)
        return await ok(exchange)
    await exchange.start_events()
    await asyncio.sleep(exchange.argument / 10)
    for data in chunks(exchange.seen):
        await exchange.event(data)
    await exchange.end_events()


# --- long answers -----------------------------------------------------------------------------------------------------


async def long(exchange: Exchange) -> None:
    """Sixty tokens."""
    if not exchange.seen.streamed:
        message = {"role": "assistant", "content": LONG}
        return await exchange.answer(200, encode(completion(exchange.seen.model, message)))
    await _send(exchange, _long(exchange))


async def long_cut(exchange: Exchange) -> None:
    """A stream that is cut after so many of sixty tokens."""
    if not exchange.seen.streamed:
        body = encode(completion(exchange.seen.model, {"role": "assistant", "content": LONG}))
        await exchange.write(head(200, {"content-type": "application/json", "content-length": str(len(body))}))
        await exchange.write(body[: len(body) * 2 // 3])
        return exchange.cut()
    await _send(exchange, _long(exchange)[: exchange.argument], done=False)
    exchange.cut()


async def long_stall(exchange: Exchange) -> None:
    """A stream that says nothing more after so many of sixty tokens."""
    if exchange.seen.streamed:
        await _send(exchange, _long(exchange)[: exchange.argument], done=False)
    await asyncio.sleep(FOREVER_S)


async def long_malformed(exchange: Exchange) -> None:
    """A stream whose so-manyth event is no JSON; those that follow are."""
    events = _long(exchange)
    events.insert(exchange.argument, b'{"id": "chatcmpl-1", "choices": [{"del')
    await _send(exchange, events)


async def no_finish(exchange: Exchange) -> None:
    """`[DONE]` without a finish reason."""
    await _send(exchange, _long(exchange)[:40])


async def duplicate_finish(exchange: Exchange) -> None:
    """The finish reason three times."""
    *words, finish, last = _long(exchange)
    await _send(exchange, [*words, finish, finish, finish, last])


async def no_usage(exchange: Exchange) -> None:
    """A good answer that does not say what it consumed."""
    if not exchange.seen.streamed:
        body = {**completion(exchange.seen.model), "usage": None}
        return await exchange.answer(200, encode(body))
    await _send(exchange, [data for data in chunks(exchange.seen) if b'"choices": []' not in data])


async def counts_cut(exchange: Exchange) -> None:
    """Tells its usage with so many events: with each, how many there were so far. Cut before it says why it ends."""
    await exchange.start_events()
    for number, word in enumerate(WORDS, 1):
        body = json.loads(chunk(exchange.seen.model, {"content": word}))
        if number <= exchange.argument:
            body["usage"] = {"prompt_tokens": 40, "completion_tokens": number, "total_tokens": 40 + number}
        await exchange.event(encode(body))
    exchange.cut()


async def goes_on(exchange: Exchange) -> None:
    """Goes on from an assistant's turn, repeating its last so many words; else the long answer from its start."""
    await _go_on(exchange, exchange.argument)


async def ends_at_once(exchange: Exchange) -> None:
    """Goes on from an assistant's turn; its last word comes with the finish reason."""
    model = exchange.seen.model
    said = next((each["content"] for each in exchange.seen.body["messages"] if each["role"] == "assistant"), "")
    *words, last = LONG_WORDS[said.count(" ") :]
    await _send(
        exchange, [*(chunk(model, {"content": word}) for word in words), chunk(model, {"content": last}, "stop")]
    )


async def thinks_cut(exchange: Exchange) -> None:
    """A stream that is cut before the first word of its answer, after some of its reasoning."""
    await _send(exchange, [chunk(exchange.seen.model, {"reasoning_content": "Well, "})], done=False)
    exchange.cut()


async def no_prefill(exchange: Exchange) -> None:
    """Refuses a conversation that ends with an assistant's turn; goes on when it is asked in words."""
    if exchange.seen.body["messages"][-1]["role"] == "assistant":
        message = (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
        return await exchange.answer(400, failure(message))
    await _go_on(exchange, 0)


async def _go_on(exchange: Exchange, repeated: int) -> None:
    said = next((each["content"] for each in exchange.seen.body["messages"] if each["role"] == "assistant"), "")
    place = max(0, said.count(" ") - repeated)
    words = LONG_WORDS[place:]
    if not exchange.seen.streamed:
        return await long(exchange)
    model = exchange.seen.model
    await _send(exchange, [*(chunk(model, {"content": word}) for word in words), chunk(model, {}, "stop")])


async def tools_cut(exchange: Exchange) -> None:
    """A stream that is cut inside a tool call."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    await _send(exchange, [chunk(exchange.seen.model, {"tool_calls": [call]})], done=False)
    await exchange.end_events()


async def tools_stall(exchange: Exchange) -> None:
    """A stream that says nothing more inside a tool call."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    await _send(exchange, [chunk(exchange.seen.model, {"tool_calls": [call]})], done=False)
    await asyncio.sleep(FOREVER_S)


async def thousand(exchange: Exchange) -> None:
    """An answer in so many chunks of one letter."""
    model = exchange.seen.model
    if not exchange.seen.streamed:
        message = {"role": "assistant", "content": "x" * exchange.argument}
        return await exchange.answer(200, encode(completion(model, message)))
    events = [chunk(model, {"content": "x"}) for _ in range(exchange.argument)]
    await _send(exchange, [*events, chunk(model, {}, "stop"), chunk(model, None)])


async def flood(exchange: Exchange) -> None:
    """An answer without end, as fast as the client reads it; `seen.body["sent"]` counts the bytes."""
    exchange.seen.body["sent"] = 0
    data = chunk(exchange.seen.model, {"content": "x" * 10_000})
    await exchange.start_events()
    while True:
        await exchange.event(data)
        exchange.seen.body["sent"] += len(data)


# --- refusals ---------------------------------------------------------------------------------------------------------


async def context_length(exchange: Exchange) -> None:
    """The request is too long for the model."""
    message = "This model's maximum context length is 128 tokens. However, your messages resulted in 999 tokens."
    await exchange.answer(400, failure(message, "context_length_exceeded"))


async def late_context_length(exchange: Exchange) -> None:
    """The same, after so many tenths of a second."""
    await asyncio.sleep(exchange.argument / 10)
    await context_length(exchange)


async def content_policy(exchange: Exchange) -> None:
    """The request is against the provider's rules."""
    message = "Your request was rejected as a result of our safety system."
    await exchange.answer(400, failure(message, "content_policy_violation"))


async def filtered(exchange: Exchange) -> None:
    """The answer was filtered away."""
    model = exchange.seen.model
    if not exchange.seen.streamed:
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        return await exchange.answer(200, encode(completion(model, message, "content_filter")))
    await _send(exchange, [chunk(model, {"role": "assistant", "content": ""}), chunk(model, {}, "content_filter")])


async def refused_event(exchange: Exchange) -> None:
    """A refusal inside a stream, after so many words, with a code that nobody knows."""
    await exchange.start_events()
    for data in list(chunks(exchange.seen))[: exchange.argument]:
        await exchange.event(data)
    await exchange.event(failure("The moon is in the wrong house", "a_code_of_tomorrow"))
    await exchange.end_events()


async def limited_in_words(exchange: Exchange) -> None:
    """A rate limit, once, that says in words alone how many seconds it lasts."""
    if exchange.seen.nth > 0:
        return await ok(exchange)
    message = f"Rate limit reached for m in organization o. Please try again in {exchange.argument}.0s."
    await exchange.answer(429, failure(message, "rate_limit_exceeded", "tokens"))


async def error_first(exchange: Exchange) -> None:
    """An error where the first content should be."""
    await _send(exchange, [failure("The engine is overloaded", "server_error", "server_error")])


# --- odd ways to send -------------------------------------------------------------------------------------------------


async def loris(exchange: Exchange) -> None:
    """A byte every so many milliseconds, and never a whole event."""
    kind = "text/event-stream" if exchange.seen.streamed else "application/json"
    await exchange.write(head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
    for byte in b"data: " + b" " * 100_000:
        await exchange.piece(bytes([byte]))
        await asyncio.sleep(exchange.argument / 1000)


async def loris_head(exchange: Exchange) -> None:
    """A byte of the head every so many milliseconds."""
    for byte in b"HTTP/1.1 200 OK\r\nx-padding: " + b"x" * 100_000:
        await exchange.write(bytes([byte]))
        await asyncio.sleep(exchange.argument / 1000)


async def multi_line(exchange: Exchange) -> None:
    """Events of many data lines, with comments and unknown fields between them."""
    if not exchange.seen.streamed:
        return await ok(exchange)
    await exchange.start_events()
    for data in chunks(exchange.seen):
        lines = json.dumps(json.loads(data), indent=1, ensure_ascii=False).encode().split(b"\n")
        await exchange.piece(b": a comment\nid: 1\nretry: 10\n")
        await exchange.piece(b"".join(b"data: " + line + b"\n" for line in lines) + b"\n")
    await exchange.event(b"[DONE]")
    await exchange.end_events()


async def brotlied(exchange: Exchange) -> None:
    """Compressed with brotli, though nobody asked for that."""
    if not exchange.seen.streamed:
        body = brotli.compress(encode(completion(exchange.seen.model)))
        return await exchange.answer(200, body, content_encoding="br")
    events = b"".join(b"data: %b\n\n" % data for data in (*chunks(exchange.seen), b"[DONE]"))
    await exchange.answer(200, brotli.compress(events), "text/event-stream", content_encoding="br")


async def http10(exchange: Exchange) -> None:
    """HTTP/1.0: no length, the end of the connection is the end of the answer."""
    streamed = exchange.seen.streamed
    kind = "text/event-stream" if streamed else "application/json"
    await exchange.write(b"HTTP/1.0 200 OK\r\ncontent-type: " + kind.encode() + b"\r\n\r\n")
    if streamed:
        for data in (*chunks(exchange.seen), b"[DONE]"):
            await exchange.write(b"data: " + data + b"\n\n")
    else:
        await exchange.write(encode(completion(exchange.seen.model)))
    exchange.cut()


HARDER: dict[str, Scenario] = {
    "flaky": flaky,
    "limited": limited,
    "retry-after": retry_after,
    "outage": outage,
    "remaining": remaining,
    "slow": slow,
    "late-error": late_error,
    "late-close": late_close,
    "late-token": late_token,
    "long": long,
    "long-cut": long_cut,
    "long-stall": long_stall,
    "long-malformed": long_malformed,
    "no-finish": no_finish,
    "duplicate-finish": duplicate_finish,
    "no-usage": no_usage,
    "counts-cut": counts_cut,
    "goes-on": goes_on,
    "ends-at-once": ends_at_once,
    "thinks-cut": thinks_cut,
    "no-prefill": no_prefill,
    "tools-cut": tools_cut,
    "tools-stall": tools_stall,
    "thousand": thousand,
    "flood": flood,
    "context-length": context_length,
    "late-context-length": late_context_length,
    "content-policy": content_policy,
    "filtered": filtered,
    "error-first": error_first,
    "refused-event": refused_event,
    "limited-in-words": limited_in_words,
    "loris": loris,
    "loris-head": loris_head,
    "multi-line": multi_line,
    "brotli": brotlied,
    "http10": http10,
}
