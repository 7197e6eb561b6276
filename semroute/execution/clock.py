"""Time and chance, as the execution sees them: replaced in tests."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from semroute.structs import Frozen


class Clock(Frozen, frozen=True, kw_only=True):
    """Where the execution takes time and chance from."""

    now: Callable[[], float] = time.monotonic
    """Seconds; only differences mean anything."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Wait so many seconds."""
    random: Callable[[], float] = random.random
    """A number in [0, 1)."""


CLOCK = Clock()
