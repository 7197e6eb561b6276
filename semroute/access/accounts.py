"""Budgets and limits. What a call may cost is reserved before it is made. At the end, what was spent is counted."""

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
from semroute.access.permissions import barred, may_see_budget
from semroute.access.reservations import CostBasis, call, most, took
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


class Hold:
    """What one request has reserved, and what it will be charged to. It exists before anything is reserved.

    Each further reservation has a name of its own and never changes. So the state may get them in any order.
    """

    def __init__(self, request_id: str, meters: tuple[Meter, ...]) -> None:
        """`meters`: all that apply to the request."""
        self.request_id = request_id
        self.meters = meters
        self.reserved: dict[str, int] | None = None
        """How much is reserved, by counter. None: not known, because the state has not answered yet."""
        self.more = 0
        """The number of further reservations. Each may have reached the state."""

    def further(self, number: int) -> str:
        """Return the name of a further reservation."""
        return f"{self.request_id}:{number}"

    def reserve(self, amounts: Mapping[str, int], sign: int = 1) -> None:
        """Note that more is reserved. `sign`: -1 if less is."""
        reserved = self.reserved = self.reserved or {}
        for counter, amount in amounts.items():
            reserved[counter] = reserved.get(counter, 0) + sign * amount


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
        return Hold(request_id, found) if found else None

    async def admit(
        self,
        config: Config,
        caller: Caller,
        basis: CostBasis,
        decision: Decision,
        hold: Hold | None,
        *,
        kinds: Collection[Kind] = KINDS,
    ) -> Decision:
        """Reserve what the first call of a request may cost. `kinds`: the kinds of meters to use.

        Reserves the most that an answer of the plan's first model can cost: the estimated input, and the output that
        `max_tokens` allows, else the model's `max_output_tokens`, else what the policy expects. If a budget has no room
        for that model, it leaves the plan, and the next one that fits is the first. `top_up` reserves what other models
        cost. Raises `BudgetError` and `LimitError` if no model fits, and `ForbiddenError` for a route that the key does
        not allow.
        """
        now = self._clock()
        if not caller.may_take(decision.route):
            message = f"the key {caller.id} may not use route {decision.route!r}, only {', '.join(caller.routes)}"
            raise ForbiddenError(message)
        if hold is None:
            return decision
        applying = [meter for meter in hold.meters if meter.kind in kinds]
        before, pauses = await self._before(applying, now), iter(PAUSES_S)
        while True:
            amounts = {meter.counter: most(meter, config, basis, decision, *decision.plan[:1]) for meter in applying}
            chosen = [meter for meter in applying if amounts[meter.counter]]
            verdict = await self._claim(hold.request_id, chosen, amounts, before, now)
            if verdict.refused is None:
                hold.reserve({meter.counter: amounts[meter.counter] for meter in chosen})
                return decision
            refusing = next(meter for meter in chosen if meter.counter == verdict.refused)
            costs = [most(refusing, config, basis, decision, model) for model in decision.plan]
            room = refusing.limit - refusing.past(before.get(verdict.refused, 0), now) - verdict.levels[verdict.refused]
            fitting = next((place for place, cost in enumerate(costs) if not cost or cost <= room), None)
            if fitting:
                decision = without(decision, refusing, decision.plan[:fitting])
                continue
            amount = min(costs, default=amounts[verdict.refused])
            if _only_held(refusing, verdict, amount) and (pause_s := next(pauses, None)) is not None:
                await self._sleep(pause_s)
                continue
            raise self._refusal(refusing, verdict, before.get(verdict.refused, 0), amount, now)

    async def top_up(
        self, config: Config, hold: Hold, basis: CostBasis, decision: Decision, model: str, beside: Sequence[str] = ()
    ) -> Meter | None:
        """Reserve what is missing for one more call. Returns the budget or limit without room. None: there is room.

        The hold must cover what the request has spent (`basis.spent`), the calls under way `beside` this one, and this
        one. All that is missing is one further reservation, or nothing is reserved. If enough is reserved already, the
        state is not asked.
        """
        now, reserved = self._clock(), hold.reserved or {}
        missing: dict[str, int] = {}
        for meter in hold.meters:
            if meter.kind in ("usd", "tokens") and call(meter, config, basis, decision, model):
                short = most(meter, config, basis, decision, *beside, model) - reserved.get(meter.counter, 0)
                if short > 0:
                    missing[meter.counter] = short
        if not missing:
            return None
        chosen = [meter for meter in hold.meters if meter.counter in missing]
        hold.more += 1
        name, granted = hold.further(hold.more), False
        hold.reserve(missing)  # another call of this request may ask before the state answers
        try:
            before = await self._before(chosen, now)
            verdict = await self._claim(name, chosen, missing, before, now)
            granted = verdict.refused is None
        except StoreError:
            return chosen[0]
        finally:
            if not granted:
                hold.reserve(missing, -1)
        return next((meter for meter in chosen if meter.counter == verdict.refused), None)

    async def _claim(
        self, name: str, chosen: Sequence[Meter], amounts: Mapping[str, int], before: Mapping[str, int], now: float
    ) -> Verdict:
        """Reserve an amount of each meter, or nothing. `before`: the levels of the minute before."""
        if not chosen:
            return Verdict(None, {})
        wants = [
            Want(m.counter, amounts[m.counter], m.limit - m.past(before.get(m.counter, 0), now), m.ends + GRACE_S)
            for m in chosen
        ]
        verdict = await self._state.reserve(name, wants, HOLD_S)
        self._note(verdict.levels)
        return verdict

    async def settle(self, hold: Hold, record: Record) -> None:
        """Free what was reserved, and count what was spent. For a refused request, that is the cost of deciding."""
        spent = {meter.counter: (_spent(meter, record), meter.ends + GRACE_S) for meter in hold.meters}
        reserved = spent if hold.reserved is None else hold.reserved
        named = {name: each for name, each in spent.items() if each[0] or name in reserved}
        nothing = {meter.counter: (0, meter.ends + GRACE_S) for meter in hold.meters}
        try:
            await self._state.settle(hold.request_id, named, ended=record.ended)
            for number in range(1, hold.more + 1):
                await self._state.settle(hold.further(number), nothing)
        except StoreError as error:
            log.error("%s: could not count what the request spent: %s", record.request_id, error)

    async def report(self, config: Config, keys: Sequence[Caller], reader: Caller = Caller()) -> list[dict[str, Any]]:
        """Return each budget that the reader may see, and how much of it is spent."""
        now = self._clock()
        found = [
            budget_meter(config, budget, now) for budget in config.budgets if may_see_budget(config, reader, budget)
        ]
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
                f"{meter.title} is reached: try again when one of them has ended",
                retry_after_s=wait_s,
            )
        wait_s = max(1, math.ceil(meter.wait_s(level, before, amount, now)))
        if meter.kind != "usd":
            return LimitError(f"{meter.title} is used up: try again in {wait_s} s", retry_after_s=wait_s)
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


def _only_held(meter: Meter, verdict: Verdict, amount: int) -> bool:
    """Return whether a budget lacks room only because of what requests under way hold.

    They may spend less than they hold.
    """
    spent = verdict.spent.get(meter.counter, 0)
    return meter.kind == "usd" and spent + amount <= meter.limit < verdict.levels[meter.counter] + amount


def _spent(meter: Meter, record: Record) -> int:
    if meter.kind == "requests":
        return 0 if record.outcome == "refused" else 1
    return sum(took(meter, attempt) for attempt in record.attempts)


def without(decision: Decision, meter: Meter, models: Collection[str]) -> Decision:
    """Return the decision without models that a budget or limit has no room for. At least one must be left."""
    left = tuple(model for model in decision.plan if model not in models)
    details = tuple(entry for entry in decision.plan_details if entry.model not in models)
    gone = dict.fromkeys(models, f"{meter.title} has no room for it")
    decision = replace(decision, plan=left, plan_details=details, rejected={**decision.rejected, **gone})
    if left[0] == decision.model:
        return decision
    # The budget chose the model that is first now, not chance.
    return replace(decision, model=left[0], propensity=None, explored=False, instead_of=None)


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
