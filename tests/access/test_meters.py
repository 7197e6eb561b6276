from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from semroute.access.accounts import Accounts
from semroute.access.meters import Kind, Meter, meters, period, thrift
from semroute.access.reservations import Ask
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.policies import Policy
from semroute.config.schema.routes import Default
from semroute.config.schema.service import Budget
from semroute.errors import BudgetError, LimitError
from semroute.messages import ChatRequest
from semroute.record import Attempt, Record
from semroute.stores.memory import MemoryState
from tests.access.test_reservations import CONFIG as AMOUNTS
from tests.access.test_reservations import ONE, ask, decision

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


NO_BUDGETS = Config(providers={}, models={}, routes={}, default=Default(models=()))
DECIDED: tuple[Kind, ...] = ("requests",)


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


def minute(now: float, limit: int = 60) -> Meter:
    return next(iter(meters(CONFIG, Caller(id="k1", requests_per_minute=limit), None, now)))


def test_the_minute_before_counts_for_what_is_left_of_this_one() -> None:
    start = NOW - 30
    assert minute(start).previous == minute(start - 60).counter
    assert [minute(start + s).past(40, start + s) for s in (0, 15, 30, 45, 59.9)] == [40, 30, 20, 10, 0]


@pytest.mark.parametrize(
    ("level", "previous", "expected"),
    [
        (40, 60, 11),  # at second 41 the minute before counts 19
        (60, 0, 30 + 1),  # 30 s to the next minute, which then begins with all of this one
    ],
)
def test_when_there_is_room_again(level: int, previous: int, expected: float) -> None:
    meter, now = minute(NOW), NOW
    assert meter.wait_s(level, previous, 1, now) == pytest.approx(expected, abs=1.1)
    later = now + expected + 1.1
    then = minute(later)
    reached = (level, previous) if then.counter == meter.counter else (0, level)
    assert reached[0] + then.past(reached[1], later) + 1 <= meter.limit


async def test_no_sixty_seconds_hold_more_than_the_limit() -> None:
    now = NOW - 30 + 59
    accounts = Accounts(MemoryState(lambda: now), clock=lambda: now)
    caller = Caller(id="k1", requests_per_minute=10)

    async def served(count: int) -> int:
        done = 0
        for _ in range(count):
            ask = Ask(request=ChatRequest(id=f"{now}-{done}", messages=(), dialect="openai"))
            hold = accounts.open(NO_BUDGETS, caller, ask.request.id, None)
            try:
                await accounts.admit(NO_BUDGETS, caller, ask, decision(), hold, kinds=DECIDED)
            except LimitError as error:
                assert 0 < error.retry_after_s <= 61
                break
            done += 1
        return done

    assert await served(12) == 10
    now += 2  # the next minute has begun
    assert await served(12) == 0
    now += 30
    assert await served(12) == 5


async def test_one_more_answer_is_reserved_when_it_begins_and_freed_with_the_rest() -> None:
    state = MemoryState(lambda: NOW)
    accounts = Accounts(state, clock=lambda: NOW)
    config = replace(AMOUNTS, budgets=(Budget(name="all", usd=Decimal(12 * ONE).scaleb(-12)),))
    asked, chosen = ask(Policy()), decision()
    opened = accounts.open(config, Caller(), asked.request.id, None)
    hold, _ = await accounts.admit(config, Caller(), asked, chosen, opened)
    assert hold is not None
    (counter,) = (meter.counter for meter in hold.meters)
    assert await state.levels([counter]) == {counter: 4 * ONE}
    for number, (model, room) in enumerate([("large", True), ("middle", True), ("large", False), ("small", True)], 1):
        hold = replace(hold, more=number)
        assert await accounts.more(config, hold, asked, chosen, model) is room
    assert await state.levels([counter]) == {counter: (4 + 4 + 2 + 1) * ONE}
    attempts = [Attempt(model=name, status="ok", latency_ms=1, cost_usd=Decimal(ONE).scaleb(-12)) for name in "ab"]
    record = Record(request_id="1", decision=chosen, attempts=tuple(attempts), outcome="ok", overhead_ms=0)
    await accounts.settle(hold, record)
    assert await state.levels([counter]) == {counter: 2 * ONE}


@pytest.mark.parametrize(("cost", "leaves"), [(1, True), (2, True), (1, False)])
async def test_room_that_others_only_hold_is_waited_for(cost: int, leaves: bool) -> None:
    """Of 5 the first request holds 4, as much as the second wants. It spends 1, or 2, or goes on for long."""
    pauses: list[float] = []
    config = replace(AMOUNTS, budgets=(Budget(name="all", usd=Decimal(5 * ONE).scaleb(-12)),))
    first, second = (Ask(request=replace(ask(Policy()).request, id=name)) for name in ("first", "second"))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if leaves and len(pauses) == 2:
            attempt = Attempt(model="small", status="ok", latency_ms=1, cost_usd=Decimal(cost * ONE).scaleb(-12))
            ended = Record(request_id="first", decision=decision(), attempts=(attempt,), outcome="ok", overhead_ms=0)
            assert held is not None
            await accounts.settle(held, ended)

    accounts = Accounts(MemoryState(lambda: NOW), clock=lambda: NOW, sleep=sleep)
    opened = [accounts.open(config, Caller(), name, None) for name in ("first", "second")]
    held, _ = await accounts.admit(config, Caller(), first, decision(), opened[0])
    assert held is not None
    if leaves and cost == 1:
        await accounts.admit(config, Caller(), second, decision(), opened[1])
        assert pauses == [0.05, 0.15]
        return
    with pytest.raises(BudgetError, match="has no room for this request"):
        await accounts.admit(config, Caller(), second, decision(), opened[1])
    assert pauses == ([0.05, 0.15] if leaves else [0.05, 0.15, 0.3])
