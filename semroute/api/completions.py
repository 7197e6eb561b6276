"""The endpoints that route: decision only, or decision and answer. One path for all dialects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import MediaType, Response, post

from semroute.api import docs, errors, guards
from semroute.api.accounting import Books
from semroute.api.errors import AnyRequest, status_of
from semroute.api.streams import CallerGoneError, EventStream, while_connected
from semroute.dialects.base import ClientDialect
from semroute.dialects.native import Native
from semroute.dialects.openai import OpenAI
from semroute.errors import RequestError, SemrouteError
from semroute.gateway import Call, Gateway
from semroute.record import Record
from semroute.router import new_id
from semroute.types import Chunk

CLIENT_CLOSED_REQUEST = 499

_native = Native()
_openai = OpenAI()


@post("/route", guards=[guards.router], status_code=200, operation_class=docs.RouteOperation)
async def route(request: AnyRequest) -> Response[bytes]:
    """Decide where a prompt goes. No model is called."""
    gateway: Gateway = request.app.state.gateway
    body = decode(await request.body())
    call = await gateway.open(_native.parse_request(body, new_id()), request.state.caller)
    try:
        await call.decided()
    except SemrouteError as error:
        return errors.render(request, error, status_of(error), _headers(call))
    return Response(_native.render_decision(call.decision), headers=_headers(call), media_type=MediaType.JSON)


@post("/complete", guards=[guards.caller], status_code=200, operation_class=docs.CompleteOperation)
async def complete(request: AnyRequest) -> Response[Any]:
    """Decide, call the model, and answer with the decision and the account."""
    return await answer(request, _native)


@post("/v1/chat/completions", guards=[guards.caller], status_code=200, operation_class=docs.ChatOperation)
async def chat_completions(request: AnyRequest) -> Response[Any]:
    """OpenAI's Chat Completions: `model` is `auto`, `auto:<route>` or a model id."""
    return await answer(request, _openai)


async def answer(request: AnyRequest, dialect: ClientDialect) -> Response[Any]:
    """Serve one completion in the caller's dialect, streamed or whole."""
    gateway: Gateway = request.app.state.gateway
    chat = dialect.parse_request(decode(await request.body()), new_id())
    call = await gateway.open(chat, request.state.caller)
    books: Books = request.app.state.books
    books.trace(chat.id, request.headers)
    try:
        if not chat.stream:
            completion = await while_connected(call.complete(), request.receive)
            body = dialect.render_completion(completion, call.record)
            return Response(body, headers=_headers(call), media_type=MediaType.JSON)
        chunks = await while_connected(call.stream(), request.receive)
        return EventStream(_events(call, chunks, dialect), _headers(call))
    except SemrouteError as error:
        return errors.render(request, error, status_of(error), _headers(call))
    except CallerGoneError:
        return Response(b"", status_code=CLIENT_CLOSED_REQUEST, headers=_headers(call))


def decode(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises `RequestError`."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "an empty body" if not body else f"{len(body)} bytes that are not JSON ({error})"
        raise RequestError(f"the body: got {what}, expected a JSON object") from None
    except RecursionError:
        raise RequestError("the body: got JSON nested too deeply, expected a JSON object") from None
    if not isinstance(decoded, dict):
        raise RequestError(f"the body: got JSON of type {type(decoded).__name__}, expected an object")
    return decoded


async def _events(call: Call, chunks: AsyncGenerator[Chunk], dialect: ClientDialect) -> AsyncGenerator[bytes]:
    renderer = dialect.stream(call.request, call.decision)
    try:
        async for chunk in chunks:
            yield renderer.chunk(chunk)
    except SemrouteError as error:
        # The head has been sent with status 200: the stream itself must say that it is broken.
        yield renderer.error(error, status_of(error))
    else:
        # A comment, which every client of server-sent events passes over: the dialects have no field for money.
        yield b": x-semroute-cost-usd: %b\n: x-semroute-saved-usd: %b\n" % _money(call.record)
        yield renderer.end(call.record)
    finally:
        await chunks.aclose()


def _money(record: Record) -> tuple[bytes, bytes]:
    return f"{record.cost_usd:f}".encode(), f"{record.saved_usd:f}".encode()


def _headers(call: Call) -> dict[str, str]:
    record = call.record
    headers = {
        "x-semroute-decision": record.request_id,
        "x-semroute-attempts": str(len(record.attempts)),
        "x-semroute-cost-usd": f"{record.cost_usd:f}",
        "x-semroute-saved-usd": f"{record.saved_usd:f}",
        "x-semroute-overhead-ms": f"{record.overhead_ms:.2f}",
    }
    if record.decision.route is not None:
        headers["x-semroute-route"] = record.decision.route
    if (model := record.model or record.decision.model) is not None:
        headers["x-semroute-model"] = model
    return headers
