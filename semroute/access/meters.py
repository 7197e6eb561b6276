"""Turn budgets and limits into counters of the shared state. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal, get_args

from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.service import Budget
from semroute.stores.interfaces import to_pico

Kind = Literal["usd", "requests", "tokens", "running"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KEY_SOFT = 0.8
"""The soft limit of a key's own budgets, as a share of the hard one."""


class Meter(Frozen, frozen=True, kw_only=True):
    """A counter and its limit."""

    counter: str
    kind: Kind
    limit: int
    """10^-12 USD, requests or tokens."""
    name: str
    """The name of the budget, or what a limit counts. See `title`."""
    soft: float = 1.0
    """The share of the limit above which the choice moves toward cheaper models."""
    begins: float = 0.0
    ends: float = 0.0
    """Seconds since 1970."""
    models: frozenset[str] | None = None
    """The models that it measures, with their deployments. None: all models."""
    previous: str | None = None
    """The counter of the minute before. It counts in part, by how much of this minute is left. None: there is none."""

    @property
    def title(self) -> str:
        """Return what messages call it."""
        return self.name if self.kind == "usd" else f"the limit of {self.limit} {self.name}"

    def measures(self, model: str) -> bool:
        """Return whether calls of a model count."""
        return self.models is None or model in self.models

    def past(self, level: int, now: float) -> int:
        """Return how much of the minute before still counts. With this minute it makes up the last 60 seconds."""
        return round(level * min(1.0, max(0.0, (self.ends - now) / (self.ends - self.begins))))

    def wait_s(self, level: int, previous: int, amount: int, now: float) -> float:
        """Return after how many seconds there may be room for an amount, by the levels of this minute and the last."""
        room, span_s = self.limit - level - amount, self.ends - self.begins
        if room >= 0 and previous:
            return max(0.0, self.begins + span_s * (1 - room / previous) - now)
        after_s = span_s * (1 - max(0, self.limit - amount) / level) if self.previous and level else 0.0
        return self.ends - now + max(0.0, after_s)


def meters(config: Config, caller: Caller, route: str | None, now: float) -> list[Meter]:
    """Return all meters that apply to a caller on a route, including those of models."""
    own = [*_limits(caller, now), *own_budgets(caller, now)] if caller.limited else []
    if not config.budgets:
        return own
    return own + [budget_meter(config, budget, now) for budget in config.budgets if _applies(budget, caller, route)]


def budget_meter(config: Config, budget: Budget, now: float) -> Meter:
    """Return the meter of a budget in the present period."""
    name, models = f"the budget {budget.name}", None
    if budget.model is not None:
        models = frozenset(model.id for model in config.models.values() if budget.model in (model.id, model.group))
    return _usd(f"usd:{budget.name}", name, budget.usd, budget.per, now, budget.soft, models)


def thrift(levels: Sequence[tuple[Meter, int]]) -> tuple[float, str | None]:
    """Return how far the dial moves toward cheap, from 0 to 1, and why: the budget that moves it farthest."""
    farthest: tuple[float, str | None] = 0.0, None
    for meter, level in levels:
        if meter.kind == "usd" and meter.limit > 0 and meter.soft < 1 and meter.models is None:
            slid = (level / meter.limit - meter.soft) / (1 - meter.soft)
            if slid > farthest[0]:
                farthest = min(slid, 1.0), f"{100 * level / meter.limit:.0f}% of {meter.name} is spent"
    return farthest


def _applies(budget: Budget, caller: Caller, route: str | None) -> bool:
    if budget.key is not None:
        return bool(caller.id) and budget.key in (caller.id, caller.name)
    if budget.team is not None:
        return budget.team == caller.team
    return budget.route is None or budget.route == route


def _limits(caller: Caller, now: float) -> Iterator[Meter]:
    whose = f"key {caller.id}"
    if caller.requests_per_minute is not None:
        yield _minute("requests", f"rpm:{caller.id}", caller.requests_per_minute, f"requests a minute of {whose}", now)
    if caller.tokens_per_minute is not None:
        yield _minute("tokens", f"tpm:{caller.id}", caller.tokens_per_minute, f"tokens a minute of {whose}", now)
    if caller.concurrency is not None:
        name, limit = f"requests at once of {whose}", caller.concurrency
        yield Meter(
            counter=f"running:{caller.id}", kind="running", limit=limit, name=name, begins=now, ends=now + 86_400
        )


def _minute(kind: Kind, counter: str, limit: int, name: str, now: float) -> Meter:
    minute = int(now // 60)
    return Meter(
        counter=f"{counter}:{minute}",
        previous=f"{counter}:{minute - 1}",
        kind=kind,
        limit=limit,
        name=name,
        begins=minute * 60.0,
        ends=(minute + 1) * 60.0,
    )


def own_budgets(caller: Caller, now: float) -> Iterator[Meter]:
    """Yield the meters of a key's own budgets."""
    counter = f"usd-key:{caller.id}"
    if caller.usd_per_day is not None:
        yield _usd(counter, f"the daily budget of key {caller.id}", caller.usd_per_day, "day", now, KEY_SOFT)
    if caller.usd_per_month is not None:
        yield _usd(counter, f"the monthly budget of key {caller.id}", caller.usd_per_month, "month", now, KEY_SOFT)


def _usd(
    counter: str,
    name: str,
    usd: Decimal,
    per: Literal["day", "month"],
    now: float,
    soft: float,
    models: frozenset[str] | None = None,
) -> Meter:
    begins, ends = period(per, now)
    return Meter(
        counter=f"{counter}:{per}:{begins:%Y-%m-%d}",
        kind="usd",
        limit=to_pico(usd),
        name=name,
        soft=soft,
        begins=begins.timestamp(),
        ends=ends.timestamp(),
        models=models,
    )


def period(per: Literal["day", "month"], now: float) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the first moment of the present day or month, in UTC, and the first moment of the next."""
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return day, day + datetime.timedelta(days=1)
    first = day.replace(day=1)
    return first, (first + datetime.timedelta(days=32)).replace(day=1)
