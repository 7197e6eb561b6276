"""Give up in time on a shared state that hangs, and treat it as one that is unavailable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from semroute.errors import StoreError
from semroute.stores.interfaces import SharedState

Result = TypeVar("Result")

SLOW_S = 0.25
"""If an error took longer than this many seconds, other calls would probably wait as long."""
PROBE_S = 0.5
"""Seconds between two tries whether a state that hung answers again."""
LOOKS = 8
"""How many times, within the time for one answer, to check whether any answer came."""
LONGEST = 5
"""While other calls are answered, one call may take this many times the time for an answer."""


def with_deadline(state: SharedState, answer_s: float) -> SharedState:
    """Wrap a state so that its calls raise `StoreError` when it has been silent for `answer_s`.

    A thousand calls at once may take longer than that, one after the other. As long as any of them is answered, the
    state does not hang. When it hangs, all calls fail at once, so that no request waits for it, and one task tries
    whether the state answers again.
    """
    return cast("SharedState", _Patient(state, answer_s))


class _Patient:
    """Has all the methods of the state that it wraps."""

    def __init__(self, state: SharedState, answer_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._answer_s = answer_s
        self._clock = clock
        self._hangs: asyncio.Task[None] | None = None
        self._why = ""
        self._waiting: dict[asyncio.Timeout, float] = {}
        """The calls under way, oldest first, and when they began."""
        self._answered_at = clock()
        self._timer: asyncio.TimerHandle | None = None

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
        if self._timer is not None:
            self._timer.cancel()
        await self._state.aclose()

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        begun = self._clock()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._waiting[limit] = begun
                self._watch()
                found = await answer
                self._answered_at = self._clock()
                return found
        except TimeoutError:
            self._why = f"no answer within {self._answer_s:g} s"
            self._probe()
            raise StoreError(self._why) from None
        except StoreError as error:
            if self._clock() - begun >= SLOW_S:
                self._why = str(error)
                self._probe()
            raise
        finally:
            del self._waiting[limit]

    def _watch(self) -> None:
        """Check later whether answers have come."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._answer_s / LOOKS, self._look)

    def _look(self) -> None:
        """End all calls if the state is silent, or only those that take far longer than others."""
        self._timer = None
        if not self._waiting:
            return
        now = self._clock()
        silent = now - max(self._answered_at, next(iter(self._waiting.values()))) >= self._answer_s
        longest_s = 0.0 if silent else LONGEST * self._answer_s
        for limit, begun in self._waiting.items():
            if now - begun >= longest_s and not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())
        self._watch()

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
