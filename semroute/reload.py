"""Route files change while the service runs: watch, build a whole new Router, and hand it over.

A broken edit changes nothing: the Router in service stays, and `status` says what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from semroute.errors import SemrouteError
from semroute.router import Router
from semroute.semantic.learned import FILE
from semroute.types import Frozen

log = logging.getLogger("semroute.reload")

LOOK_EVERY_S = 0.5
SUFFIXES = (".yaml", ".yml")


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
                self._swap(router)
            except SemrouteError as error:
                return self._keep(str(error))
            except Exception as error:  # whatever it is, the old routes go on, and so does the watch
                log.debug("what went wrong", exc_info=error)
                return self._keep(f"{type(error).__name__}: {error}")
            if router.config.version != self._router.config.version:
                log.info("routes %s replace %s", router.config.version, self._router.config.version)
            elif self.status.error is not None:
                log.info(
                    "the route files can be used again: they hold the routes in service, %s", router.config.version
                )
            self._router = router
            self.status = ReloadStatus(config_version=router.config.version)
            return self.status

    async def watch(self) -> None:
        """Reload whenever a route file changes. Runs until it is cancelled.

        It looks rather than waits to be told: that holds for network disks, re-mounted volumes, links that are pointed
        elsewhere and folders that are replaced, too.
        """
        seen = await asyncio.to_thread(_look, self._folder)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = await asyncio.to_thread(_look, self._folder)
            if now != seen:
                seen = now
                await self.reload()

    def _keep(self, error: str) -> ReloadStatus:
        self.status = ReloadStatus(config_version=self._router.config.version, error=error)
        log.error("the route files cannot be used, the old ones stay in service:\n%s", error)
        return self.status


def _look(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """The files that a router is made of, and what changes when they do."""
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES or path.name == FILE)
    except OSError:
        return ()
    return tuple(look for path in names if (look := _look_at(path)) is not None)


def _look_at(path: Path) -> tuple[str, int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return (path.name, 0, 0, 0)
    return (path.name, state.st_mtime_ns, state.st_size, state.st_ino)
