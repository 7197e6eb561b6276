"""Time and chance, as the execution sees them: replaced in tests."""

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
    """Waits for the first task that is done. Gives those that are, and the others; none is after `timeout_s`."""

    async def __call__(self, tasks: Tasks[Result], timeout_s: float | None, /) -> tuple[Tasks[Result], Tasks[Result]]:
        """Wait."""
        ...


def _later(delay_s: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, callback)


class Clock(Frozen, frozen=True, kw_only=True):
    """Where the execution takes time and chance from."""

    now: Callable[[], float] = time.monotonic
    """Seconds; only differences mean anything."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Wait so many seconds."""
    wait: Wait = _wait
    """Wait for tasks, but no more than so many seconds."""
    later: Callable[[float, Callable[[], None]], Timer] = _later
    """Call something after so many seconds."""
    random: Callable[[], float] = random.random
    """A number in [0, 1)."""


CLOCK = Clock()
