"""Ask a shared state that may be unavailable. Meanwhile the process keeps small values by itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from semroute.errors import StoreError
from semroute.stores.interfaces import SharedState
from semroute.stores.memory import MemoryState

Result = TypeVar("Result")

log = logging.getLogger("semroute.state")


class FallbackValues:
    """The part of a `State` that holds values, over a shared one."""

    def __init__(self, shared: SharedState, clock: Callable[[], float]) -> None:
        self._shared = shared
        self._clock = clock
        self._local = MemoryState(clock)
        self.error: str | None = None
        """Why the shared state is not used just now. None: it is used."""

    async def get(self, key: str) -> bytes | None:
        """Return a value. None: there is none, or it has expired."""
        found = await self._try(lambda: _boxed(self._shared.get(key)))
        return found[0] if found is not None else await self._local.get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the values that exist, by key."""
        found = await self._try(lambda: self._shared.get_many(keys))
        return found if found is not None else await self._local.get_many(keys)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        if await self._try(lambda: done(self._shared.put(key, value, ttl_s))) is None:
            await self._local.put(key, value, ttl_s)

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one. Returns whether it was set."""
        new = await self._try(lambda: self._shared.put_new(key, value, ttl_s))
        return new if new is not None else await self._local.put_new(key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await self._try(lambda: done(self._shared.delete(key)))
        await self._local.delete(key)

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and return the average."""
        mean = await self._try(lambda: self._shared.smooth(key, value, weight, ttl_s))
        return mean if mean is not None else await self._local.smooth(key, value, weight, ttl_s)

    async def _try(self, ask: Callable[[], Awaitable[Result]]) -> Result | None:
        """Ask the shared state, and return its answer. None: it is unavailable."""
        if self.error is not None:
            return None
        try:
            return await ask()
        except StoreError as error:
            self._gone(error)
            return None

    def _gone(self, error: StoreError) -> None:
        if self.error is None:
            log.error(
                "the shared state is unavailable, so this process alone enforces limits until it is back: %s", error
            )
        self.error = str(error)


async def done(work: Awaitable[None]) -> bool:
    """Wait for work without a result, and return True."""
    await work
    return True


async def _boxed(work: Awaitable[Result]) -> tuple[Result]:
    return (await work,)
