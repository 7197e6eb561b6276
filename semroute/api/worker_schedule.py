"""When workers are started, ended and started again. Pure: it is told what happens and when, and says what to do.

A slot is one place for a worker. A worker that ends is started again: at once where it had served for a while, else
after pauses that grow. So one that cannot start costs next to nothing, and the others go on serving.
"""

from __future__ import annotations

from typing import Literal

START_S = 60.0
"""How long a worker may take until its first sign of life. It gives none before it has imported."""
HEALTH_S = 20.0
"""A worker whose event loop gives no sign of life for so long is ended, and started again."""
SILENT_S = 0.6
"""Others accept the callers of a worker that has been silent for so long. It may only be busy: it does no harm."""
STEADY_S = 10.0
"""A worker that has served for so long is started again without a pause."""
PAUSES_S = (1.0, 30.0)
"""The first pause before another try, and the longest; each is twice the last."""

Phase = Literal["pausing", "starting", "serving"]


class Slot:
    """One place for a worker. Times are seconds of one monotonic clock."""

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        """From 1."""
        self.phase: Phase = "pausing"
        self.due = now
        """When the worker is to be started, while there is none."""
        self.failures = 0
        """Workers in a row that did not start, or ended soon after."""
        self.reason = ""
        """Why the last one ended; empty: it serves."""
        self._since = now
        self._heard: float | None = None

    def begin(self, now: float) -> None:
        """A worker was started."""
        self.phase, self._since, self._heard = "starting", now, None

    def hear(self, now: float, *, serving: bool) -> bool:
        """The worker gave a sign of life. Whether it begins to serve with it."""
        self._heard = now
        if not serving or self.phase == "serving":
            return False
        self.phase, self._since, self.reason = "serving", now, ""
        return True

    def overdue(self, now: float) -> bool:
        """Whether the worker has been silent for too long."""
        if self.phase == "pausing":
            return False
        return now - self._since >= START_S if self._heard is None else now - self._heard >= HEALTH_S

    def forgive(self, seconds: float) -> None:
        """Nobody listened for so long: that is no silence of the worker."""
        self._since += seconds
        self._heard = None if self._heard is None else self._heard + seconds

    def absent(self, now: float) -> bool:
        """Whether others are to accept the callers of this worker."""
        return self.phase != "serving" or self._heard is None or now - self._heard >= SILENT_S

    def end(self, now: float, reason: str) -> float:
        """The worker has ended, or could not be started. The seconds until the next is due."""
        steady = self.phase == "serving" and now - self._since >= STEADY_S
        self.failures = 0 if steady else self.failures + 1
        first, longest = PAUSES_S
        pause = 0.0 if steady else float(min(longest, first * 2 ** min(self.failures - 1, 16)))
        self.phase, self.due, self.reason = "pausing", now + pause, reason
        return pause
