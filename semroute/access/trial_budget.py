"""The budgets of trials: what may be spent in a day to learn from requests. No other budget pays for trials."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from semroute.access.accounts import GRACE_S
from semroute.errors import StoreError
from semroute.stores.interfaces import HOLD_S, State, Want, to_pico

log = logging.getLogger("semroute.access")

_DAY_S = 86_400


class TrialHold(NamedTuple):
    """What one trial has reserved."""

    name: str
    counter: str
    expires_at: float


class TrialBudget:
    """Reserves what trials may cost, and counts what they did cost. All processes share one budget by its name."""

    def __init__(self, state: State, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970. A budget begins anew each day, in UTC."""
        self._state = state
        self._clock = clock
        self._freeing: set[asyncio.Task[None]] = set()
        self._told: dict[str, str] = {}
        """The budgets of which the log says that they are used up, each with the counter of that day."""

    async def reserve(
        self, name: str, trial: str, usd_per_day: Decimal, most_usd: Decimal, hold_s: float = HOLD_S
    ) -> TrialHold | None:
        """Reserve the most that a trial can cost. None: the budget has no room for it, or cannot be read.

        `name`: of the budget. `trial`: the id of the trial. Always call `settle` with the hold later. `hold_s`: the
        hold ends by itself after so many seconds.
        """
        counter, expires_at = trial_counter(name, now := self._clock()), day_end(now) + GRACE_S
        want = Want(counter, to_pico(most_usd), to_pico(usd_per_day), expires_at)
        try:
            verdict = await self._state.reserve(trial, [want], hold_s)
        except asyncio.CancelledError:  # it may be reserved by now
            task = asyncio.create_task(self.settle(TrialHold(trial, counter, expires_at), Decimal(0)))
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)
            raise
        except StoreError as error:
            log.warning("no trial is made, because its budget cannot be read: %s", error)
            return None
        if verdict.refused is None:
            return TrialHold(trial, counter, expires_at)
        if self._told.get(name) != counter:
            self._told[name] = counter
            room = f"the budget of the {name}, {usd_per_day} USD a day, has no room for a trial of {most_usd:.6f} USD"
            log.warning("%s; trials without room are only counted until midnight (UTC)", room)
        return None

    async def settle(self, hold: TrialHold, spent_usd: Decimal, ended: float | None = None) -> None:
        """Free what was reserved, and count what was spent. `ended`: as in the record of the trial."""
        try:
            spent = {hold.counter: (to_pico(spent_usd), hold.expires_at)}
            await self._state.settle(hold.name, spent, ended=ended)
        except StoreError as error:
            log.error("%s: could not count what the trial spent: %s", hold.name, error)

    async def spent_usd(self, name: str) -> Decimal:
        """Return what was spent or is reserved today. Raises `StoreError`."""
        counter = trial_counter(name, self._clock())
        return Decimal((await self._state.levels([counter])).get(counter, 0)).scaleb(-12)


def experiment_budget(experiment: str) -> str:
    """Return the name of the budget for the arms of an experiment."""
    return f"experiment:{experiment}"


def trial_counter(name: str, now: float) -> str:
    """Return the counter of a budget on the day of a moment."""
    return f"trial:{name}:{int(now // _DAY_S)}"


def day_end(now: float) -> float:
    """Return when the day of a moment ends, in seconds since 1970."""
    return (now // _DAY_S + 1) * _DAY_S
