"""A circuit breaker: times and outcomes in, "may I?" out. It reads no clock.

closed     calls pass; failures in a row, or their share in a window, open it
open       no call passes for `probe_s`
half-open  then one call passes as a probe, and another each `probe_s`: a probe that hangs delays nobody
           a probe that succeeds closes it; one that fails opens it for another `probe_s`

A failure that only one caller gets is no fault of the deployment: it does not count while most of the others who called
within the window are served.

pybreaker 1.4, purgatory 3.0 and aiobreaker 1.2 take 1.5 to 1.7 times as long for each call. They only count failures in
a row: they know no share of failures in a window and no callers, and they read a clock of their own (2026-11-30,
`bench/libraries.py breaker`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal, Protocol

from semroute.config.schema.resilience import BreakerSettings

State = Literal["closed", "open", "half_open"]
SLOTS = 10
"""The window moves in so many steps."""
CALLERS = 64
"""Whose last calls are known: those who called last."""
DEFERRALS = 10
"""How often in a probe's interval a process asks whether it may send the next one."""


class CircuitBreaker(Protocol):
    """What is asked of a breaker."""

    def state(self, now: float) -> State:
        """As the module says."""
        ...

    def opens_in_s(self, now: float) -> float:
        """How long no call may pass; 0: one may now."""
        ...

    def begin(self, now: float) -> bool:
        """A call passes. Returns whether it is the probe."""
        ...

    def succeed(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """A call went well."""
        ...

    def fail(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """A call failed through the deployment's fault."""
        ...

    def abandon(self, now: float, *, probe: bool = False) -> None:
        """A call ended without telling anything."""
        ...

    def trip(self, now: float, wait_s: float) -> None:
        """Another process opened it: no call passes for so long."""
        ...

    def close(self) -> None:
        """Another process closed it."""
        ...

    def defer(self, now: float) -> None:
        """Another process probes."""
        ...


class Breaker:
    """The state of one deployment. Times are seconds of one monotonic clock."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self._in_a_row = 0
        self._next_probe = math.inf
        """Only while it is not closed."""
        self._opened: float | None = None
        self._opener: str | None = None
        """Whose failure opened it here."""
        self._window = Window(settings.window_s)
        self._callers = Callers(settings.window_s)

    def state(self, now: float) -> State:
        """As the module says."""
        if self._opened is None:
            return "closed"
        return "open" if now < self._next_probe else "half_open"

    def opens_in_s(self, now: float) -> float:
        """How long no call may pass; 0: one may now."""
        return 0.0 if self._opened is None else max(0.0, self._next_probe - now)

    def begin(self, now: float) -> bool:
        """A call passes. Returns whether it is the probe."""
        if self._opened is None:
            return False
        self._next_probe = now + self.settings.probe_s
        return True

    def succeed(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """A call went well. When not closed, only the probe counts, for the others began before the trouble.

        So does another caller's success where one caller alone has opened it: it was that caller's trouble.
        """
        self._callers.note(caller, now, served=True)
        if self._opened is None:
            self._in_a_row = 0
            self._window.add(now, failed=False)
        elif probe or (self._opener not in (None, caller) and self._callers.alone(self._opener, now)):
            self.close()

    def fail(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """A call failed through the deployment's fault."""
        self._callers.note(caller, now, served=False)
        if self._opened is None:
            if self._callers.alone(caller, now):
                return
            self._in_a_row += 1
            self._window.add(now, failed=True)
            if self._too_many(now):
                self._opened, self._next_probe, self._opener = now, now + self.settings.probe_s, caller
        elif probe:
            self._next_probe = now + self.settings.probe_s

    def abandon(self, now: float, *, probe: bool = False) -> None:
        """A call ended without telling anything, as its caller left. Another may probe at once."""
        if probe and self._opened is not None:
            self._next_probe = now

    def trip(self, now: float, wait_s: float) -> None:
        """Another process opened it: no call passes for so long."""
        self._opened, self._next_probe, self._opener = now, now + wait_s, None

    def close(self) -> None:
        """Another process closed it."""
        self._opened, self._in_a_row = None, 0
        self._window = Window(self.settings.window_s)

    def defer(self, now: float) -> None:
        """Another process probes. What came of that is asked for soon, should it not be told."""
        self._next_probe = now + self.settings.probe_s / DEFERRALS

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= self.settings.failures:
            return True
        calls, failures = self._window.totals(now)
        return calls >= self.settings.min_calls and failures >= self.settings.error_ratio * calls


class Callers:
    """How the last call of each caller ended."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._last: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    def note(self, caller: str, now: float, *, served: bool) -> None:
        """A call has ended."""
        self._last[caller] = (now, served)
        self._last.move_to_end(caller)
        if len(self._last) > CALLERS:
            self._last.popitem(last=False)

    def alone(self, caller: str | None, now: float) -> bool:
        """Whether most of the others who called within the window were served."""
        since = now - self._window_s
        others = [served for name, (at, served) in self._last.items() if name != caller and at > since]
        return 2 * sum(others) > len(others)


class Window:
    """Counts of the last so many seconds, in `SLOTS` steps."""

    def __init__(self, length_s: float) -> None:
        self._step_s = length_s / SLOTS
        self._calls = [0] * SLOTS
        self._failures = [0] * SLOTS
        self._slot = -SLOTS

    def add(self, now: float, *, failed: bool) -> None:
        """Count one call."""
        place = self._forget(now) % SLOTS
        self._calls[place] += 1
        self._failures[place] += failed

    def totals(self, now: float) -> tuple[int, int]:
        """Calls, and those of them that failed."""
        self._forget(now)
        return sum(self._calls), sum(self._failures)

    def _forget(self, now: float) -> int:
        """Empty the slots that have left the window. Returns the current one."""
        slot = int(now / self._step_s)
        if slot == self._slot:
            return slot
        for old in range(max(self._slot + 1, slot - SLOTS + 1), slot + 1):
            self._calls[old % SLOTS] = self._failures[old % SLOTS] = 0
        self._slot = max(self._slot, slot)
        return self._slot
