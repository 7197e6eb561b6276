from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from semroute.access.meters import Meter, meters, period, thrift
from semroute.config.schema import Budget, Config, Default
from semroute.record import Caller

NOW = datetime.datetime(2026, 12, 31, 23, 59, 30, tzinfo=datetime.UTC).timestamp()
CONFIG = Config(
    providers={},
    models={},
    routes={},
    default=Default(models=("m",)),
    budgets=(
        Budget(name="all", usd=Decimal(100)),
        Budget(name="app", usd=Decimal(1), key="app"),
        Budget(name="web", usd=Decimal(2), team="web", per="day"),
        Budget(name="billing", usd=Decimal(3), route="billing"),
        Budget(name="large", usd=Decimal(4), model="large"),
    ),
)


@pytest.mark.parametrize(
    ("caller", "route", "names"),
    [
        (Caller(), None, ["all", "large"]),
        (Caller(id="k1", name="app"), "billing", ["all", "app", "billing", "large"]),
        (Caller(id="k1", team="web"), "coding", ["all", "web", "large"]),
    ],
)
def test_budgets_apply_to_what_they_are_for(caller: Caller, route: str | None, names: list[str]) -> None:
    assert [meter.counter.split(":")[1] for meter in meters(CONFIG, caller, route, NOW)] == names


def test_a_period_begins_anew_at_midnight_utc() -> None:
    assert [moment.isoformat() for moment in period("month", NOW)] == [
        "2026-12-01T00:00:00+00:00",
        "2027-01-01T00:00:00+00:00",
    ]
    today, tomorrow = (meters(CONFIG, Caller(team="web"), None, now)[1] for now in (NOW, NOW + 60))
    assert (today.counter, tomorrow.counter) == ("usd:web:day:2026-12-31", "usd:web:day:2027-01-01")
    assert today.ends == tomorrow.begins


def test_the_limits_of_a_key() -> None:
    caller = Caller(id="k1", requests_per_minute=5, tokens_per_minute=9, concurrency=2, usd_per_day=Decimal(1))
    found = {meter.kind: meter.limit for meter in meters(CONFIG, caller, None, NOW) if "k1" in meter.counter}
    assert found == {"requests": 5, "tokens": 9, "running": 2, "usd": 10**12}


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (80, 0), (90, 0.5), (100, 1), (150, 1)])
def test_the_dial_slides_from_the_soft_limit_to_the_hard_one(level: int, expected: float) -> None:
    meter = Meter(counter="c", kind="usd", limit=100, name="the budget x", soft=0.8)
    slid, why = thrift([(meter, level)])
    assert slid == pytest.approx(expected)
    assert (why is None) == (expected == 0)
