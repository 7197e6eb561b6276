"""A circuit breaker. It gets times and outcomes, and tells whether a call may pass. It reads no clock.

closed     All calls pass. Failures in a row, or the share of failures in a window, open it.
open       No call passes for `probe_s`.
half-open  One call passes as a probe, and another one each `probe_s`, so a probe that hangs delays nobody.
           A probe that succeeds closes it. A probe that fails opens it for another `probe_s`.

If only one caller gets failures, they are not the fault of the deployment. So a caller's failure does not count while
most of the others who called within the window are served.

pybreaker 1.4, purgatory 3.0 and aiobreaker 1.2 take 1.5 to 1.7 times as long for each call. They only count failures in
a row. They know neither the share of failures in a window nor callers, and they read a clock of their own (2026-11-30,
`bench/libraries.py breaker`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal, Protocol

from semroute.config.schema.resilience import BreakerSettings

State = Literal["closed", "open", "half_open"]
SLOTS = 10
"""The number of steps in which the window moves."""
CALLERS = 64
"""How many callers are remembered: those who called last."""
DEFERRALS = 10
"""How many times within `probe_s` a process asks whether it may send the next probe."""


class CircuitBreaker(Protocol):
    """What a deployment needs of a breaker."""

    def state(self, now: float) -> State:
        """Return the state, as the module describes it."""
        ...

    def opens_in_s(self, now: float) -> float:
        """Return the seconds for which no call may pass. 0: a call may pass now."""
        ...

    def begin(self, now: float) -> bool:
        """Note that a call begins. Returns whether it is the probe."""
        ...

    def succeed(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """Note that a call succeeded."""
        ...

    def fail(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """Note that a call failed, and that it was the deployment's fault."""
        ...

    def abandon(self, now: float, *, probe: bool = False) -> None:
        """Note that a call ended without showing how the deployment is."""
        ...

    def trip(self, now: float, wait_s: float) -> None:
        """Open it for `wait_s`, because another process opened it."""
        ...

    def close(self) -> None:
        """Close it, because another process closed it."""
        ...

    def defer(self, now: float) -> None:
        """Wait with the next probe, because another process is sending one."""
        ...


class Breaker:
    """The state of one deployment. Times are seconds of one monotonic clock."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self._in_a_row = 0
        self._next_probe = math.inf
        """When the next probe may be sent. It has a meaning only while the breaker is not closed."""
        self._opened: float | None = None
        self._opener: str | None = None
        """The caller whose failure opened it in this process. None: another process opened it, or nothing did yet."""
        self._window = Window(settings.window_s)
        self._callers = CallerOutcomes(settings.window_s)

    def state(self, now: float) -> State:
        """Return the state, as the module describes it."""
        if self._opened is None:
            return "closed"
        return "open" if now < self._next_probe else "half_open"

    def opens_in_s(self, now: float) -> float:
        """Return the seconds for which no call may pass. 0: a call may pass now."""
        return 0.0 if self._opened is None else max(0.0, self._next_probe - now)

    def begin(self, now: float) -> bool:
        """Note that a call begins. Returns whether it is the probe."""
        if self._opened is None:
            return False
        self._next_probe = now + self.settings.probe_s
        return True

    def succeed(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """Note that a call succeeded. Unless the breaker is closed, only the probe counts: other calls began earlier.

        There is one exception. If one caller alone opened the breaker, another caller's success closes it as well,
        because the trouble was that caller's own.
        """
        self._callers.note(caller, now, served=True)
        if self._opened is None:
            self._in_a_row = 0
            self._window.add(now, failed=False)
        elif probe or (self._opener not in (None, caller) and self._callers.alone(self._opener, now)):
            self.close()

    def fail(self, now: float, *, probe: bool = False, caller: str = "") -> None:
        """Note that a call failed, and that it was the deployment's fault."""
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
        """Note that a call ended without a result, because its caller left. Another call may be the probe at once."""
        if probe and self._opened is not None:
            self._next_probe = now

    def trip(self, now: float, wait_s: float) -> None:
        """Open it for `wait_s`, because another process opened it."""
        self._opened, self._next_probe, self._opener = now, now + wait_s, None

    def close(self) -> None:
        """Close it, because another process closed it."""
        self._opened, self._in_a_row = None, 0
        self._window = Window(self.settings.window_s)

    def defer(self, now: float) -> None:
        """Wait with the next probe, because another process is sending one. Ask again soon, as its news may be lost."""
        self._next_probe = now + self.settings.probe_s / DEFERRALS

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= self.settings.failures:
            return True
        calls, failures = self._window.totals(now)
        return calls >= self.settings.min_calls and failures >= self.settings.error_ratio * calls


class CallerOutcomes:
    """Remembers how the last call of each caller ended."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._last: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    def note(self, caller: str, now: float, *, served: bool) -> None:
        """Note that a call has ended."""
        self._last[caller] = (now, served)
        self._last.move_to_end(caller)
        if len(self._last) > CALLERS:
            self._last.popitem(last=False)

    def alone(self, caller: str | None, now: float) -> bool:
        """Return whether most of the other callers within the window were served."""
        since = now - self._window_s
        others = [served for name, (at, served) in self._last.items() if name != caller and at > since]
        return 2 * sum(others) > len(others)


class Window:
    """Counts calls and failures within the last seconds. It moves in `SLOTS` steps."""

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
        """Return how many calls there were, and how many of them failed."""
        self._forget(now)
        return sum(self._calls), sum(self._failures)

    def _forget(self, now: float) -> int:
        """Empty the slots that have left the window. Returns the number of the current slot."""
        slot = int(now / self._step_s)
        if slot == self._slot:
            return slot
        for old in range(max(self._slot + 1, slot - SLOTS + 1), slot + 1):
            self._calls[old % SLOTS] = self._failures[old % SLOTS] = 0
        self._slot = max(self._slot, slot)
        return self._slot
