"""A token bucket: the arithmetic of a rate limit. It reads no clock.

A library's limiter waits by itself. Here a call that must wait may go to another model, and the level also follows the
provider's headers and what other processes spend.
"""

from __future__ import annotations

MINUTE_S = 60.0


class Bucket:
    """Fills up evenly, to the amount that may be spent in a minute. Times are seconds of one monotonic clock."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.capacity = float(per_minute)
        self._rate = self.capacity / MINUTE_S
        self._level = self.capacity
        self._at = now

    def level(self, now: float) -> float:
        """Return what may be spent now. It is negative if more was spent than was known beforehand."""
        return min(self.capacity, self._level + max(0.0, now - self._at) * self._rate)

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until this amount may be spent. 0: now. More than the capacity needs a full bucket."""
        missing = min(amount, self.capacity) - self.level(now)
        return 0.0 if missing <= 0 else missing / self._rate

    def spend(self, amount: float, now: float) -> None:
        """Take an amount out. A negative amount gives it back."""
        self._level = self.level(now) - amount
        self._at = max(self._at, now)

    def learn(self, *, limit: float | None, remaining: float, reset_s: float | None, now: float) -> None:
        """Take over what the provider's headers say.

        `limit`: for a minute. `remaining`: how much of it is left. `reset_s`: seconds until the bucket is full again.
        """
        if limit is not None and limit > 0:
            self.capacity, self._rate = limit, limit / MINUTE_S
        missing = self.capacity - remaining
        if reset_s is not None and reset_s > 0 and missing > 0:
            self._rate = missing / reset_s
        self._level, self._at = min(remaining, self.capacity), now
