"""Find in the decision log what was spent of each budget. An empty state is filled from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from semroute.access.accounts import GRACE_S
from semroute.access.meters import Meter, budget_meter, own_budgets
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.service import Budget
from semroute.stores.decision_log import Costs, SqlLog
from semroute.stores.rollups import CALLED, day_of


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
    if not sources:
        return {}
    costs = log.costs(day_of(min(source.meter.begins for source in sources)), ended_after=before)
    return {source.meter.counter: (max(0, _spent(costs, source)), source.meter.ends + GRACE_S) for source in sources}


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
