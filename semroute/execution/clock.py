"""The sources of time and chance. Tests replace them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from semroute.bases import Frozen
from semroute.execution.hedging import Timer

Result = TypeVar("Result")
Tasks = set[asyncio.Task[Result]]


async def _wait(tasks: Tasks[Result], timeout_s: float | None) -> tuple[Tasks[Result], Tasks[Result]]:
    return await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


class Wait(Protocol):
    """Waits until a task is done, at most for `timeout_s`. Returns the tasks that are done, and the others."""

    async def __call__(self, tasks: Tasks[Result], timeout_s: float | None, /) -> tuple[Tasks[Result], Tasks[Result]]:
        """Wait."""
        ...


def _later(delay_s: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, callback)


class Clock(Frozen, frozen=True, kw_only=True):
    """Where execution takes time and chance from."""

    now: Callable[[], float] = time.monotonic
    """Returns seconds. Only differences between them have a meaning."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits for a number of seconds."""
    wait: Wait = _wait
    """Waits for tasks, at most for a number of seconds."""
    later: Callable[[float, Callable[[], None]], Timer] = _later
    """Calls a function after a number of seconds."""
    random: Callable[[], float] = random.random
    """Returns a number in [0, 1)."""


CLOCK = Clock()
