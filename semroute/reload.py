"""Route files change while the service runs: watch, build a whole new Router, and hand it over.

A broken edit changes nothing: the Router in service stays, and `status` says what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, awatch

from semroute.errors import SemrouteError
from semroute.router import Router
from semroute.semantic.learned import FILE
from semroute.types import Frozen

log = logging.getLogger("semroute.reload")

DEBOUNCE_MS = 200
"""Saves that follow one another so closely count as one."""


class ReloadStatus(Frozen, frozen=True, kw_only=True):
    """How the last reload went."""

    config_version: str
    """Of the Router in service."""
    error: str | None = None
    """Why the files as they stand are not in service; null: they are."""


class Reloader:
    """Rebuilds the Router of one folder."""

    def __init__(self, folder: Path, router: Router, swap: Callable[[Router], None]) -> None:
        """`swap` puts a new Router in service."""
        self.status = ReloadStatus(config_version=router.config.version)
        self._folder = folder
        self._router = router
        self._swap = swap
        self._lock = asyncio.Lock()

    async def reload(self) -> ReloadStatus:
        """Read the files now. Takes the time of embedding what is new; requests go on meanwhile."""
        async with self._lock:
            try:
                router = await asyncio.to_thread(Router.load, self._folder, previous=self._router)
            except SemrouteError as error:
                self.status = ReloadStatus(config_version=self._router.config.version, error=str(error))
                log.error("the route files cannot be used, the old ones stay in service:\n%s", error)
                return self.status
            if router.config.version != self._router.config.version:
                log.info("routes %s replace %s", router.config.version, self._router.config.version)
            self._router = router
            self._swap(router)
            self.status = ReloadStatus(config_version=router.config.version)
            return self.status

    async def watch(self) -> None:
        """Reload whenever a route file changes. Runs until it is cancelled."""
        async for _ in awatch(self._folder, watch_filter=_is_route_file, debounce=DEBOUNCE_MS, recursive=False):
            await self.reload()


def _is_route_file(_: Change, path: str) -> bool:
    # A mounted ConfigMap changes by its `..data` link alone.
    name = Path(path).name
    return name.endswith((".yaml", ".yml")) or name in ("..data", FILE)
