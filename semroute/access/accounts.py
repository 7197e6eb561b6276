"""Budgets and limits. They are reserved before a call and settled after it."""

from __future__ import annotations

import asyncio
import datetime
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from semroute.access.meters import KINDS, Kind, Meter, budget_meter, meters, thrift
from semroute.access.permissions import barred, concerns
from semroute.access.reservations import Ask, most, took
from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.decision import Decision, Signals
from semroute.errors import BudgetError, ForbiddenError, LimitError, StoreError
from semroute.record import Record
from semroute.stores.interfaces import HOLD_S, State, Verdict, Want, to_usd

log = logging.getLogger("semroute.access")

GRACE_S = 86_400.0
"""Seconds for which a counter is kept after its period, for reports."""
FRESH_S = 1.0
"""The greatest age, in seconds, of a level that moves the dial or leaves out a model. Reservations never use old
levels."""

PAUSES_S = (0.05, 0.15, 0.3)
"""Pauses in seconds before a request asks again for room that requests under way hold. They may spend less than they
hold."""


class Hold(Frozen, frozen=True, kw_only=True):
    """What one request may reserve, and what it will be charged to. It exists before anything is reserved."""

    request_id: str
    meters: tuple[Meter, ...]
    """All meters that apply to the request."""
    claimed: frozenset[str]
    """The counters that are reserved, as far as is known. Until the state has answered: all of them."""
    more: int = 0
    """The number of further reservations for the request."""


class Accounts:
    """Admits requests, and counts what they spent."""

    def __init__(
        self,
        state: State,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        frees_in_s: Callable[[], float] = lambda: 0.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`clock`: seconds since 1970, for periods. `monotonic`: for the age of levels.

        `frees_in_s`: returns the longest time in seconds until the holds of dead processes are freed.
        """
        self._monotonic = monotonic
        self._state = state
        self._clock = clock
        self._frees_in_s = frees_in_s
        self._sleep = sleep
        self._levels: dict[str, tuple[int, float]] = {}

    async def signals(self, config: Config, caller: Caller, route: str | None, signals: Signals) -> tuple[Signals, str]:
        """Add what keys and budgets say to the facts of the moment. Also returns why the dial moves, if it does."""
        unavailable = signals.unavailable | barred(config, caller)
        budgets = [meter for meter in meters(config, caller, route, self._clock()) if meter.kind == "usd"]
        slid, why = 0.0, None
        if budgets:
            levels = await self._recent(budgets)
            slid, why = thrift(levels)
            spent = [meter for meter, level in levels if level >= meter.limit]
            unavailable |= {model: f"{meter.name} is spent" for meter in spent for model in meter.models or ()}
        if slid or len(unavailable) > len(signals.unavailable):
            return replace(signals, unavailable=unavailable, thrift=slid), why or ""
        return signals, ""

    async def exhausted(self, config: Config, caller: Caller, model: str) -> bool:
        """Return whether nothing is left for a model call that is needed before the route is known."""
        applying = (meter for meter in meters(config, caller, None, self._clock()) if meter.measures(model))
        budgets = [meter for meter in applying if meter.kind == "usd"]
        return any(level >= meter.limit for meter, level in await self._recent(budgets))

    def open(self, config: Config, caller: Caller, request_id: str, route: str | None) -> Hold | None:
        """Return what a request will be charged to. None: no budget or limit applies to it.

        Always call `settle` later, whatever happens to the request. Only that frees all that it holds.
        """
        found = tuple(meters(config, caller, route, self._clock()))
        counters = frozenset(meter.counter for meter in found)
        return Hold(request_id=request_id, meters=found, claimed=counters) if found else None

    async def admit(
        self,
        config: Config,
        caller: Caller,
        ask: Ask,
        decision: Decision,
        hold: Hold | None,
        *,
        kinds: Collection[Kind] = KINDS,
    ) -> tuple[Hold | None, Decision]:
        """Reserve what a request may cost. A model without budget leaves the plan. `kinds`: the kinds of meters to use.

        Reserves the most that the request can cost: the estimated input, and the output that `max_tokens` allows, else
        the model's `max_output_tokens`, else what the policy expects. Raises `BudgetError`, `LimitError`, and
        `ForbiddenError` for a route that the key does not allow.
        """
        now = self._clock()
        if not caller.may_take(decision.route):
            message = f"the key {caller.id} may not use route {decision.route!r}, only {', '.join(caller.routes)}"
            raise ForbiddenError(message)
        if hold is None:
            return None, decision
        applying = [meter for meter in hold.meters if meter.kind in kinds]
        before, pauses = await self._before(applying, now), iter(PAUSES_S)
        while applying:
            called = _callable(ask, decision)
            chosen = tuple(meter for meter in applying if meter.models is None or meter.models & called)
            wants = [_want(m, most(m, config, ask, decision), m.past(before.get(m.counter, 0), now)) for m in chosen]
            verdict = await self._state.reserve(hold.request_id, wants, HOLD_S)
            self._note(verdict.levels)
            if verdict.refused is None:
                return replace(hold, claimed=frozenset(meter.counter for meter in chosen)), decision
            refusing = next(meter for meter in chosen if meter.counter == verdict.refused)
            left = tuple(model for model in decision.plan if not refusing.measures(model))
            if left in ((), decision.plan):
                amount = most(refusing, config, ask, decision)
                if _only_held(refusing, verdict, amount) and (pause_s := next(pauses, None)) is not None:
                    await self._sleep(pause_s)
                    continue
                raise self._refusal(refusing, verdict, before.get(refusing.counter, 0), amount, now)
            decision = _without(decision, refusing, left)
        return replace(hold, claimed=frozenset()), decision

    async def more(self, config: Config, hold: Hold, ask: Ask, decision: Decision, model: str) -> bool:
        """Reserve what one more answer of a model may cost, as a further reservation of the hold.

        Returns whether there is room for it.
        """
        now, alone = self._clock(), replace(decision, plan=(model,))
        priced = [meter for meter in hold.meters if meter.kind in ("usd", "tokens") and meter.measures(model)]
        try:
            before = await self._before(priced, now)
            wants = [_want(m, most(m, config, ask, alone), m.past(before.get(m.counter, 0), now)) for m in priced]
            return not wants or (await self._state.reserve(_further(hold), wants, HOLD_S)).refused is None
        except StoreError:
            return False

    async def settle(self, hold: Hold, record: Record) -> None:
        """Free what was reserved, and count what was spent. For a refused request, that is the cost of deciding."""
        spent = {meter.counter: (_spent(meter, record), meter.ends + GRACE_S) for meter in hold.meters}
        named = {name: each for name, each in spent.items() if each[0] or name in hold.claimed}
        nothing = {meter.counter: (0, meter.ends + GRACE_S) for meter in hold.meters}
        try:
            await self._state.settle(hold.request_id, named, ended=record.ended)
            for number in range(1, hold.more + 1):
                await self._state.settle(_further(replace(hold, more=number)), nothing)
        except StoreError as error:
            log.error("%s: could not count what the request spent: %s", record.request_id, error)

    async def report(self, config: Config, keys: Sequence[Caller], reader: Caller = Caller()) -> list[dict[str, Any]]:
        """Return each budget that the reader may see, and how much of it is spent."""
        now = self._clock()
        found = [budget_meter(config, budget, now) for budget in config.budgets if concerns(config, reader, budget)]
        no_budgets = Config(providers={}, models={}, default=config.default, routes={})
        for caller in [key for key in keys if not reader.restricted or key.id == reader.id]:
            found += [meter for meter in meters(no_budgets, caller, None, now) if meter.kind == "usd"]
        levels = await self._state.levels([meter.counter for meter in found])
        return [_reported(meter, levels) for meter in found]

    async def reset(self, config: Config, keys: Sequence[Caller], counter: str) -> int | None:
        """Set what was spent of a budget in its period to 0. `report` names the counter.

        Returns how much was spent, in 10^-12 USD. None: there is no such counter.
        """
        if counter not in {row["counter"] for row in await self.report(config, keys)}:
            return None
        self._levels.pop(counter, None)
        return await self._state.reset(counter)

    def _refusal(
        self, meter: Meter, verdict: Verdict, before: int, amount: int, now: float
    ) -> BudgetError | LimitError:
        """Return the error that says why there is no room, and when there may be some."""
        level = verdict.levels[meter.counter]
        if meter.kind == "running":
            wait_s = max(1, math.ceil(self._frees_in_s()))
            return LimitError(
                f"the limit of {meter.limit} {meter.name} is reached: try again when one of them has ended",
                retry_after_s=wait_s,
            )
        wait_s = max(1, math.ceil(meter.wait_s(level, before, amount, now)))
        if meter.kind != "usd":
            return LimitError(
                f"the limit of {meter.limit} {meter.name} is used up: try again in {wait_s} s", retry_after_s=wait_s
            )
        if _only_held(meter, verdict, amount):
            wait_s = max(1, math.ceil(self._frees_in_s()))
        ends = datetime.datetime.fromtimestamp(meter.ends, datetime.UTC)
        return BudgetError(
            f"{meter.name}, {to_usd(meter.limit):f} USD, has no room for this request: {to_usd(level):f} USD are spent "
            f"or reserved; a new period starts at {ends:%Y-%m-%d %H:%M} UTC",
            retry_after_s=wait_s,
        )

    async def _before(self, applying: Sequence[Meter], now: float) -> dict[str, int]:
        """Return what each counter reached in the minute before. Read again later, because some is settled late."""
        previous = {meter.counter: meter.previous for meter in applying if meter.previous is not None}
        if not previous:
            return {}
        begun = next(meter.begins for meter in applying if meter.previous is not None)
        fresh = self._monotonic() - min(FRESH_S, max(0.0, now - begun))
        old = [name for name in previous.values() if self._levels.get(name, (0, -math.inf))[1] < fresh]
        if old:
            self._note(await self._state.levels(old))
        return {counter: self._levels.get(name, (0, 0.0))[0] for counter, name in previous.items()}

    async def _recent(self, wanted: Sequence[Meter]) -> list[tuple[Meter, int]]:
        """Return levels that are at most `FRESH_S` old."""
        now = self._monotonic()
        old = [m.counter for m in wanted if now - self._levels.get(m.counter, (0, -math.inf))[1] > FRESH_S]
        if old:
            levels = await self._state.levels(old)
            self._levels = {n: level for n, level in self._levels.items() if now - level[1] <= FRESH_S}
            self._note(levels)
        return [(meter, self._levels.get(meter.counter, (0, 0.0))[0]) for meter in wanted]

    def _note(self, levels: Mapping[str, int]) -> None:
        now = self._monotonic()
        self._levels |= {name: (level, now) for name, level in levels.items()}


def _further(hold: Hold) -> str:
    """Return the name of the last further reservation."""
    return f"{hold.request_id}:{hold.more}"


def _callable(ask: Ask, decision: Decision) -> set[str]:
    """Return the models that may cost something: those of the plan, a judge, and those that deciding called."""
    judge = ask.policy.cascade.checks.judge if ask.policy.cascade is not None else None
    return {*decision.plan, *(call.model for call in ask.spent), *([judge.model] if judge is not None else [])}


def _only_held(meter: Meter, verdict: Verdict, amount: int) -> bool:
    """Return whether a budget lacks room only because of what requests under way hold.

    They may spend less than they hold.
    """
    spent = verdict.spent.get(meter.counter, 0)
    return meter.kind == "usd" and spent + amount <= meter.limit < verdict.levels[meter.counter] + amount


def _want(meter: Meter, amount: int, past: int) -> Want:
    return Want(meter.counter, amount, meter.limit - past, meter.ends + GRACE_S)


def _spent(meter: Meter, record: Record) -> int:
    if meter.kind == "requests":
        return 0 if record.outcome == "refused" else 1
    return sum(took(meter, attempt) for attempt in record.attempts)


def _without(decision: Decision, meter: Meter, left: tuple[str, ...]) -> Decision:
    gone = dict.fromkeys((model for model in decision.plan if model not in left), f"{meter.name} has no room for it")
    return replace(decision, plan=left, model=left[0], rejected={**decision.rejected, **gone})


def _reported(meter: Meter, levels: Mapping[str, int]) -> dict[str, Any]:
    level = levels[meter.counter]
    return {
        "counter": meter.counter,
        "name": meter.name,
        "limit_usd": to_usd(meter.limit),
        "spent_usd": to_usd(level),
        "share": round(level / meter.limit, 6) if meter.limit else 1.0,
        "soft": meter.soft,
        "begins": meter.begins,
        "ends": meter.ends,
    }
