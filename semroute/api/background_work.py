"""Keep the work going that the service does beside requests, such as following the keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("semroute")

AGAIN_S = 1.0
"""Seconds until work that failed goes on."""


async def keep_going(work: Callable[[], Awaitable[None]], again_s: float = AGAIN_S) -> None:
    """Do work that has no end, and begin it again if it fails. Without it, a revoked key would stay valid unnoticed."""
    while True:
        try:
            return await work()
        except Exception:  # its own defect, or a library's, must not end it for good
            log.exception("work beside requests has failed, and goes on in %g s", again_s)
        await asyncio.sleep(again_s)
