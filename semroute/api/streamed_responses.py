"""Send long answers, and notice callers that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar

from litestar import Litestar, Response
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from semroute.api import http_connection
from semroute.api.fast_path import encode_headers
from semroute.api.request_intake import CLIENT_CLOSED_REQUEST
from semroute.dialects import sse
from semroute.errors import SemrouteError

Result = TypeVar("Result")
APART_S = 0.2
"""Seconds between the two forms of an error. Google's older libraries for JavaScript, which are also inside of Gemini
CLI, see an error only where it is all that one read gives them. Without a pause most reads would give both forms."""
SETTLED_S = 0.02
"""Seconds that a request is under way before the first look whether its caller has gone."""
HEAD = {
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


EVENTS = "text/event-stream; charset=utf-8"
"""The media type of server-sent events."""


class CallerGoneError(Exception):
    """The caller closed the connection, so nobody waits for the answer."""


class Presence:
    """Watches whether the caller of a request is still there.

    `with presence:` cancels the block when the caller goes away, and then raises `CallerGoneError`. The watch ends with
    the block.

    The request's body must have been read, so `receive` only reports its end and then the end of the connection. It is
    called when the call to the model is under way, not before.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._gone = False
        self._needed_by: asyncio.Task[Any] | None = None
        """The task whose block is under way."""
        self._cancelled_before = 0
        self._timer = self._loop.call_later(SETTLED_S, self._watch)
        self._watching: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        task = self._needed_by = asyncio.current_task(self._loop)
        assert task is not None
        self._cancelled_before = task.cancelling()
        if self._gone:
            task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._needed_by = self._needed_by, None
        assert task is not None
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._gone and isinstance(error, asyncio.CancelledError) and task.uncancel() <= self._cancelled_before:
            raise CallerGoneError from None

    def _watch(self) -> None:
        self._watching = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._needed_by is not None:
            self._needed_by.cancel()


class StreamSource(Protocol):
    """The source of a stream. Call `open`, read its `events`, and always call `aclose`."""

    @property
    def media_type(self) -> str:
        """Return the media type of the events."""
        ...

    async def open(self) -> None:
        """Wait for the first content. Raises `SemrouteError`."""
        ...

    def headers(self, *, early: bool) -> Mapping[str, str]:
        """Return the headers of the answer. `early`: before the first content."""
        ...

    def events(self) -> AsyncGenerator[bytes]:
        """Yield the answer except its last event. Raises `SemrouteError` if the answer breaks off."""
        ...

    def end(self) -> bytes:
        """Return the last event of a whole answer."""
        ...

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        """Return the answer that replaces the stream."""
        ...

    def failure(self, error: SemrouteError) -> bytes:
        """Return the event that says why the stream ends here."""
        ...

    def farewell(self, error: SemrouteError) -> bytes:
        """Return the same event for one reader of several. The stream goes on for the others."""
        ...

    @property
    def keep_alive(self) -> bytes:
        """Return what may be sent now to keep the connection alive, as in `StreamRenderer`. Empty: nothing."""
        ...

    @property
    def patience_s(self) -> float:
        """Return how many seconds the caller may take nothing of the answer."""
        ...

    @property
    def whole(self) -> bool:
        """Return whether the answer is complete and good."""
        ...

    async def aclose(self) -> None:
        """Close what the events come from."""
        ...


class EventStream(Response[Any]):
    """An answer in pieces, mostly server-sent events. If an error comes before the first piece, it is the answer.

    While there is nothing to send, a piece of the dialect keeps the connection alive, mostly a comment. If that happens
    before the first content, the head goes out with it. The headers then cannot name the model, the attempts and the
    cost, and a failure becomes an event of the stream.

    When the caller goes away, the source is closed at once, and with it the provider's call. The framework's own stream
    would leave a generator that waits for a slow caller to the garbage collector.
    """

    def __init__(self, source: StreamSource, presence: Presence, keepalive_s: float) -> None:
        """`presence`: of the caller. The stream is sent inside its block."""
        super().__init__(None)
        self._source = source
        self._presence = presence
        self._keepalive_s = keepalive_s

    @property
    def whole(self) -> bool:
        """Return whether the answer is complete and good. This is valid after its end."""
        return self._source.whole

    def farewell(self, error: SemrouteError) -> bytes:
        """Return the event that tells one reader of several why it gets no more."""
        return self._source.farewell(error)

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> Any:
        """Return the ASGI application that sends the answer."""
        return partial(self._serve, request)

    async def _serve(self, request: Any, scope: Scope, receive: Receive, send: Send) -> None:
        source = self._source
        if (caller := http_connection.connection_of(scope)) is not None:
            caller.be_patient(source.patience_s)
        line = _KeptAlive(send, self._keepalive_s, source)
        instead: Response[bytes] | None = None
        try:
            with self._presence:
                instead = await self._stream(line)
        except CallerGoneError:
            instead = None if line.begun else Response(b"", status_code=CLIENT_CLOSED_REQUEST)
        finally:
            line.close()
            await source.aclose()
        if instead is not None:
            await instead.to_asgi_response(None, request)(scope, receive, send)

    async def _stream(self, line: _KeptAlive) -> Response[bytes] | None:
        """Send the whole stream. If nothing was sent, returns the answer to send instead."""
        source = self._source
        try:
            await source.open()
            await line.begin(source.headers(early=False))
            async with contextlib.aclosing(source.events()) as events:
                async for event in events:
                    if event:
                        await line.send(event)
            last = source.end()
        except SemrouteError as error:
            if not line.begun:
                return source.refusal(error)
            event, end, last = source.failure(error).rpartition(sse.END)
            await line.send(event + end)
            line.close()  # a keep-alive would come between
            if end and last:
                await asyncio.sleep(APART_S)
        await line.send(last, more=False)
        return None


class _KeptAlive:
    """Sends pieces, and keeps the connection alive when there is none for a while. Mostly needs one timer and no task.

    A piece waits while a keep-alive is being sent, and no keep-alive begins while a piece is being sent.
    """

    def __init__(self, send: Send, idle_s: float, source: StreamSource) -> None:
        self._send = send
        self._idle_s = idle_s
        self._source = source
        self.begun = False
        """Whether the head has been sent."""
        self._opened = False
        """Whether the beginning of the next event has been sent."""
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._sending = False
        self._beating: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(idle_s, self._beat)

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the head, unless it is out."""
        await self._rest()
        if not self.begun:
            await self._put(self._head(headers))

    async def _rest(self) -> None:
        """Wait until no keep-alive is being sent."""
        while (beating := self._beating) is not None:
            await asyncio.wait([beating])
            if self._beating is beating:  # no other began meanwhile
                self._beating = None

    async def send(self, piece: bytes, *, more: bool = True) -> None:
        """Send a piece. Returns when the caller takes more."""
        if self._beating is not None:
            await self._rest()
        if self._opened:
            self._opened, piece = False, piece.removeprefix(sse.OPENING)
        await self._put({"type": "http.response.body", "body": piece, "more_body": more})

    def close(self) -> None:
        """Stop keeping the connection alive."""
        self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    async def _put(self, message: HTTPResponseStartEvent | HTTPResponseBodyEvent) -> None:
        self._sending = True
        try:
            await self._send(message)
        finally:
            self._sending = False
        self._last = self._loop.time()

    def _head(self, headers: Mapping[str, str]) -> HTTPResponseStartEvent:
        self.begun = True
        fields = encode_headers({"content-type": self._source.media_type, **HEAD, **headers})
        return {"type": "http.response.start", "status": 200, "headers": fields}

    async def _keep_alive(self) -> None:
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # the caller has gone: the task that sends pieces finds out itself
            piece = self._source.keep_alive
            if not piece:
                return
            if not self.begun:
                await self._put(self._head(self._source.headers(early=True)))
            body, self._opened = b" " if self._opened else piece, piece == sse.OPENING
            await self._put({"type": "http.response.body", "body": body, "more_body": True})

    def _beat(self) -> None:
        idle_s = self._loop.time() - self._last
        if idle_s >= self._idle_s and not self._sending and (self._beating is None or self._beating.done()):
            self._beating = self._loop.create_task(self._keep_alive())
            idle_s = 0.0
        self._timer = self._loop.call_later(max(self._idle_s - idle_s, self._idle_s / 10), self._beat)
