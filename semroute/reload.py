"""Watch the route files while the service runs, build a whole new Router when they change, and hand it over.

A broken edit changes nothing: the Router in service stays, and `status` says what is wrong. A process that starts while
the files are broken uses the last good ones, if it is given any.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from semroute.bases import Frozen
from semroute.config.folder import RouteFiles, read_files
from semroute.decision_changes import DecisionDiff, diff_utterances, summary
from semroute.errors import OverloadedError, SemrouteError
from semroute.router import Router

log = logging.getLogger("semroute.reload")

LOOK_EVERY_S = 0.5
SETTLE_S = 2.0
"""For so many seconds after a change, each look reads the files, not only their sizes and dates. Two edits within one
tick of a disk's clock leave the same date."""
RETRY_S = (5.0, 60.0)
"""The first and the longest pause before unusable files are tried again without a change. The cause may lie elsewhere,
such as in a failed download."""

TOLD_UTTERANCES, TOLD_S = 300, 1.0
"""After a reload, at most so many utterances are decided by both Routers, and for at most so many seconds."""
PREVIEW_UTTERANCES, PREVIEW_DIFF_S, PREVIEW_S = 2000, 5.0, 60.0
"""The same for a preview, and how many seconds a caller waits for it."""


class ReloadStatus(Frozen, frozen=True, kw_only=True):
    """How the last reload went."""

    config_version: str
    """The version of the route files in service."""
    error: str | None = None
    """Why the current files are not in service. None: they are."""


class Preview(Frozen, frozen=True, kw_only=True):
    """What a reload would do."""

    config_version: str
    """The version of the route files that would be in service."""
    error: str | None = None
    """Why the files cannot be used. None: they can."""
    summary: str = ""
    """One line that says what changes."""
    diff: DecisionDiff | None = None
    """What changes on the utterances. None: the files cannot be used."""


class Loaded(Frozen, frozen=True, kw_only=True):
    """A Router and the files that it was made of."""

    router: Router
    files: RouteFiles
    seen: RouteFiles
    """The current files. They differ from `files` if they cannot be used."""
    error: str | None = None
    """Why the current files cannot be used. None: they can."""


def build(files: RouteFiles, previous: Router | None = None) -> Router:
    """Build the Router of a folder, and those of the folders that are arms of its experiments. Blocking.

    Utterances that several have are embedded once. Raises `ConfigError` and `EmbedderError`.
    """
    router = Router.of(files, previous=previous)
    router.candidates = {name: Router.of(arm, previous=router) for name, arm in files.arms.items()}
    return router


def load(folder: Path, last_good: RouteFiles | None = None) -> Loaded:
    """Load the Router of a folder, or of the last good files if those of the folder cannot be used. Blocking.

    Raises `ConfigError` and `EmbedderError` if there are no good files.
    """
    files = read_files(folder)
    try:
        return Loaded(router=build(files), files=files, seen=files)
    except SemrouteError as error:
        if last_good is None:
            raise
        log.error(
            "the route files cannot be used, so the service starts with the last good ones:\n%s",
            error,
        )
        return Loaded(router=build(last_good), files=last_good, seen=files, error=str(error))


class Reloader:
    """Rebuilds the Router of one folder."""

    def __init__(
        self,
        folder: Path,
        loaded: Loaded,
        swap: Callable[[Router], None],
        on_good: Callable[[RouteFiles], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`swap` puts a new Router in service. `on_good` gets the files of each new Router. `clock`: seconds that only
        grow.
        """
        self.status = ReloadStatus(config_version=loaded.router.config.version, error=loaded.error)
        self._folder = folder
        self._router = loaded.router
        self._seen = loaded.seen
        self._swap = swap
        self._on_good = on_good
        self._clock = clock
        self._settled_at = clock() + SETTLE_S
        self._pause_s, self._retry_at = RETRY_S[0], clock() + RETRY_S[0]
        self._lock = asyncio.Lock()
        self._previewing: asyncio.Task[Preview] | None = None
        on_good(loaded.files)

    async def reload(self) -> ReloadStatus:
        """Read the files now. This takes as long as embedding the new utterances. Requests go on meanwhile."""
        async with self._lock:
            return await self._reload(await asyncio.to_thread(read_files, self._folder))

    async def watch(self) -> None:
        """Reload whenever a route file changes. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Reload if the files differ from those that were read last.

        It polls instead of waiting for notifications. So it also works with network disks, re-mounted volumes, changed
        links and replaced folders.
        """
        now = self._clock()
        retry = self.status.error is not None and now >= self._retry_at
        if await asyncio.to_thread(self._seen.look_again) != self._seen.seen:
            self._settled_at = now + SETTLE_S
        elif now >= self._settled_at and not retry:
            return
        async with self._lock:
            files = await asyncio.to_thread(read_files, self._folder)
            if retry or files.content != self._seen.content:
                await self._reload(files)
            self._seen = files

    async def _reload(self, files: RouteFiles) -> ReloadStatus:
        if files.content != self._seen.content:
            self._pause_s = RETRY_S[0]
        self._seen = files
        try:
            router = await asyncio.to_thread(build, files, self._router)
            self._swap(router)
        except SemrouteError as error:
            return self._keep(str(error))
        except Exception as error:  # the old routes and the watch go on after any error
            log.debug("the error that kept the route files from use:", exc_info=error)
            return self._keep(f"{type(error).__name__}: {error}")
        old, was_broken = self._router, self.status.error is not None
        self._router = router
        self._on_good(files)
        self.status = ReloadStatus(config_version=router.config.version)
        if router.config.version != old.config.version:
            await self._tell(old, router)
        elif was_broken:
            log.info("the route files can be used again: they are the version in service, %s", router.config.version)
        return self.status

    async def _tell(self, old: Router, new: Router) -> None:
        """Log which version is in service now, and what that changes."""
        versions = f"version {new.config.version} replaces {old.config.version}"
        try:
            diff = await asyncio.to_thread(diff_utterances, old, new, TOLD_UTTERANCES, seconds=TOLD_S)
            changes = summary(diff, old, new)
        except SemrouteError as error:
            changes = f"what that changes is not known: {error}"
        log.info("route files reloaded: %s; %s", versions, changes)

    async def preview(self) -> Preview:
        """Say what a reload would change now, without it. The old Router stays in service.

        One preview runs at a time, and further callers get its result. Raises `OverloadedError` if it takes too long.
        """
        if self._previewing is None or self._previewing.done():
            self._previewing = asyncio.create_task(asyncio.to_thread(self._preview, self._router))
        try:
            return await asyncio.wait_for(asyncio.shield(self._previewing), PREVIEW_S)
        except TimeoutError:
            raise OverloadedError(f"the new route files were not ready after {PREVIEW_S:.0f} s: ask again") from None

    def _preview(self, old: Router) -> Preview:
        try:
            new = Router.of(read_files(self._folder), previous=old)
        except SemrouteError as error:
            return Preview(config_version=old.config.version, error=str(error))
        diff = diff_utterances(old, new, PREVIEW_UTTERANCES, seconds=PREVIEW_DIFF_S)
        return Preview(config_version=new.config.version, summary=summary(diff, old, new), diff=diff)

    def _keep(self, error: str) -> ReloadStatus:
        if error != self.status.error:
            log.error("the route files cannot be used, so the old ones stay in service:\n%s", error)
        self._retry_at = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RETRY_S[1])
        self.status = ReloadStatus(config_version=self._router.config.version, error=error)
        return self.status
