"""Find in the decision log what was spent of each budget. An empty state is filled from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple, get_args

from semroute.access.accounts import GRACE_S
from semroute.access.meters import Meter, budget_meter, own_budgets
from semroute.access.trial_budget import day_end, experiment_budget, trial_counter
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.service import Budget
from semroute.record import TrialPurpose
from semroute.stores.decision_log import Costs, SqlLog
from semroute.stores.rollups import ARM, CALLED, PURPOSE, arm_value, day_of


class _LogSource(NamedTuple):
    """The place in the log that counts what a meter measures."""

    meter: Meter
    dimension: str
    values: frozenset[str]


def spent_by_log(
    log: SqlLog, config: Config, keys: Sequence[Caller], now: float, before: float
) -> dict[str, tuple[int, float]]:
    """Return what each counter should hold, and when it may be forgotten.

    Only requests that ended before `before` count. Blocking. Raises `StoreError`.
    """
    sources = [*_sources(config, keys, now)]
    today = day_of(now)
    since = min([today, *(day_of(source.meter.begins) for source in sources)])
    costs = log.costs(since, ended_after=before)
    spent = {source.meter.counter: (max(0, _spent(costs, source)), source.meter.ends + GRACE_S) for source in sources}
    trials = {purpose: {(PURPOSE, purpose)} for purpose in get_args(TrialPurpose)} | {
        experiment_budget(name): {(ARM, arm_value(name, arm)) for arm in each.arms if arm != each.control_arm}
        for name, each in config.experiments.items()
        if each.budget_usd_per_day is not None
    }
    return spent | {
        trial_counter(name, now): (amount, day_end(now) + GRACE_S)
        for name, places in trials.items()
        if (amount := _spent_on(costs, places, today))
    }


def _sources(config: Config, keys: Sequence[Caller], now: float) -> Iterator[_LogSource]:
    for budget in config.budgets:
        meter = budget_meter(config, budget, now)
        yield _LogSource(meter, *_place(budget, meter, keys))
    for caller in keys:
        for meter in own_budgets(caller, now):
            yield _LogSource(meter, "key", frozenset({caller.id}))


def _place(budget: Budget, meter: Meter, keys: Sequence[Caller]) -> tuple[str, frozenset[str]]:
    if budget.key is not None:
        return "key", frozenset(caller.id for caller in keys if budget.key in (caller.id, caller.name))
    if budget.team is not None:
        return "team", frozenset({budget.team})
    if budget.route is not None:
        return "route", frozenset({budget.route})
    if meter.models is not None:
        return CALLED, meter.models
    return "all", frozenset({""})


def _spent_on(costs: Costs, places: Set[tuple[str, str]], day: int) -> int:
    """Return what was spent on a day under these (dimension, value), without what ended just now."""
    just_now = sum(cost for when, counted, cost in costs.just_now if when == day and not counted.isdisjoint(places))
    return max(0, sum(costs.by_day.get((dimension, day, value), 0) for dimension, value in places) - just_now)


def _spent(costs: Costs, source: _LogSource) -> int:
    """Return what the log counted in a meter's period, minus what ended just now and what was reset."""
    first, end = day_of(source.meter.begins), day_of(source.meter.ends)
    total = sum(
        cost
        for (dimension, day, value), cost in costs.by_day.items()
        if dimension == source.dimension and value in source.values and first <= day < end
    )
    just_now = sum(
        cost
        for day, places, cost in costs.just_now
        if first <= day < end and any((source.dimension, value) in places for value in source.values)
    )
    return total - just_now - costs.resets.get(source.meter.counter, 0)
