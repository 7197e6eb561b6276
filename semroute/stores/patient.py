"""A shared state that is given up on in time: one that hangs is as good as one that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from semroute.errors import StoreError
from semroute.stores.base import SharedState

Result = TypeVar("Result")

SLOW_S = 0.25
"""An error that took longer to come is a sign that others would take as long."""
PROBE_S = 0.5
"""Between two tries whether a state that hung answers again."""


def patient(state: SharedState, answer_s: float) -> SharedState:
    """The same state, whose calls raise `StoreError` after `answer_s` at the latest.

    After the first that came too late all others fail at once, so that no request waits for what is known to hang. One
    task finds out meanwhile whether the state answers again.
    """
    return cast("SharedState", _Patient(state, answer_s))


class _Patient:
    """Has the methods of the state that it stands for, whichever these are."""

    def __init__(self, state: SharedState, answer_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._answer_s = answer_s
        self._clock = clock
        self._hangs: asyncio.Task[None] | None = None
        self._why = ""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._state, name)

        async def in_time(*arguments: Any, **options: Any) -> Any:
            if self._hangs is not None:
                raise StoreError(self._why)
            return await self._ask(method(*arguments, **options))

        self.__dict__[name] = in_time  # looked up once
        return in_time

    async def aclose(self) -> None:
        """Close all connections."""
        if self._hangs is not None:
            self._hangs.cancel()
        await self._state.aclose()

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        begun = self._clock()
        try:
            async with asyncio.timeout(self._answer_s):
                return await answer
        except TimeoutError:
            self._why = f"no answer within {self._answer_s:g} s"
            self._probe()
            raise StoreError(self._why) from None
        except StoreError as error:
            if self._clock() - begun >= SLOW_S:
                self._why = str(error)
                self._probe()
            raise

    def _probe(self) -> None:
        if self._hangs is None:
            self._hangs = asyncio.get_running_loop().create_task(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                async with asyncio.timeout(self._answer_s):
                    await self._state.get("semroute:probe")
            except (TimeoutError, StoreError):
                continue
            self._hangs = None
            return
