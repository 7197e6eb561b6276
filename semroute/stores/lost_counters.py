"""What a process knows of counters that a shared state may have lost, while it kept the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from semroute.stores.unpaid_spend import Spent

NOTHING = 0, 0.0


class Knowledge(NamedTuple):
    """What a process knows just before it asks whether counters are lost. So all of it was counted before the loss."""

    since: int
    """A moment. The log tells what was spent before it."""
    heard: Spent
    """What the state last reported, by counter."""
    recent: Spent
    """What the state counted for this process and for requests that ended since the moment."""
    owed: Spent
    """What this process owes for requests that ended before the moment."""

    def restored(self, lost: Iterable[str], logged: Spent) -> tuple[Spent, Spent]:
        """Return what these counters must contain at least, and when they may be forgotten.

        `logged`: what the log says was spent before the moment. The first result has the counters that are in the log.
        They contain all requests that ended before the moment, so these must not be paid again. The second result has
        the others.
        """
        by_log, by_report = {}, {}
        for counter in lost:
            heard, end = self.heard[counter]
            if counter in logged:
                told = logged[counter][0] + self.recent.get(counter, NOTHING)[0]
                by_log[counter] = max(told, heard + self.owed.get(counter, NOTHING)[0]), end
            else:
                by_report[counter] = heard, end
        return by_log, by_report
