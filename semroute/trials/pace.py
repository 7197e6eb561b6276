"""How many trials a service makes while it is busy. Pure, but for `worked_s`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

BUSY_SHARE, LOOK_S, CALM_S = 0.5, 0.25, 10.0
"""A process that is at work for more than this share of `LOOK_S` makes trials at a pace for `CALM_S`."""
BURST, PER_S, ONE_IN = 20, 0.2, 1000
"""At that pace, so many trials begin at once at most. In the long run it is `PER_S` each second, and one in `ONE_IN`
requests. A trial takes as much processor time as a few requests, so trials hardly slow down answers."""


class Pace:
    """Limits the trials of a busy process. They also wait in a queue, so it is asked twice for each."""

    def __init__(self, now: Callable[[], float], used: Callable[[], float]) -> None:
        """`now`: returns seconds that only grow. `used`: returns for how many seconds the process has worked."""
        self._now = now
        self._used = used
        self._looked, self._used_then = now(), used()
        self._busy_until = self._looked
        self._filled = self._looked
        self._room = float(BURST)

    def may_draw(self, waiting: int) -> bool:
        """Count a request, and return whether it may be drawn. `waiting`: how many wait for their trials already."""
        self._room = min(BURST, self._room + 1 / ONE_IN)
        return not self._busy() or waiting < self._room

    def begins(self) -> bool:
        """Return whether a trial may begin now. If so, count it."""
        busy = self._busy()
        if busy and self._room < 1:
            return False
        self._room = max(0.0, self._room - 1)
        return True

    def _busy(self) -> bool:
        now = self._now()
        if now - self._looked >= LOOK_S:
            used = self._used()
            if used - self._used_then > BUSY_SHARE * (now - self._looked):
                self._busy_until = now + CALM_S
            self._looked, self._used_then = now, used
        self._room = min(BURST, self._room + (now - self._filled) * PER_S)
        self._filled = now
        return now < self._busy_until


def worked_s() -> float:
    """Return for how long the main thread has run, or waited for a processor that others used.

    Only Linux tells this. Elsewhere, the processor time of the process stands for it.
    """
    try:
        run_ns, waited_ns, _ = Path("/proc/self/schedstat").read_text("ascii").split()
    except (OSError, ValueError):
        return time.process_time()
    return (int(run_ns) + int(waited_ns)) / 1e9
