"""The service, with a meter of how long its event loop makes others wait.

A tick is due every millisecond. A stall is the time between two ticks. If the process used less processor time than
that between them, its processor time counts instead: on a busy machine the process itself has to wait, and that is not
the event loop's fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from semroute.api.app import create_app

TICK_S = 0.001
PATH = "/stall"
"""The path that answers with the worst stall since the last question, in milliseconds."""


class Meter:
    """An ASGI application around the service's own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._worst_s = 0.0
        self._ticking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Application entry point."""
        self._ticking = self._ticking or asyncio.create_task(self._tick())
        if scope.get("path") != PATH:
            await self._inner(scope, receive, send)
            return
        body = b"%.2f" % (self._worst_s * 1000)
        self._worst_s = 0.0
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _tick(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            before, used = time.perf_counter(), time.process_time()
            while True:
                await asyncio.sleep(TICK_S)
                now, using = time.perf_counter(), time.process_time()
                self._worst_s = max(self._worst_s, min(now - before - TICK_S, using - used))
                before, used = now, using


def metered() -> Meter:
    """Return the application, for uvicorn's `--factory`."""
    return Meter(create_app())
