"""One try in the task that asks, and others beside it once it takes long: until then a race costs next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from semroute.errors import SemrouteError

Result = TypeVar("Result")
BEATEN = "another model answered first"
"""Said when a call is cancelled for that reason; otherwise its caller has left."""


class Timer(Protocol):
    """What `later` of a clock gives."""

    def cancel(self) -> object:
        """Do not call any more."""
        ...


class Race(Generic[Result]):
    """Gives the first result; the rest is cancelled as `BEATEN`. `run` it once, in the task that asks."""

    def __init__(
        self,
        others: Callable[[], Coroutine[Any, Any, Result]],
        ends: Callable[[BaseException], bool],
        discard: Callable[[Result], Awaitable[None]] | None,
    ) -> None:
        """`others`: the tries beside the first. `ends`: whether a failure ends the race, though others are under way.

        `discard` ends a result that nobody takes: a faster one made it superfluous, or the caller left.
        """
        self._others = others
        self._ends = ends
        self._discard = discard
        self._here: asyncio.Task[Any] | None = None
        """While the first try is under way."""
        self._company: asyncio.Task[Result] | None = None

    async def run(self, first: Coroutine[Any, Any, Result], later: Callable[[Callable[[], None]], Timer]) -> Result:
        """The first result. `later` calls when the time for the others has come."""
        here = self._here = asyncio.current_task()
        assert here is not None
        cancelled_before = here.cancelling()
        timer = later(self._join)
        try:
            result = await first
        except asyncio.CancelledError:
            company = self._company
            if company is None or not self._decided(company) or here.uncancel() > cancelled_before:
                await self._dismiss()
                raise
            return company.result()
        except SemrouteError as error:
            if self._company is None or self._ends(error):
                await self._dismiss()
                raise
            self._here = None
            return await self._company
        finally:
            self._here = None
            timer.cancel()
        if self._company is not None:
            await self._take(result)
        return result

    def _join(self) -> None:
        self._company = asyncio.create_task(self._others())
        self._company.add_done_callback(self._finish)

    def _finish(self, company: asyncio.Task[Result]) -> None:
        if self._here is not None and self._decided(company):
            self._here.cancel(BEATEN)

    def _decided(self, company: asyncio.Task[Result]) -> bool:
        """Whether the others have ended the race."""
        if not company.done() or company.cancelled():
            return False
        error = company.exception()
        return error is None or self._ends(error)

    async def _take(self, result: Result) -> None:
        """End the others. Where the caller leaves meanwhile, nobody takes the result."""
        try:
            await self._dismiss(BEATEN)
        except asyncio.CancelledError:
            if self._discard is not None:
                await self._discard(result)
            raise

    async def _dismiss(self, message: str | None = None) -> None:
        """End the others, and what they may have got."""
        company, self._here = self._company, None
        if company is None:
            return
        company.cancel(message)
        await asyncio.gather(company, return_exceptions=True)
        if self._discard is not None and not company.cancelled() and company.exception() is None:
            await self._discard(company.result())
