"""Keep the Router of a candidate folder, whose decisions are compared with those that answers followed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from semroute.config.folder import look
from semroute.errors import SemrouteError
from semroute.router import Router

log = logging.getLogger("semroute.trials")

LOOK_EVERY_S = 5.0
"""So often at most it is looked whether the files have changed."""


class CandidateRouter:
    """The Router of one folder. It is loaded when it is first needed, and again when the files have changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._folder: Path | None = None
        self._seen: object = None
        self._looked_at = 0.0
        self._router: Router | None = None

    async def get(self, folder: Path, beside: Router) -> Router | None:
        """Return the Router. None: the files cannot be used, which is logged once.

        `beside`: the Router in service. If the folder uses the same encoder, it is shared.
        """
        async with self._lock:
            now = self._clock()
            if folder == self._folder and now - self._looked_at < LOOK_EVERY_S:
                return self._router
            seen = await asyncio.to_thread(look, folder)
            if folder != self._folder or seen != self._seen:
                self._router = await asyncio.to_thread(_loaded, folder, beside)
            self._folder, self._seen, self._looked_at = folder, seen, self._clock()
            return self._router


def _loaded(folder: Path, beside: Router) -> Router | None:
    try:
        return Router.load(folder, previous=beside)
    except SemrouteError as error:
        log.error("the shadow decides nothing until the route files of %s can be used:\n%s", folder, error)
        return None
