"""Run work on the log in a process of its own, and pass on how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import Response

from semroute.api import error_responses
from semroute.api.error_responses import AnyRequest, status_of
from semroute.errors import LimitError, OverloadedError, RequestError, SemrouteError, StoreError
from semroute.learning.service_jobs import Order
from semroute.stores.connect import MEMORY

LINES = "application/x-ndjson"
"""The media type of the answer: a JSON object on each line."""
DEADLINE_S = 900.0
"""The longest time that one order may take, in seconds."""
AGAIN_S = 5
"""Seconds after which a caller who was refused may ask again."""
MAX_LINE_BYTES = 64 << 20
"""The longest result."""
MODULE = "semroute.learning.service_jobs"

_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class LearningJobs:
    """Runs one order at a time. Further ones are refused, because each takes a core and some hundred MB."""

    def __init__(self, database_url: str, deadline_s: float = DEADLINE_S) -> None:
        self.database_url = database_url
        self._deadline_s = deadline_s
        self._running: LearningJob | None = None

    def begin(self, request: AnyRequest, order: Order) -> LearningJob:
        """Take the place for an order. The order starts when its answer is sent. Raises `RequestError`."""
        if self.database_url == MEMORY:
            raise RequestError(
                "the log is kept in the memory of the service, where other processes cannot read it: set "
                "SEMROUTE_DATABASE_URL to a file or a server"
            )
        if self._running is not None:
            raise LimitError(
                f"`{self._running.what}` is under way in this service, and only one such work runs at a time: "
                "wait until it has ended",
                retry_after_s=AGAIN_S,
            )
        self._running = LearningJob(self, request, order, self._deadline_s)
        return self._running

    def leave(self, job: LearningJob) -> None:
        """Give back the place."""
        if self._running is job:
            self._running = None

    async def aclose(self) -> None:
        """End the order that is under way."""
        if self._running is not None:
            await self._running.aclose()


class LearningJob:
    """One order, as the source of a streamed answer."""

    media_type = LINES
    keep_alive = b"\n"
    """A blank line. It may be sent at any time between two lines."""
    patience_s = 30.0

    def __init__(self, jobs: LearningJobs, request: AnyRequest, order: Order, deadline_s: float) -> None:
        self.what = order.work
        self.whole = False
        self._jobs = jobs
        self._request = request
        self._order = order
        self._deadline = asyncio.get_running_loop().time() + deadline_s
        self._deadline_s = deadline_s
        self._process: Process | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._first = b""

    async def open(self) -> None:
        """Start the process, and wait for its first line. Raises `SemrouteError`."""
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        command = [sys.executable, "-P", "-m", MODULE]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env=environ, limit=MAX_LINE_BYTES, start_new_session=True
            )
        except OSError as error:
            raise OverloadedError(f"the process for the {self.what} cannot be started: {error.strerror}") from None
        self._feeding = asyncio.create_task(_feed(self._process, self._order))
        self._first = await self._line()

    def headers(self, *, early: bool) -> dict[str, str]:
        """Return the headers of the answer: none but the usual ones."""
        return {}

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the lines of the process. Raises `SemrouteError` if it ends without a result."""
        line = self._first
        while line.startswith(b'{"progress"'):
            yield line
            line = await self._line()
        yield line
        self.whole = True

    async def _line(self) -> bytes:
        """Return the next line. Raises `SemrouteError` if it is an error, or if none comes in time."""
        assert self._process is not None and self._process.stdout is not None
        try:
            async with asyncio.timeout_at(self._deadline):
                line = await self._process.stdout.readline()
                status = None if line else await self._process.wait()
        except TimeoutError:
            raise OverloadedError(
                f"the {self.what} was not ready after {self._deadline_s:g} s, so it was ended: choose fewer days, or "
                f"run `semroute {self.what}`"
            ) from None
        except ValueError:  # the line is too long
            raise OverloadedError(
                f"the result of the {self.what} is larger than {MAX_LINE_BYTES >> 20} MiB: choose fewer days"
            ) from None
        if status is not None:
            raise OverloadedError(f"the process of the {self.what} ended with status {status} and without a result")
        if line.startswith(b'{"error"'):
            failed = msgspec.json.decode(line)
            raise (StoreError if failed["store"] else RequestError)(failed["error"])
        return line

    def end(self) -> bytes:
        """Return what follows the last line: nothing."""
        return b""

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        """Return the error, with its status."""
        return error_responses.render(self._request, error, status_of(error), {})

    def failure(self, error: SemrouteError) -> bytes:
        """Return the error as a line."""
        told: dict[str, Any] = {"message": str(error), "code": error.code}
        return _json({"error": told}) + b"\n"

    farewell = failure

    async def aclose(self) -> None:
        """End the process, whether it is ready or not."""
        self._jobs.leave(self)
        if self._feeding is not None:
            self._feeding.cancel()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _feed(process: Process, order: Order) -> None:
    """Give the process its order. A process that is gone already is noticed by whoever reads from it."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(await asyncio.to_thread(_pack, order))
        await process.stdin.drain()
    process.stdin.close()
