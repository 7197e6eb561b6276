"""What is learned of the models' quality (`policy.learn`): the grades of all processes, and what may be spent to learn.

Grades are read from the database in the background, so no request waits for them. So is the budget: each process
reserves a part of the day's budget in advance, spends it, and reserves the next part.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from semroute.access.trial_budget import TrialBudget, TrialHold
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Learn, Policy
from semroute.decision import Belief, Decision, Reason, Signals
from semroute.errors import StoreError
from semroute.messages import new_id
from semroute.record import Record
from semroute.routing.decide import Choice
from semroute.routing.policy import TIER_QUALITY
from semroute.routing.posterior import Grades, Surplus, belief_of, shift_of, surplus_of
from semroute.routing.pricing import cost_usd
from semroute.stores.grades import DayOfGrades

log = logging.getLogger("semroute")

LOOK_EVERY_S = 1.0
"""Seconds between two looks for new grades. Without new ones, a look reads one number."""
PARTS = 20
"""A process reserves this part of a day's budget at once."""
AGAIN_S = 30.0
"""Seconds until a process asks again for a part of a budget that had no room."""
HALF_LIVES = 10
"""Grades older than this many half-lives are not read: they count less than a thousandth."""
DAY_S = 86_400

_NONE = Surplus(0.0, 0.0)

ReadGrades = Callable[[int, int | None], Awaitable[tuple[int, list[DayOfGrades] | None]]]
"""Reads the grades since a day. Without new ones since a revision it returns None. Raises `StoreError`."""


class LearnedQuality:
    """Knows what is believed of each model on each route, and how much may be spent to learn more."""

    def __init__(
        self,
        config: Callable[[], Config],
        read: ReadGrades,
        budget: TrialBudget,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`config`: returns the one in service. `clock`: seconds since 1970."""
        self.trouble: str | None = None
        """Why the grades cannot be read just now. None: they can."""
        self.spending: dict[str, tuple[Config, Purse, Decision]] = {}
        """The requests under way whose model is tried, by their ids."""
        self._config = config
        self._read = read
        self._clock = clock
        self._budget = budget
        self._purses: dict[str, Purse] = {}
        self._days: list[DayOfGrades] | None = None
        self._seen: tuple[int, int, int] | None = None
        self._built_for: tuple[Config, int] | None = None
        self._grades: Mapping[str, Mapping[str, list[Grades]]] = {}
        self._beliefs: dict[tuple[str, Learn], dict[str, Belief]] = {}
        self._everywhere: dict[Learn, dict[str, Surplus]] = {}

    def signals(self, config: Config, choice: Choice, signals: Signals) -> Signals:
        """Add what is believed of the models of a choice whose policy learns, and what may be spent to learn more."""
        learn = choice.policy.learn
        if learn is None or self._days is None or (choice.reason == "pinned" and choice.route is None):
            return signals
        purse = self._purses.get(budget_name(config, choice.route, choice.reason))
        room = purse.room_usd if purse is not None else Decimal(0)
        return replace(signals, beliefs=self._beliefs_on(config, choice.route or "", learn), explore_usd=float(room))

    def qualities(self) -> dict[tuple[str, str], float]:
        """Return the quality that is expected of each model on each route whose policy learns."""
        config = self._config()
        found = {}
        for route in (*config.routes, "") if self._days is not None else ():
            learn = policy_on(config, route).learn
            for model, belief in self._beliefs_on(config, route, learn).items() if learn is not None else ():
                found[route, model] = belief.mean
        return found

    def begin(self, config: Config, decision: Decision) -> None:
        """Set aside what a model that is tried is expected to cost more than the best known one."""
        purse = self._purses.get(budget_name(config, decision.route, decision.reason))
        if purse is None or decision.instead_of is None:
            return
        costs = {entry.model: entry.cost_usd for entry in decision.plan_details}
        extra = costs.get(decision.model or "", Decimal(0)) - costs.get(decision.instead_of, Decimal(0))
        purse.aside[decision.id] = max(Decimal(0), extra)
        self.spending[decision.id] = config, purse, decision

    def finish(self, record: Record) -> None:
        """Count what a tried model did cost more, now that its request has ended."""
        found = self.spending.pop(record.request_id, None)
        if found is not None:
            config, purse, decision = found
            del purse.aside[decision.id]
            purse.spent_usd += _extra_usd(config, decision, record)

    async def run(self) -> None:
        """Follow the grades and the budgets. Runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Read new grades, and refill what may be spent. Does nothing if no policy learns."""
        config = self._config()
        wanted = dict(learning(config))
        if wanted:
            await self._follow(max(learn.half_life_days for learn in wanted.values()))
        await self._refill({name: learn.explore_usd_per_day for name, learn in wanted.items()})

    async def aclose(self) -> None:
        """Give back what was reserved and not spent."""
        await self._refill({})

    async def _follow(self, half_life_days: float) -> None:
        """Read the grades if there are new ones, if a new day has begun, or if older ones count now."""
        today = int(self._clock() // DAY_S)
        since = max(0, today - int(HALF_LIVES * half_life_days))
        known = self._seen[0] if self._seen is not None and self._seen[1:] == (today, since) else None
        try:
            revision, days = await self._read(since, known)
        except StoreError as error:
            if self.trouble is None:
                log.warning("cannot read the grades of answers, so the quality learned last stays valid: %s", error)
            self.trouble = str(error)
            return
        if self.trouble is not None:
            log.warning("the grades of answers can be read again")
            self.trouble = None
        if days is not None:
            self._days, self._built_for = days, None
            self._seen = revision, today, since

    def _beliefs_on(self, config: Config, route: str, learn: Learn) -> dict[str, Belief]:
        today = int(self._clock() // DAY_S)
        if self._built_for is None or self._built_for[0] is not config or self._built_for[1] != today:
            self._built_for, self._beliefs, self._everywhere = (config, today), {}, {}
            self._grades = by_route(config, self._days or ())
        found = self._beliefs.get((route, learn))
        if found is None:
            if learn not in self._everywhere:
                self._everywhere[learn] = everywhere(config, learn, self._grades, today)
            found = beliefs(config, route, learn, self._grades.get(route, {}), self._everywhere[learn], today)
            self._beliefs[route, learn] = found
        return found

    async def _refill(self, wanted: Mapping[str, Decimal]) -> None:
        now = self._clock()
        for name in [*self._purses.keys() - wanted.keys()]:
            await self._purses.pop(name).close(self._budget)
        for name, usd_per_day in wanted.items():
            if name not in self._purses:
                self._purses[name] = Purse(name)
            await self._purses[name].refill(self._budget, usd_per_day, now)


class Purse:
    """The part of one budget that this process has reserved."""

    def __init__(self, name: str) -> None:
        self.aside: dict[str, Decimal] = {}
        """What is set aside for requests under way, by their ids."""
        self.spent_usd = Decimal(0)
        """What was spent of this part."""
        self._name = name
        self._hold: TrialHold | None = None
        self._part_usd = Decimal(0)
        self._day = -1
        self._next_at = 0.0

    @property
    def room_usd(self) -> Decimal:
        """Return what may still be spent."""
        return self._part_usd - self.spent_usd - sum(self.aside.values(), Decimal(0))

    async def refill(self, budget: TrialBudget, usd_per_day: Decimal, now: float) -> None:
        """Reserve the next part if this one is half spent, or if a new day has begun."""
        part, day = usd_per_day / PARTS, int(now // DAY_S)
        if day == self._day and (self.room_usd * 2 > part or now < self._next_at):
            return
        await self.close(budget)
        self._day, self._next_at = day, now + AGAIN_S
        if part > 0:
            self._hold = await budget.reserve(self._name, f"{self._name}:{new_id()}", usd_per_day, part)
        if self._hold is not None:
            self._part_usd, self._next_at = part, now

    async def close(self, budget: TrialBudget) -> None:
        """Count what was spent, and give back the rest."""
        hold, spent = self._hold, self.spent_usd
        self._hold, self._part_usd = None, Decimal(0)
        self.spent_usd = Decimal(0) if hold is not None else spent
        if hold is not None:
            await budget.settle(hold, spent)


class LearningPolicy(NamedTuple):
    """A policy that learns, by the name of its budget."""

    budget: str
    learn: Learn


def learning(config: Config) -> Iterator[LearningPolicy]:
    """Yield each policy that learns. Routes without a policy of their own share one budget."""
    for name, policy in (("learn", config.policy), ("learn:default", config.default.policy)):
        if policy is not None and policy.learn is not None:
            yield LearningPolicy(name, policy.learn)
    for route in config.routes.values():
        if route.policy is not None and route.policy.learn is not None:
            yield LearningPolicy(f"learn:route:{route.name}", route.policy.learn)


def budget_name(config: Config, route: str | None, reason: Reason) -> str:
    """Return the name of the budget that pays for trying models on a route."""
    if route is None and reason == "rule":
        return "learn"
    if route is None:
        return "learn" if config.default.policy is None else "learn:default"
    own = route in config.routes and config.routes[route].policy is not None
    return f"learn:route:{route}" if own else "learn"


def policy_on(config: Config, route: str) -> Policy:
    """Return the policy of a route. Empty: of the default."""
    own = config.routes[route].policy if route in config.routes else config.default.policy if not route else None
    return own or config.policy


def models_on(config: Config, route: str) -> tuple[str, ...]:
    """Return the models that may serve a route: its own, and those of the default, which stand in for them."""
    own = config.routes[route].models if route in config.routes else ()
    return tuple(dict.fromkeys((*own, *config.default.models)))


def by_route(config: Config, days: Iterable[DayOfGrades]) -> dict[str, dict[str, list[Grades]]]:
    """Sort grades by route and model. The grades of a model's deployments count for the model."""
    found: defaultdict[str, defaultdict[str, list[Grades]]] = defaultdict(lambda: defaultdict(list))
    for each in days:
        found[each.route][model_of(config, each.model)].append(Grades(each.day, each.number, each.score))
    return {route: dict(models) for route, models in found.items()}


def model_of(config: Config, id_: str) -> str:
    """Return the model that a deployment is of, even of one that is no longer configured."""
    model = config.models.get(id_)
    if model is not None:
        return model.group or id_
    head = id_.partition("@")[0]
    return head if head in config.models else id_


def everywhere(
    config: Config, learn: Learn, grades: Mapping[str, Mapping[str, list[Grades]]], today: int
) -> dict[str, Surplus]:
    """Return the surplus of each model on all routes together. `grades`: by route and model."""
    found: dict[str, Surplus] = {}
    for route, models in grades.items():
        for id_, own in models.items():
            if (model := config.models.get(id_)) is not None:
                here, others = surplus_of(stated_quality(model, route), learn, own, today), found.get(id_, _NONE)
                found[id_] = Surplus(here.number + others.number, here.score + others.score)
    return found


def beliefs(
    config: Config,
    route: str,
    learn: Learn,
    grades: Mapping[str, list[Grades]],
    known: Mapping[str, Surplus],
    today: int,
) -> dict[str, Belief]:
    """Return what is believed of each model on a route. `grades`: on this route. `known`: on all routes together."""
    ids = dict.fromkeys((*models_on(config, route), *(id_ for id_ in grades if id_ in config.models)))
    found = {}
    for model in (config.models[id_] for id_ in ids):
        stated, own = stated_quality(model, route), grades.get(model.id, ())
        shift = shift_of(known.get(model.id, _NONE), surplus_of(stated, learn, own, today), learn)
        found[model.id] = belief_of(stated + shift, learn, own, today)
    return found


def stated_quality(model: Model, route: str) -> float:
    """Return the quality that the route files state for a model on a route, else that of its tier."""
    stated = model.quality_by_route.get(route, model.quality)
    return TIER_QUALITY[model.tier] if stated is None else stated


def _extra_usd(config: Config, decision: Decision, record: Record) -> Decimal:
    """Return how much more the tried model did cost than the best known one would have for the same tokens."""
    other, model = config.models.get(decision.instead_of or ""), model_of(config, decision.model or "")
    tried = [one for one in record.attempts if one.purpose == "answer" and model_of(config, one.model) == model]
    if other is None or not tried:
        return Decimal(0)
    return max(Decimal(0), sum((one.cost_usd - cost_usd(other, one.usage) for one in tried), Decimal(0)))
