"""Threads that read prompts. Prompts that wait meanwhile are read together, which takes less time than one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from semroute.cpus import usable_cores
from semroute.errors import OverloadedError
from semroute.router import Router
from semroute.routing.difficulty import Reading

Result = TypeVar("Result")

MAX_WAITING = 1024
"""Prompts that may wait at once; further ones are turned away."""
TOGETHER = 8
"""The most prompts that a thread takes at a time."""


class _Prompt(NamedTuple):
    router: Router
    text: str
    reading: asyncio.Future[Reading]


class Readers:
    """Reads prompts off the event loop. Needs a running one.

    A prompt that finds a thread free is read at once and alone. The threads share what waits evenly.
    """

    def __init__(self, threads: int | None = None) -> None:
        """`threads`: None, one for each core that the process may use."""
        self._free = threads or usable_cores()
        self._threads = ThreadPoolExecutor(self._free, thread_name_prefix="embed")
        self._waiting: deque[_Prompt] = deque()
        self._working = 0

    async def read(self, router: Router, text: str) -> Reading:
        """What a router makes of a prompt. Raises `OverloadedError`."""
        self._require_room()
        prompt = _Prompt(router, text, asyncio.get_running_loop().create_future())
        self._waiting.append(prompt)
        self._start()
        return await prompt.reading

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something else that takes milliseconds. Raises `OverloadedError`."""
        self._require_room()
        self._working += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._working -= 1

    def close(self) -> None:
        """Wait for what the threads are doing."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _require_room(self) -> None:
        if len(self._waiting) + self._working >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")

    def _start(self) -> None:
        while self._free and self._waiting:
            most = min(-(-len(self._waiting) // self._free), TOGETHER)
            router = self._waiting[0].router
            taken: list[_Prompt] = []
            while self._waiting and len(taken) < most and self._waiting[0].router is router:
                taken.append(self._waiting.popleft())
            prompts = [prompt for prompt in taken if not prompt.reading.done()]  # not those whose callers have left
            if prompts:
                self._free -= 1
                texts = [prompt.text for prompt in prompts]
                done = asyncio.get_running_loop().run_in_executor(self._threads, router.read, texts)
                done.add_done_callback(partial(self._answer, prompts))

    def _answer(self, prompts: list[_Prompt], done: asyncio.Future[list[Reading]]) -> None:
        self._free += 1
        for place, prompt in enumerate(prompts):
            if prompt.reading.done():
                continue
            if done.cancelled():
                prompt.reading.cancel()
            elif (failure := done.exception()) is not None:
                prompt.reading.set_exception(failure)
            else:
                prompt.reading.set_result(done.result()[place])
        self._start()
