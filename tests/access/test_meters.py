from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pytest
from msgspec.structs import replace

from semroute.access.accounts import Accounts
from semroute.access.meters import Kind, Meter, meters, period, thrift
from semroute.access.reservations import CostBasis
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.policies import Policy
from semroute.config.schema.routes import Default
from semroute.config.schema.service import Budget
from semroute.errors import BudgetError, LimitError
from semroute.messages import ChatRequest, Params
from semroute.record import Attempt, Record
from semroute.stores.interfaces import State, Verdict, Want
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


def budget(ones: int) -> Budget:
    """A budget for so many calls of the small model."""
    return Budget(name="all", usd=Decimal(ones * ONE).scaleb(-12))


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
            ask = CostBasis(request=ChatRequest(id=f"{now}-{done}", messages=(), dialect="openai"))
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


async def test_a_hold_is_topped_up_by_what_is_missing_and_freed_as_a_whole() -> None:
    state = MemoryState(lambda: NOW)
    accounts = Accounts(state, clock=lambda: NOW)
    config = replace(AMOUNTS, budgets=(budget(8),))
    asked, chosen = ask(Policy()), decision()
    hold = accounts.open(config, Caller(), asked.request.id, None)
    assert await accounts.admit(config, Caller(), asked, chosen, hold) == chosen
    assert hold is not None
    (meter,) = hold.meters

    async def held() -> int:
        return (await state.levels([meter.counter]))[meter.counter] // ONE

    assert await held() == 1  # small is the first of the plan
    steps: list[tuple[str, list[str], Meter | None, int]] = [
        ("small", [], None, 1),  # once more, as the first try cost nothing
        ("middle", [], None, 2),
        ("small", [], None, 2),
        ("large", ["middle"], None, 6),
        ("middle", ["middle", "large"], None, 8),
        ("small", ["middle", "large", "middle"], meter, 8),
        ("large", [], None, 8),
    ]
    for model, beside, refusing, reserved in steps:
        assert await accounts.top_up(config, hold, asked, chosen, model, beside) == refusing
        assert await held() == reserved
    attempts = [Attempt(model=name, status="ok", latency_ms=1, cost_usd=Decimal(ONE).scaleb(-12)) for name in "ab"]
    after_both = replace(asked, spent=tuple(attempts))
    assert await accounts.top_up(config, hold, after_both, chosen, "large") is None
    assert await accounts.top_up(config, hold, after_both, chosen, "large", ["large"]) == meter
    record = Record(request_id="1", decision=chosen, attempts=tuple(attempts), outcome="ok", overhead_ms=0)
    await accounts.settle(hold, record)
    assert await held() == 2


async def test_a_top_up_that_its_caller_did_not_wait_for_is_freed_with_the_rest() -> None:
    state = MemoryState(lambda: NOW)
    config, asked, chosen = replace(AMOUNTS, budgets=(budget(8),)), ask(Policy()), decision()

    class Deaf:
        """The answers of this state do not arrive."""

        async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
            verdict = await state.reserve(hold, wants, lease_s)
            if ":" in hold:
                await asyncio.Event().wait()
            return verdict

        def __getattr__(self, name: str) -> Any:
            return getattr(state, name)

    accounts = Accounts(cast(State, Deaf()), clock=lambda: NOW)
    hold = accounts.open(config, Caller(), asked.request.id, None)
    await accounts.admit(config, Caller(), asked, chosen, hold)
    assert hold is not None
    asking = asyncio.create_task(accounts.top_up(config, hold, asked, chosen, "large"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    counter = hold.meters[0].counter
    assert await state.levels([counter]) == {counter: 4 * ONE}
    assert hold.reserved == {counter: ONE}  # whatever the state has, only this is sure
    record = Record(request_id="1", decision=chosen, attempts=(), outcome="cancelled", overhead_ms=0)
    await accounts.settle(hold, record)
    assert await state.levels([counter]) == {counter: 0}


@pytest.mark.parametrize(
    ("room", "plan", "left"),
    [
        (4, ("large", "middle", "small"), ("large", "middle", "small")),
        (3, ("large", "middle", "small"), ("middle", "small")),
        (1, ("middle", "small", "large"), ("small", "large")),
        (1, ("small", "large"), ("small", "large")),
        (0, ("large", "small"), None),
    ],
)
@pytest.mark.parametrize("kind", ["usd", "tokens"])
async def test_the_first_model_that_fits_is_the_first_of_the_plan(
    kind: str, room: int, plan: tuple[str, ...], left: tuple[str, ...] | None
) -> None:
    tokens = {"large": 4 * ONE, "middle": 2 * ONE, "small": ONE}
    models = {name: replace(model, max_output_tokens=tokens[name] - 100) for name, model in AMOUNTS.models.items()}
    config, caller, asked = replace(AMOUNTS, budgets=(budget(room),)), Caller(), ask(Policy())
    if kind == "tokens":
        config = replace(AMOUNTS, models=models)
        caller = Caller(id="k1", tokens_per_minute=room * ONE)
        asked = CostBasis(request=replace(asked.request, params=Params()))
    accounts = Accounts(MemoryState(lambda: NOW), clock=lambda: NOW)
    hold = accounts.open(config, caller, "1", None)
    asking = accounts.admit(config, caller, asked, replace(decision(), plan=plan, model=plan[0]), hold)
    if left is None:
        with pytest.raises(BudgetError if kind == "usd" else LimitError):
            await asking
        return
    admitted = await asking
    assert (admitted.plan, admitted.model) == (left, left[0])
    name = "the budget all" if kind == "usd" else f"the limit of {room * ONE} tokens a minute of key k1"
    assert admitted.rejected == {model: f"{name} has no room for it" for model in plan if model not in left}


async def test_a_model_that_costs_nothing_fits_every_budget() -> None:
    free = replace(AMOUNTS.models["small"], id="free", input_price=Decimal(0), output_price=Decimal(0))
    config = replace(AMOUNTS, models={**AMOUNTS.models, "free": free}, budgets=(budget(1),))
    state = MemoryState(lambda: NOW)
    accounts = Accounts(state, clock=lambda: NOW)
    hold = accounts.open(config, Caller(), "1", None)
    assert hold is not None
    await state.settle("before", {hold.meters[0].counter: (2 * ONE, NOW + 1)})  # more than the limit
    admitted = await accounts.admit(config, Caller(), ask(Policy()), replace(decision(), plan=("large", "free")), hold)
    assert admitted.plan == ("free",)


@pytest.mark.parametrize(("cost", "leaves"), [(1, True), (2, True), (1, False)])
async def test_room_that_others_only_hold_is_waited_for(cost: int, leaves: bool) -> None:
    """Of 5 the first request holds 4, as much as the second wants. It spends 1, or 2, or goes on for long."""
    pauses: list[float] = []
    config, plan = replace(AMOUNTS, budgets=(budget(5),)), replace(decision(), plan=("large",))
    first, second = (CostBasis(request=replace(ask(Policy()).request, id=name)) for name in ("first", "second"))

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if leaves and len(pauses) == 2:
            attempt = Attempt(model="small", status="ok", latency_ms=1, cost_usd=Decimal(cost * ONE).scaleb(-12))
            ended = Record(request_id="first", decision=decision(), attempts=(attempt,), outcome="ok", overhead_ms=0)
            assert held is not None
            await accounts.settle(held, ended)

    accounts = Accounts(MemoryState(lambda: NOW), clock=lambda: NOW, sleep=sleep)
    opened = [accounts.open(config, Caller(), name, None) for name in ("first", "second")]
    held = opened[0]
    await accounts.admit(config, Caller(), first, plan, held)
    if leaves and cost == 1:
        await accounts.admit(config, Caller(), second, plan, opened[1])
        assert pauses == [0.05, 0.15]
        return
    with pytest.raises(BudgetError, match="has no room for this request"):
        await accounts.admit(config, Caller(), second, plan, opened[1])
    assert pauses == ([0.05, 0.15] if leaves else [0.05, 0.15, 0.3])
