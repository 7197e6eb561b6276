"""The `Idempotency-Key` header: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Litestar, Response
from litestar.types import Message, Receive, Scope, Send

from semroute.api import error_responses, guards, http_connection
from semroute.api.error_responses import AnyRequest
from semroute.api.passthrough_call import PassthroughAnswer
from semroute.api.streamed_responses import CallerGoneError, EventStream, Presence
from semroute.caller import Caller
from semroute.errors import IdempotencyError, RequestError
from semroute.execution.idempotency import Idempotency
from semroute.execution.running_answer import Running

HEADER = "idempotency-key"
MAX_KEY_CHARS = 255

log = logging.getLogger("semroute.api")

Answer = Callable[[Receive], Awaitable[Response[Any]]]
"""Makes the answer to a request. It stops when `receive` says that the caller has gone."""


def answer_once(request: AnyRequest, caller: Caller, body: bytes, key: str, answer: Answer) -> Response[Any]:
    """Return the one answer for a key.

    Raises `RequestError` if the key is not valid, and `IdempotencyError` if it was used for another request.
    """
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise RequestError(f"{HEADER}: got {len(key)} characters, expected 1 to {MAX_KEY_CHARS}", param=HEADER)
    idempotency: Idempotency = request.app.state.idempotency
    parts = (guards.identity(request, caller), request.url.path, key)
    scope = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    async def make(running: Running) -> bool:
        return await _make(request, running, answer)

    return SharedAnswer(idempotency.follow(scope, hashlib.sha256(body).hexdigest(), make), request)


class SharedAnswer(Response[Any]):
    """An answer that is made once for several callers, in a task of its own."""

    def __init__(self, running: Running, request: AnyRequest) -> None:
        super().__init__(None)
        self._running = running
        self._request = request

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> Any:
        """Return the ASGI application that sends the answer."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with Presence(receive):
                await self._send(scope, receive, send)
        except CallerGoneError:
            pass
        finally:
            self._running.leave()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = self._running
        if not await running.head():
            refusal = error_responses.answer_to(self._request, running.error).to_asgi_response(None, self._request)
            await refusal(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": running.status, "headers": list(running.headers)})
        last = b""
        try:
            async for piece in running.pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except IdempotencyError as error:
            if running.farewell is None:  # the head announced more bytes than come
                if (caller := http_connection.connection_of(scope)) is not None:
                    caller.abort()
                return
            last = running.farewell(error)
        await send({"type": "http.response.body", "body": last, "more_body": False})


async def _make(request: AnyRequest, running: Running, answer: Answer) -> bool:
    """Make an answer and put it into `running`. Returns whether it is complete and good."""

    async def receive() -> Any:
        await running.abandoned.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            running.start(message["status"], tuple((bytes(name), bytes(value)) for name, value in message["headers"]))
        elif message["type"] == "http.response.body" and message["body"]:
            await running.add(message["body"])

    try:
        response = await answer(receive)
    except Exception as error:  # noqa: BLE001 - this is a task of its own, so nobody else would see the error
        response = error_responses.answer_to(request, error)
    if isinstance(response, EventStream) and not running.abandoned.is_set():
        running.farewell = response.farewell
    await response.to_asgi_response(None, request)(request.scope, receive, send)
    kept = not isinstance(response, EventStream | PassthroughAnswer) or response.whole
    return running.status // 100 == 2 and kept
