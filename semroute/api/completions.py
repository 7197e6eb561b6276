"""The endpoints that route: decision only, or decision and answer. One path for all dialects."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive

from semroute.api import error_responses, guards, openapi
from semroute.api.accounting import Books
from semroute.api.error_responses import AnyRequest, status_of
from semroute.api.fast_path import Rendered, headers_of
from semroute.api.idempotency_header import HEADER, answer_once
from semroute.api.request_intake import CLIENT_CLOSED_REQUEST, read_body
from semroute.api.streamed_responses import (
    EVENTS,
    CallerGoneError,
    EventStream,
    Presence,
    StreamSource,
)
from semroute.config.schema.resilience import STALL_S
from semroute.config.schema.rules import SECRET_HEADERS
from semroute.dialects import registry, sse
from semroute.dialects.description import Endpoint
from semroute.dialects.native.client import Native, NativeBody
from semroute.dialects.protocols import ClientDialect
from semroute.dialects.registry import ENDPOINTS
from semroute.dialects.shared.dropped import as_asked
from semroute.dialects.shared.finish_and_token_counts import MAX_TOKENS
from semroute.errors import RequestError, SemrouteError
from semroute.gateway.acting import Call, Chunks
from semroute.gateway.gateway import Gateway
from semroute.json_errors import UNREADABLE, why_unreadable
from semroute.messages import LONG_BYTES, ChatRequest, Chunk, Text, ToolCall, new_id
from semroute.record import Record, served
from semroute.routing.client_requests import session_of
from semroute.routing.facts import DIAL, read_dial

MAX_DEPTH = 128
"""How deeply a body may be nested. Code that walks through deeper bodies could raise `RecursionError`."""
MAX_HEADER_CHARS = 1000
MANY_PARTS = 256
"""An answer, or a piece of a stream, with more parts is written in a thread. Of a piece, sources and log-probabilities
count as well. After more calls than this, every piece is, because calls may wait for each other."""
LONG_STREAM_PARTS = 4096
"""After a stream with more of them, its end is written in a thread, because it may repeat them."""
COST_TRAILER = "x-semroute-cost-trailer"
"""A request header that asks for a comment at the end of the stream with its cost."""
KNOWN_EARLY = (
    "x-semroute-decision",
    "x-semroute-route",
    "x-semroute-held",
    "x-semroute-experiment",
    "x-semroute-arm",
)
"""The headers that are known before any model has answered."""
_CONTROLS = dict.fromkeys([*range(32), 127], " ")

_native = Native()


@post("/route", status_code=200, operation_class=openapi.reads(NativeBody), direct=True)
async def route(request: AnyRequest) -> Response[bytes]:
    """Decide where a prompt goes. No model is called, except a classifier."""
    headers = headers_of(request)
    caller = await guards.admitted(request, "route", headers)
    gateway: Gateway = request.app.state.gateway
    chat = await read(await read_body(request), _native)
    call = await gateway.open(with_headers(chat, headers), caller)
    try:
        await call.decided()
    except SemrouteError as error:
        return _refusal(request, call, error)
    return Rendered(_native.render_decision(call.account.decision), account_headers(call))


def _handler(endpoint: Endpoint) -> HTTPRouteHandler:
    """Return the handler for the requests to one path of a dialect."""

    async def complete(request: AnyRequest) -> Response[Any]:
        return await answer(request, endpoint.client, media_type=endpoint.media_type)

    async def complete_by(request: AnyRequest, model: str) -> Response[Any]:
        return await answer(request, endpoint.client, {"model": model}, media_type=endpoint.media_type)

    by_path = "{model:str}" in endpoint.path
    handler = complete_by if by_path else complete
    handler.__doc__ = endpoint.about
    operation = openapi.reads(endpoint.body, *(["model"] if by_path else []))
    return post(endpoint.path, status_code=200, operation_class=operation, direct=not by_path)(handler)


async def answer(
    request: AnyRequest,
    dialect: ClientDialect,
    in_path: Mapping[str, Any] = MappingProxyType({}),
    *,
    media_type: str = EVENTS,
    memory: AnswerMemory | None = None,
) -> Response[Any]:
    """Serve one completion in the caller's dialect, streamed or whole. Each `Idempotency-Key` is served once.

    `in_path`: fields of the body that stand in the path. `media_type`: the media type of a stream. `memory`: has
    earlier answers that the request builds on, and keeps this answer.
    """
    headers = headers_of(request)
    caller = await guards.admitted(request, "complete", headers)
    body = await read_body(request)
    key = headers.get(HEADER)

    async def make(receive: Receive) -> Response[Any]:
        asked = body if memory is None else await memory.recall(body)
        try:
            chat = with_headers(await read(asked, dialect, in_path), headers)
        except RequestError as error:
            raise error if memory is None else memory.where_asked(error) from None
        gateway: Gateway = request.app.state.gateway
        books: Books = request.app.state.books
        call = await gateway.open(chat, caller)
        books.trace(chat.id, chat.headers)
        if chat.stream:
            source: StreamSource = CallStream(request, call, dialect, media_type)
            source = source if memory is None else memory.keeping(source, chat)
            return EventStream(source, Presence(receive), request.app.state.keepalive_s)
        return await _whole(request, call, chat, dialect, receive, memory)

    return await make(request.receive) if key is None else answer_once(request, caller, body, key, make)


async def _whole(
    request: AnyRequest,
    call: Call,
    chat: ChatRequest,
    dialect: ClientDialect,
    receive: Receive,
    memory: AnswerMemory | None,
) -> Response[Any]:
    """Return the whole answer of a call."""
    try:
        with Presence(receive):
            completion = await call.complete()
        render = partial(dialect.render_completion, completion, call.account.record, chat)
        much = chat.long or len(completion.raw) > LONG_BYTES or len(completion.parts) > MANY_PARTS
        body = await asyncio.to_thread(render) if much else render()
        if memory is not None:
            body = await memory.keep(body, chat)
        return Rendered(body, account_headers(call))
    except SemrouteError as error:
        return _refusal(request, call, error)
    except CallerGoneError:
        return Response(b"", status_code=CLIENT_CLOSED_REQUEST, headers=account_headers(call))


class AnswerMemory(Protocol):
    """A caller's earlier answers. They are kept from one request to the next."""

    async def recall(self, body: bytes) -> bytes:
        """Return the body with everything that it refers to. Raises `RequestError` and `StoreError`."""
        ...

    def where_asked(self, error: RequestError) -> RequestError:
        """Return an error about that body as one about the body that the caller sent."""
        ...

    async def keep(self, answer: bytes, chat: ChatRequest) -> bytes:
        """Keep a whole answer, if the request allows that. Returns the answer as the caller gets it."""
        ...

    def keeping(self, source: StreamSource, chat: ChatRequest) -> StreamSource:
        """Return the same stream. Its answer is kept before its end is sent."""
        ...


class CallStream:
    """A call as the `StreamSource` of a stream."""

    def __init__(self, request: AnyRequest, call: Call, dialect: ClientDialect, media_type: str) -> None:
        self.media_type = media_type
        self._request = request
        self._call = call
        self._renderer = dialect.stream(call.request, call.account.decision)
        self._chunks: Chunks | None = None
        self._parts = self._calls = 0
        self._last: bytes | None = None

    async def open(self) -> None:
        """Wait for the first content. Raises `SemrouteError`."""
        self._chunks = await self._call.stream()

    def headers(self, *, early: bool) -> dict[str, str]:
        """Return the headers about the call so far. `early`: those known before any model has answered."""
        headers = account_headers(self._call)
        return {name: headers[name] for name in KNOWN_EARLY if name in headers} if early else headers

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the answer except its last event. Raises `SemrouteError` if the answer breaks off."""
        assert self._chunks is not None
        async for chunk in self._chunks:
            parts, calls = _counts(chunk)
            self._parts += parts
            self._calls += calls
            render = self._renderer.chunk
            yield render(chunk) if max(parts, self._calls) <= MANY_PARTS else await asyncio.to_thread(render, chunk)
        if self._parts > LONG_STREAM_PARTS or self._calls > MANY_PARTS:
            self._last = await asyncio.to_thread(self._renderer.end, self._call.account.record)

    def end(self) -> bytes:
        """Return the last event of a whole answer."""
        record = self._call.account.record
        last = self._renderer.end(record) if self._last is None else self._last
        # The dialects have no field for the cost, so it is a comment. Not every client accepts one, so a request must
        # ask for it.
        if COST_TRAILER in self._call.request.headers and self._renderer.keep_alive == sse.KEEP_ALIVE:
            return b": x-semroute-cost-usd: %b\n: x-semroute-saved-usd: %b\n%b" % (*_money(record), last)
        return last

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        """Return the error, with its status."""
        return _refusal(self._request, self._call, error)

    def failure(self, error: SemrouteError) -> bytes:
        """Return the error as an event. The head was sent with status 200, so the stream must say that it broke off."""
        record = self._call.account.record
        told = record.attempts and self._call.request.stream_usage
        usage = self._renderer.chunk(Chunk(usage=record.usage)) if told else b""
        return usage + self._renderer.error(error, status_of(error))

    def farewell(self, error: SemrouteError) -> bytes:
        """Return the error as an event, for one reader of several."""
        return copy.copy(self._renderer).error(error, status_of(error))  # a copy: other readers' event numbers stay

    @property
    def keep_alive(self) -> bytes:
        """Return what the dialect sends to keep a connection alive."""
        return self._renderer.keep_alive

    @property
    def patience_s(self) -> float:
        """Return how many seconds a caller may take nothing of the answer: as long as a provider may send nothing."""
        timeouts = self._call.timeouts
        return min(timeouts.stall_s or STALL_S, timeouts.stream_s)

    @property
    def whole(self) -> bool:
        """Return whether the answer is complete and good."""
        return self._call.account.record.outcome == "ok"

    async def aclose(self) -> None:
        """End the call."""
        if self._chunks is not None:
            await self._chunks.aclose()


async def read(body: bytes, dialect: ClientDialect, in_path: Mapping[str, Any] = MappingProxyType({})) -> ChatRequest:
    """Read a request, in a thread if it is long, so that others need not wait. Raises `RequestError`."""
    if len(body) <= LONG_BYTES:
        return _parse(body, dialect, in_path)
    return await asyncio.to_thread(_parse, body, dialect, in_path)


def _parse(body: bytes, dialect: ClientDialect, in_path: Mapping[str, Any]) -> ChatRequest:
    fields = {**decode(body), **in_path}
    dial = fields.pop(DIAL, None)  # our own field in every dialect, which no provider knows
    if dial is not None:
        dial = read_dial(dial, f"$.{DIAL}")
    chat = dialect.parse_request(fields, new_id())
    params = chat.params
    if (limit := params.max_tokens) is not None and not 0 < limit <= MAX_TOKENS:
        # Some servers accept -1 as no limit. A negative limit would free what other requests have reserved.
        params = msgspec.structs.replace(params, max_tokens=MAX_TOKENS if limit > 0 else None)
    return msgspec.structs.replace(chat, params=params, cost_quality=dial, size_bytes=len(body))


def decode(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises `RequestError`."""
    try:
        decoded = msgspec.json.decode(body)
    except UNREADABLE as error:
        what = why_unreadable(error, body) if body else "an empty body"
        raise RequestError(f"the body: got {what}, expected a JSON object") from None
    # Only a body with this many brackets can be nested this deeply, and hardly any body has them.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper(decoded, MAX_DEPTH):
        raise RequestError(f"the body: got JSON nested too deeply, expected at most {MAX_DEPTH} levels")
    if not isinstance(decoded, dict):
        raise RequestError(f"the body: got JSON of type {type(decoded).__name__}, expected an object")
    return decoded


def _deeper(document: Any, levels: int) -> bool:
    """Return whether JSON is nested more deeply than this. It goes level by level, so depth needs no stack."""
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(levels + 1):
        inside = (value.values() if isinstance(value, dict) else value for value in level)
        level = [each for values in inside for each in values if isinstance(each, (dict, list))]
        if not level:
            return False
    return True


def _counts(chunk: Chunk) -> tuple[int, int]:
    """Count what takes time to write, and the tool calls that begin."""
    parts, calls = len(chunk.parts) + len(chunk.logprobs), 0
    for part in chunk.parts:
        if type(part) is Text:
            parts += len(part.citations)
        elif type(part) is ToolCall and part.name:
            calls += 1
    return parts, calls


def _header_text(text: str) -> str:
    """Return a text in a form that a header can carry."""
    return text.encode("ascii", "replace").decode().translate(_CONTROLS)[:MAX_HEADER_CHARS]


def with_headers(chat: ChatRequest, sent: Mapping[str, str]) -> ChatRequest:
    """Return the request with its headers for rules, without those that hold keys, and its conversation's name."""
    headers = {name: value for name, value in sent.items() if name not in SECRET_HEADERS}
    return msgspec.structs.replace(chat, headers=headers, session=session_of(headers, chat.raw, chat.metadata))


def _money(record: Record) -> tuple[bytes, bytes]:
    return f"{record.cost_usd:f}".encode(), f"{record.saved_usd:f}".encode()


def _refusal(request: AnyRequest, call: Call, error: SemrouteError) -> Response[bytes]:
    """Return the answer with the error that ended a call."""
    return error_responses.render(request, error, status_of(error), account_headers(call), asked_for(call))


def asked_for(call: Call) -> int:
    """Return how many times models were asked for the answer of a call."""
    return sum(attempt.purpose == "answer" for attempt in call.account.record.attempts)


def account_headers(call: Call) -> dict[str, str]:
    """Return the headers of an answer that describe its call."""
    record = call.account.record
    made = served(record.attempts)
    headers = {
        "x-semroute-decision": record.request_id,
        "x-semroute-attempts": str(len(record.attempts)),
        "x-semroute-overhead-ms": f"{record.overhead_ms:.2f}",
        "x-request-id": record.request_id,  # for OpenAI's clients
        "request-id": record.request_id,  # for Anthropic's clients
    }
    if call.account.costs_known:
        headers["x-semroute-cost-usd"] = f"{record.cost_usd:f}"
        headers["x-semroute-saved-usd"] = f"{record.saved_usd:f}"
    if made is not None and made.dropped:
        asked = call.request
        notes = as_asked(made.dropped, registry.dialect(asked.dialect).field_names, asked.raw)
        headers["x-semroute-dropped"] = _header_text(", ".join(notes))
    if call.held:
        headers["x-semroute-held"] = call.held
    if record.decision.route is not None:
        headers["x-semroute-route"] = record.decision.route
    if record.experiment:
        headers["x-semroute-experiment"], headers["x-semroute-arm"] = record.experiment, record.arm
    if (model := record.decision.model if made is None else made.model) is not None:
        headers["x-semroute-model"] = model
    return headers


HANDLERS = (route, *map(_handler, ENDPOINTS))
