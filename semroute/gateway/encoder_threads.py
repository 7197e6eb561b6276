"""Read prompts in threads. Prompts that wait are read together, which takes less time than one by one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from semroute.cpus import usable_cores
from semroute.errors import OverloadedError
from semroute.router import Router
from semroute.routing.ask import Ask
from semroute.routing.difficulty import Reading

Result = TypeVar("Result")

MAX_WAITING = 1024
"""The most prompts that may wait. Further ones are refused."""
TOGETHER = 8
"""The most prompts that one thread reads together."""


class _Prompt(NamedTuple):
    router: Router
    ask: Ask
    reading: asyncio.Future[Reading]


class _Job(NamedTuple):
    work: Callable[[], Any]
    """Runs in a thread."""
    told: Callable[[Any, BaseException | None], None]
    """Is called on the event loop, with the result or the failure."""
    loop: asyncio.AbstractEventLoop


class EncoderThreads:
    """Reads prompts in threads, so that the event loop does not wait. It needs a running event loop.

    If a thread is free, it reads a prompt at once. Waiting prompts are shared evenly among the threads.

    The standard library's executor makes two futures for each job, and wakes the event loop twice. Compared with a
    prompt of a few words, that takes long, so the threads here have a queue of their own.
    """

    def __init__(self, threads: int | None = None) -> None:
        """`threads`: how many threads. None: one for each core that the process may use."""
        self._most = self._free = threads or usable_cores()
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting: deque[_Prompt] = deque()
        self._working = 0

    async def read(self, router: Router, ask: Ask) -> Reading:
        """Return what a router reads from an ask. Raises `OverloadedError`."""
        self._require_room()
        loop = asyncio.get_running_loop()
        prompt = _Prompt(router, ask, loop.create_future())
        self._waiting.append(prompt)
        self._start(loop)
        return await prompt.reading

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run other work that takes milliseconds in a thread. Raises `OverloadedError`."""
        self._require_room()
        self._working += 1
        try:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Result] = loop.create_future()
            self._do(_Job(work, partial(_settle, done), loop))
            return await done
        finally:
            self._working -= 1

    def close(self) -> None:
        """Wait until the threads have finished their present work. Work that has not begun is cancelled."""
        with suppress(Empty):
            while (job := self._jobs.get_nowait()) is not None:
                _tell(job, None, asyncio.CancelledError())
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _require_room(self) -> None:
        if len(self._waiting) + self._working >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._free and self._waiting:
            most = min(-(-len(self._waiting) // self._free), TOGETHER)
            router = self._waiting[0].router
            taken: list[_Prompt] = []
            while self._waiting and len(taken) < most and self._waiting[0].router is router:
                taken.append(self._waiting.popleft())
            prompts = [
                prompt for prompt in taken if not prompt.reading.done()
            ]  # a prompt is done already if its caller has left
            if prompts:
                self._free -= 1
                work = partial(router.read, [prompt.ask for prompt in prompts])
                self._do(_Job(work, partial(self._answer, prompts, loop), loop))

    def _answer(
        self,
        prompts: list[_Prompt],
        loop: asyncio.AbstractEventLoop,
        readings: Sequence[Reading] | None,
        failure: BaseException | None,
    ) -> None:
        self._free += 1
        for place, prompt in enumerate(prompts):
            _settle(prompt.reading, None if readings is None else readings[place], failure)
        self._start(loop)

    def _do(self, job: _Job) -> None:
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name=f"embed-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, failure = None, None
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 - the one who asked gets it
                failure = error
            _tell(job, result, failure)
            del job, result, failure  # so that nothing stays in memory while the thread waits


def _tell(job: _Job, result: object, failure: BaseException | None) -> None:
    with suppress(RuntimeError):  # if the event loop is closed, nobody waits any more
        job.loop.call_soon_threadsafe(job.told, result, failure)


def _settle(asked: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if asked.done():
        return
    if isinstance(failure, asyncio.CancelledError):
        asked.cancel()
    elif failure is not None:
        asked.set_exception(failure)
    else:
        asked.set_result(result)
