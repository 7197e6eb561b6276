"""Limit the connections to providers that may be open at once. Further calls wait for a place."""

from __future__ import annotations

import asyncio
import errno

from semroute.errors import NoPlaceError

MAX_CONNECTIONS = 4096
"""The most connections at once, to all providers. It is more than the calls that may run, so calls rarely wait."""
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""The operating system's errors if this machine has no room for another connection."""
WAIT_S = 1.0
"""The longest wait for a place, in seconds. After that, the service says that it is overloaded."""


class ConnectionSlots:
    """Places for connections, on one event loop. First come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._left = count
        """How many places can be taken without waiting."""
        self._waiting = 0
        self._given_back = asyncio.Semaphore(0)
        """While calls wait, places are given back here."""

    async def take(self, wait_s: float) -> None:
        """Take a place. Raises `NoPlaceError` if none is free within the shorter of `wait_s` and `WAIT_S`."""
        if self._left:  # nearly always so
            self._left -= 1
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(min(wait_s, WAIT_S)):
                await self._given_back.acquire()
        except TimeoutError:
            raise NoPlaceError(
                f"all {self._count} connections that the service may have to providers are in use: try again later"
            ) from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Give a place back."""
        if self._waiting:
            self._given_back.release()
        else:
            self._left += 1
