"""Long answers and callers that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from litestar import Litestar, Response
from litestar.types import Receive, Scope, Send

Result = TypeVar("Result")
COMMENT = b": keep-alive\n\n"


class CallerGoneError(Exception):
    """The caller closed the connection: there is nobody to answer."""


class Presence:
    """Whether the caller of a request is still there. `close` it.

    The request's body must have been read: what `receive` gives next is the end of the connection.
    """

    def __init__(self, receive: Receive) -> None:
        self._gone = asyncio.ensure_future(_disconnected(receive))

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """Cancel the block when the caller goes away. Raises `CallerGoneError`."""
        task = asyncio.current_task()
        assert task is not None
        cancelled_before, gone = task.cancelling(), False

        def cancel(_: asyncio.Future[None]) -> None:
            nonlocal gone
            gone = True
            task.cancel()

        self._gone.add_done_callback(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if gone and task.uncancel() <= cancelled_before:
                raise CallerGoneError from None
            raise
        finally:
            self._gone.remove_done_callback(cancel)

    def close(self) -> None:
        """Watch no longer."""
        self._gone.cancel()


async def while_connected(work: Awaitable[Result], receive: Receive) -> Result:
    """Do the work, but cancel it when the caller goes away. Raises `CallerGoneError`."""
    with contextlib.closing(Presence(receive)) as presence, presence.needed():
        return await work


async def stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait for its end."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


class EventStream(Response[Any]):
    """An answer of server-sent events. While there is none to send, a comment keeps the connection alive.

    When the caller goes away the generator is closed at once, and with it the provider's call: the framework's own
    stream leaves a generator that waits for a slow caller to the garbage collector.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        presence: Presence,
        *,
        close: Callable[[], Awaitable[None]],
        keepalive_s: float,
        whole: Callable[[], bool],
    ) -> None:
        """Takes over the `presence`. `close` ends what the events are made of; it is called once, also where no event
        was ever asked for.

        `whole` says, after the end, whether it was a good one.
        """
        super().__init__(None)
        self._events = events
        self._presence = presence
        self._close = close
        self._keepalive_s = keepalive_s
        self.whole = whole
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
        try:
            with self._presence.needed():
                await self._send(send)
        except CallerGoneError:
            pass
        finally:
            self._presence.close()
            await self._close()

    async def _send(self, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._head.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        line = _Line(send, self._keepalive_s)
        try:
            async with contextlib.aclosing(self._events) as events:
                async for event in events:
                    if event:
                        await line.send(event)
            await line.send(b"", more=False)
        finally:
            line.close()


class _Line:
    """Sends pieces, and a comment when there was none for a while. One timer, no task, on the way that is common."""

    def __init__(self, send: Send, idle_s: float) -> None:
        self._send = send
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._busy = asyncio.Lock()
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(idle_s, self._beat)

    async def send(self, piece: bytes, *, more: bool = True) -> None:
        """Send a piece. Returns when the caller takes more."""
        async with self._busy:
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self._last = self._loop.time()

    def close(self) -> None:
        """No more comments."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    async def _remark(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the caller has gone: who waits for that learns it himself
            await self.send(COMMENT)

    def _beat(self) -> None:
        idle_s = self._loop.time() - self._last
        if idle_s >= self._idle_s and not self._busy.locked():
            self._comment = self._loop.create_task(self._remark())
            idle_s = 0.0
        self._timer = self._loop.call_later(max(self._idle_s - idle_s, self._idle_s / 10), self._beat)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
