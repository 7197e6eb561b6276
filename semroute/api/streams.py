"""Long answers and callers that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

from litestar import Litestar, Response
from litestar.types import Receive, Scope, Send

Result = TypeVar("Result")


class CallerGoneError(Exception):
    """The caller closed the connection: there is nobody to answer."""


async def while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """Do the work, but cancel it when the caller goes away. Raises `CallerGoneError`.

    The request's body must have been read: what `receive` gives next is the end of the connection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerGoneError
    finally:
        gone.cancel()
        await _stop(task)


class EventStream(Response[Any]):
    """An answer of server-sent events.

    When the caller goes away the generator is closed at once, and with it the provider's call: the framework's own
    stream leaves a generator that waits for a slow caller to the garbage collector.
    """

    def __init__(self, events: AsyncGenerator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(None)
        self._events = events
        self._head = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            **headers,
        }

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> Any:
        """The ASGI application that sends it."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(CallerGoneError):
            await while_connected(self._send(send), receive)

    async def _send(self, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._head.items()]
        async with contextlib.aclosing(self._events) as events:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for event in events:
                if event:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
