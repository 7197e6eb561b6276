"""Count misroutes in the background: what judges said of answers, and users who asked again."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from semroute.config.config import Config
from semroute.errors import StoreError
from semroute.learning.retries import Retries
from semroute.stores.interfaces import Database
from semroute.stores.misroutes import PAGE, LoggedAsk, Misroute, MisrouteLog
from semroute.telemetry.prometheus import Metrics

log = logging.getLogger("semroute.misroutes")

LOOK_S = 5.0
"""Seconds between two looks."""
LATE_S = 60.0
"""Requests of the last seconds are left for later, because they may not have ended."""
LONGEST_S = 900.0
"""How many seconds before a retry the request may have come, without the minutes that are allowed after its answer."""
PAGES = 20
"""The most pages that are read before what was found is saved."""


class Misroutes:
    """The counting, in one process. One of the processes that share a database looks for retries."""

    def __init__(
        self,
        database: Database,
        config: Callable[[], Config],
        metrics: Metrics | None = None,
        *,
        ask: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`config`: returns the one in service. `ask`: asks the database. `clock`: seconds since 1970."""
        self._log = MisrouteLog(database, uuid.uuid4().hex)
        self._config, self._metrics, self._ask, self._clock = config, metrics, ask, clock
        self._retries: Retries | None = None
        """What this process remembers of users. None: another process leads, or nothing is wanted."""
        self._position = ""
        self._leads = False
        self._away = False

    async def watch(self) -> None:
        """Count again and again. Runs until it is cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(LOOK_S)

    async def once(self) -> None:
        """Count what is new."""
        try:
            await self._verdicts()
            await self._look(self._config().log.retry_minutes)
            self._away = False
        except StoreError as error:
            if not self._away:
                log.warning("cannot count misroutes: %s", error)
            self._away = True

    async def _verdicts(self) -> None:
        more = True
        while more:
            found, more = await self._ask(self._log.count_verdicts)
            self._count(found)

    async def _look(self, minutes: float | None) -> None:
        if minutes is None:
            await self.resign()
            return
        more = True
        while more:
            self._leads = await self._ask(self._log.lead)
            if not self._leads:
                self._retries = None
                return
            retries = await self._current(60 * minutes)
            more = await self._read(retries)

    async def _current(self, within_s: float) -> Retries:
        """Return what this process remembers. If that is nothing yet, begin a while before the last position."""
        if self._retries is None or self._retries.within_s != within_s:
            self._position = await self._ask(self._log.position)
            since = int(self._position[:12], 16) / 1000 if self._position else self._clock()
            self._position = f"{max(0, int(1000 * (since - within_s - LONGEST_S))):012x}"
            self._retries = Retries(within_s)
        return self._retries

    async def _read(self, retries: Retries) -> bool:
        """Read the next requests. Returns whether there are more."""
        retried: list[str] = []
        more, read = True, 0
        while more and read < PAGES:
            asks = await self._ask(self._log.asks, self._position, self._clock() - LATE_S)
            retried += await asyncio.to_thread(_seen, retries, asks)
            self._position = asks[-1].id if asks else self._position
            more, read = len(asks) == PAGE, read + 1
        if read > 1 or retried or asks:
            found = await self._ask(self._log.count_retries, retried, self._position)
            if found is None:
                self._retries = None
                return False
            self._count(found)
        return more

    def _count(self, found: Sequence[Misroute]) -> None:
        for one in found if self._metrics is not None else ():
            assert self._metrics is not None
            self._metrics.misroute(one.route, one.tier, one.source, counted=one.counted)

    async def resign(self) -> None:
        """Let another process look for retries at once."""
        self._retries = None
        if self._leads:
            self._leads = False
            await self._ask(self._log.resign)

    async def aclose(self) -> None:
        """Let another process look for retries. If the database is unavailable, the others notice it by themselves."""
        try:
            await self.resign()
        except StoreError as error:
            log.info("another process will look for retries a little later: %s", error)


def _seen(retries: Retries, asks: Sequence[LoggedAsk]) -> list[str]:
    return [id_ for ask in asks if (id_ := retries.see(ask)) is not None]
