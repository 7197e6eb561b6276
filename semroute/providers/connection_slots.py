"""Places for connections: how many there may be at once, and who waits for one."""

from __future__ import annotations

import asyncio
import errno

from semroute.errors import NoPlaceError

MAX_CONNECTIONS = 4096
"""At once, to all providers: more than the calls that the service lets run, so that hardly anybody waits for one."""
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What the operating system says where this machine has no room for another connection."""
WAIT_S = 1.0
"""For a place at the longest: then the service is overloaded, and says so."""


class ConnectionSlots:
    """For one event loop. First come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._left = count
        """Those that anybody may take at once."""
        self._waiting = 0
        self._given_back = asyncio.Semaphore(0)
        """While somebody waits, places come back here."""

    async def take(self, wait_s: float) -> None:
        """Take a place. Raises `NoPlaceError` where none is free within `wait_s`, or `WAIT_S` if that is shorter."""
        if self._left:  # as nearly always
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
