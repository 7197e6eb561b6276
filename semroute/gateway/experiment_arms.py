"""Put requests into the arms of experiments. An arm is a `Serving` of its own, which decides differently."""

from __future__ import annotations

import datetime
import logging
import math
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

from semroute.access.meters import Meter
from semroute.access.reservations import CostBasis, call
from semroute.access.trial_budget import TrialBudget, TrialHold, day_end, experiment_budget
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.experiments import Experiment
from semroute.gateway.serving import ArmServings, Serving
from semroute.messages import CHAT, ChatRequest
from semroute.router import Decided
from semroute.routing.arms import arm_of
from semroute.stores.experiment_store import Run
from semroute.stores.interfaces import to_usd

log = logging.getLogger("semroute.experiments")

Stage = Literal["waiting", "running", "paused", "ended"]

_USD = Meter(counter="", kind="usd", limit=0, name="")
HOLD_S = 3600.0
"""Seconds after which a reservation ends, if the caller left before the call began."""
_DAY_S = 86_400.0
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class Placed(NamedTuple):
    """Where a request goes."""

    serving: Serving
    control: Serving
    """The control arm."""
    experiment: str = ""
    """Empty: the experiment is over or pauses."""
    arm: str = ""
    limit: Decimal | None = None
    """What the arms other than control may spend in a day, if this is one of them. None: there is no limit."""


class Experiments:
    """Knows which experiments run now, and which arm a request belongs to. Nothing here waits for a database."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self.runs: Mapping[str, Run] = {}
        """What all processes know of the experiments, by name. An experiment that is not in it does not run yet."""
        self.ahead_s = 0.0
        """How far the clock of the database is ahead of this one. All processes start and end by that clock."""
        self._clock = clock
        self._spent_until: dict[str, float] = {}

    def now(self) -> float:
        """Return the time by the clock of the database."""
        return self._clock() + self.ahead_s

    def place(self, serving: Serving, request: ChatRequest, caller: Caller, unit: str) -> Placed | None:
        """Return the arm of a request. None: it takes part in no experiment. `unit`: see `Record.unit`."""
        if request.endpoint != CHAT:
            return None
        now, over = self.now(), None
        for each in serving.experiments:
            if not takes(each.experiment, request, caller):
                continue
            stage, control = self.stage(each, now), each.arms[each.control]
            if stage == "running":
                arm = arm_of(each.name, unit or request.id, each.weights)
                limit = each.experiment.budget_usd_per_day if arm != each.control else None
                return Placed(each.arms[arm], control, each.name, arm, limit)
            if stage == "paused":
                return Placed(control, control)
            if stage == "ended":
                over = over or Placed(control, control)  # unless another one runs now
        return over

    def may_start(self, each: ArmServings, now: float) -> bool:
        """Return whether one of an experiment's days is now."""
        first, last = days_of(each.experiment)
        return first <= now < last

    def stage(self, each: ArmServings, now: float) -> Stage:
        """Return how far an experiment is. `paused`: its budget of the day is spent."""
        run = self.runs.get(each.name)
        first, last = days_of(each.experiment)
        if run is None or now < first:
            return "waiting"
        if run.ended_at is not None or now >= last:
            return "ended"
        return "paused" if now < self._spent_until.get(each.name, 0.0) else "running"

    async def reserve(
        self, budget: TrialBudget, limit: Decimal, placed: Placed, config: Config, decided: Decided
    ) -> TrialHold | None:
        """Reserve what a request may cost in an arm with a limit. None: there is no room, so the experiment pauses."""
        basis = CostBasis(request=decided.request, policy=decided.choice.policy)
        calls = [call(_USD, config, basis, decided.decision, model) for model in decided.decision.plan]
        usd = to_usd(sum(calls) if basis.policy.cascade is not None else max(calls, default=0))
        name = experiment_budget(placed.experiment)
        hold = await budget.reserve(name, f"{decided.request.id}:arm", limit, usd, HOLD_S)
        if hold is None:
            self.pause(placed.experiment)
        return hold

    def pause(self, name: str) -> None:
        """Pause an experiment until the next day, because its budget is spent."""
        now = self.now()
        if self._spent_until.get(name, 0.0) <= now:
            self._spent_until[name] = day_end(now)
            log.warning(
                "the experiment %s pauses until tomorrow (UTC): its arms have spent the budget of the day", name
            )


def takes(experiment: Experiment, request: ChatRequest, caller: Caller) -> bool:
    """Return whether a request takes part in an experiment."""
    only = experiment.only
    if only.keys and caller.id not in only.keys and caller.name not in only.keys:
        return False
    if only.teams and caller.team not in only.teams:
        return False
    return not only.features or request.metadata.get("feature") in only.features


def days_of(experiment: Experiment) -> tuple[float, float]:
    """Return when the first day begins and the last one ends, in seconds since 1970. Infinite: that is open."""
    start, end = experiment.start, experiment.end
    first = -math.inf if start is None else (start.toordinal() - _EPOCH) * _DAY_S
    return first, math.inf if end is None else (end.toordinal() - _EPOCH + 1) * _DAY_S
