"""Decide when to start, end and restart workers. Pure: events and times go in, and what to do comes out.

A slot is the place of one worker. A worker that ends is started again: at once if it had served for a while, else after
pauses that grow. So a worker that cannot start costs almost nothing, and the others go on serving.
"""

from __future__ import annotations

from typing import Literal

START_S = 60.0
"""Seconds that a worker may take until its first sign of life, which comes after all imports."""
HEALTH_S = 20.0
"""Seconds without a sign of life of its event loop after which a worker is ended and started again."""
SILENT_S = 0.6
"""Seconds of silence after which others accept a worker's callers. The worker may only be busy; then this does no
harm."""
STEADY_S = 10.0
"""A worker that served for this many seconds is started again without a pause."""
PAUSES_S = (1.0, 30.0)
"""The first and the longest pause before another try, in seconds. Each pause is twice the last."""

Phase = Literal["pausing", "starting", "serving"]


class Slot:
    """The place of one worker. Times are seconds of one monotonic clock."""

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        """The number of the worker, from 1."""
        self.phase: Phase = "pausing"
        self.due = now
        """When to start the worker, if there is none."""
        self.failures = 0
        """How many workers in a row did not start, or ended soon after."""
        self.reason = ""
        """Why the last worker ended. Empty: it serves."""
        self._since = now
        self._heard: float | None = None

    def begin(self, now: float) -> None:
        """Note that a worker was started."""
        self.phase, self._since, self._heard = "starting", now, None

    def hear(self, now: float, *, serving: bool) -> bool:
        """Note a sign of life. Returns whether the worker begins to serve with it."""
        self._heard = now
        if not serving or self.phase == "serving":
            return False
        self.phase, self._since, self.reason = "serving", now, ""
        return True

    def overdue(self, now: float) -> bool:
        """Return whether the worker has been silent for too long."""
        if self.phase == "pausing":
            return False
        return now - self._since >= START_S if self._heard is None else now - self._heard >= HEALTH_S

    def forgive(self, seconds: float) -> None:
        """Ignore some seconds in which nobody listened: the worker was not silent then."""
        self._since += seconds
        self._heard = None if self._heard is None else self._heard + seconds

    def absent(self, now: float) -> bool:
        """Return whether others must accept the callers of this worker."""
        return self.phase != "serving" or self._heard is None or now - self._heard >= SILENT_S

    def end(self, now: float, reason: str) -> float:
        """Note that the worker ended or could not be started. Returns the seconds until the next one is due."""
        steady = self.phase == "serving" and now - self._since >= STEADY_S
        self.failures = 0 if steady else self.failures + 1
        first, longest = PAUSES_S
        pause = 0.0 if steady else float(min(longest, first * 2 ** min(self.failures - 1, 16)))
        self.phase, self.due, self.reason = "pausing", now + pause, reason
        return pause
