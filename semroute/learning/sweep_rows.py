"""The first step of a sweep: turn logged requests into a table of numbers. The second step is `sweep_estimate`.

Each request becomes one row: the model that it gets at each setting of each dial, what that costs, and what is known of
the quality of its answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from semroute.config.config import Config
from semroute.config.dials import ABSTAIN, turned, value_in
from semroute.config.schema.policies import Policy
from semroute.decision import Decision
from semroute.learning.decide_again import GAINS, Again, Decidable, Decider
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.replay_tally import served_usage
from semroute.learning.sweep_grades import CHECKS, Cascaded, cascaded, passes
from semroute.learning.sweep_signals import Pair, Signals, signals_of
from semroute.learning.sweep_table import PAIRS, UNKNOWN, Block, Plan, SweepTable
from semroute.messages import Usage
from semroute.router import Router
from semroute.routing.fixed_thresholds import Fixed, fixed_by_name
from semroute.routing.pricing import cost_usd

LEARNED = frozenset(("strong_share", "min_quality_retained"))
"""The dials that compare learned gains."""
TOGETHER = 5000
"""Rows that are put into the table together."""


class _Setting(NamedTuple):
    """A dial at one value."""

    router: Router
    fixed: dict[str, Fixed] | None
    """The thresholds of the routes, if the dial changes them."""

    @classmethod
    def of(cls, router: Router, dial: str, value: float) -> _Setting:
        config = turned(router.config, dial, value)
        return cls(router.configured(config), fixed_by_name(config) if dial == ABSTAIN else None)


class Sweeper:
    """Makes tables of logged rows with one router."""

    def __init__(self, router: Router, dials: Sequence[str]) -> None:
        """`dials`: those to sweep. The route files must use each of them."""
        self.plan = Plan.of(router.config, dials)
        self._table = SweepTable(self.plan)
        self._found: list[tuple[Any, ...]] = []
        self._router, self._decider = router, Decider(router)
        self._places = {model: place for place, model in enumerate(self.plan.models)}
        self._routes = {route: place for place, route in enumerate(self.plan.routes)}
        self._learned = not LEARNED.isdisjoint(dials)
        self._settings = {
            block.dial: [_Setting.of(router, block.dial, value) for value in block.values]
            for block in self.plan.blocks
            if not block.cascade
        }

    def add(self, rows: Sequence[LoggedDecision]) -> None:
        """Add some rows. Their texts are embedded together."""
        counts = self._table.counts
        counts["rows"] += len(rows)
        wanted = []
        for row in rows:
            if row.model is None or row.outcome in ("decided", "refused", "failed", "cancelled", "running"):
                counts["not answered"] += 1
                continue
            signals = signals_of(row)
            counts.update(signals.counts)
            if self._table.wanted(unit := unit_of(row), evident=signals.any):
                wanted.append((row, signals, unit))
            else:
                counts["not in the sample"] += 1
        decidable = self._decider.decidable([row for row, _, _ in wanted])
        for (row, signals, unit), decide in zip(wanted, decidable, strict=True):
            again = decide(self._router)
            if (why := self._why_not(again)) is not None:
                counts[f"not decided: {why}"] += 1
                continue
            counts["approximate" if again.missing else "exact"] += 1
            counts["without unit"] += not (row.unit or row.key_id)
            self._found.append(self._line(row, signals, unit, again, decide))
        if len(self._found) >= TOGETHER:
            self.table()

    def table(self) -> SweepTable:
        """Return the table of all rows so far."""
        if self._found:
            self._table.merge([SweepTable(self.plan, np.array(self._found, self.plan.dtype))])
            self._found.clear()
        return self._table

    def _why_not(self, again: Again) -> str | None:
        """Return why a row is left out. None: it is not."""
        if again.decision is None or again.decision.model is None:
            return again.why_not or "no model can be called"
        if self._learned and GAINS in again.missing:
            return f"the log does not have {GAINS}, which the dial compares"
        return None

    def _line(
        self, row: LoggedDecision, signals: Signals, unit: int, again: Again, decide: Decidable
    ) -> tuple[Any, ...]:
        """Return a row of the table."""
        now = again.decision
        assert now is not None  # `_why_not` has left out the others
        outcomes = _Outcomes(self._router.config, self._places, row, now)
        models: list[int] = []
        costs: list[float] = []
        for block in self.plan.blocks:
            if block.cascade:
                each = outcomes.cascade(block)
            else:
                each = [outcomes.of(now), *self._followed(outcomes, decide, self._settings[block.dial])]
            models += [model for model, _ in each]
            costs += [cost for _, cost in each]
        pairs = [*signals.pairs[:PAIRS], *([Pair("", math.nan, math.nan, weak=False)] * PAIRS)][:PAIRS]
        place = self._places.get
        return (
            unit,
            hashed(row.id),
            self._routes.get(now.route or "", UNKNOWN),
            place(row.decision.model or "", UNKNOWN),
            place(row.model or "", UNKNOWN),
            not again.missing,
            signals.propensity is not None,
            math.nan if signals.propensity is None else signals.propensity,
            signals.person,
            signals.judge,
            signals.judge_propensity,
            [place(pair.model, UNKNOWN) for pair in pairs],
            [pair.difference for pair in pairs],
            [pair.propensity for pair in pairs],
            [pair.weak for pair in pairs],
            models,
            costs,
        )

    @staticmethod
    def _followed(outcomes: _Outcomes, decide: Decidable, settings: Sequence[_Setting]) -> list[tuple[int, float]]:
        """Return what each setting leads to. If two settings lead to the same, so do those between them.

        This holds because a dial moves a request through the models in one direction: up or down in a list of tiers or
        gains, from a route to the default, or along the upper envelope of lines (quality against cost). It does not
        hold for a request with several asks, so that one is decided at every setting.
        """

        def at(place: int) -> tuple[int, float]:
            setting = settings[place]
            return outcomes.of(decide(setting.router, setting.fixed).decision)

        if decide.several:
            return [at(place) for place in range(len(settings))]
        found: list[tuple[int, float]] = [(UNKNOWN, 0.0)] * len(settings)

        def fill(low: int, high: int) -> None:
            if found[low] == found[high]:
                found[low + 1 : high] = [found[low]] * (high - low - 1)
            elif high - low > 1:
                middle = (low + high) // 2
                found[middle] = at(middle)
                fill(low, middle)
                fill(middle, high)

        last = len(settings) - 1
        found[0], found[last] = at(0), at(last)
        fill(0, last)
        return found


class _Outcomes:
    """What one logged request gets under other settings: the model, and the cost in USD."""

    def __init__(self, config: Config, places: dict[str, int], row: LoggedDecision, now: Decision) -> None:
        self._config, self._places, self._row, self._now = config, places, row, now
        self._usage = _usage(row, now)
        self._priced: dict[str, tuple[int, float]] = {}

    @cached_property
    def _logged_usd(self) -> float:
        """Return what all calls of the request cost at the prices of now."""
        row = self._row
        if not row.attempts:
            model = self._config.models.get(row.model or "")
            return float(row.cost_usd if model is None else cost_usd(model, self._usage))
        return float(sum((self._price(one.model, one.usage, one.cost_usd) for one in row.attempts), Decimal(0)))

    def _price(self, name: str, usage: Usage, booked: Decimal) -> Decimal:
        model = self._config.models.get(name)
        return booked if model is None else cost_usd(model, usage)

    def of(self, decision: Decision | None) -> tuple[int, float]:
        """Return what a decision leads to. If it begins with the logged model, that is what happened then."""
        name = None if decision is None else decision.model
        if name is None:
            return UNKNOWN, self._logged_usd
        if name not in self._priced:
            same = name == self._row.decision.model
            usd = self._logged_usd if same else float(cost_usd(self._config.models[name], self._usage))
            self._priced[name] = self._places[name], usd
        return self._priced[name]

    def cascade(self, block: Block) -> list[tuple[int, float]]:
        """Return what each setting of a check of a cascade leads to."""
        then, policy, row = cascaded(self._row, CHECKS[block.dial]), self._policy, self._row
        logged = self._places.get(row.model or "", UNKNOWN), self._logged_usd
        present = value_in(policy, block.dial)
        if present is None or then is None or policy.cascade is None or row.decision.model != self._now.model:
            return [logged] * (1 + len(block.values))
        found = []
        for value in (present, *block.values):
            passed = passes(policy.cascade, CHECKS[block.dial], then, value)
            if passed is None and value == present:
                passed = not then.escalated
            found.append(self._after(then, passed, logged))
        return found

    def _after(self, then: Cascaded, passed: bool | None, logged: tuple[int, float]) -> tuple[int, float]:
        """Return what follows if the first answer passes or fails. None: it is not known which."""
        if passed is None:
            return UNKNOWN, logged[1]
        if passed is not then.escalated:
            return logged
        if passed:
            return self._places.get(then.first.model, UNKNOWN), self._first_usd(then)
        following = next((name for name in self._now.plan if name != then.first.model), None)
        if following is None or not self._escalations:
            return logged
        further = float(cost_usd(self._config.models[following], self._usage))
        return self._places[following], logged[1] + further

    def _first_usd(self, then: Cascaded) -> float:
        """Return the cost of the first answer and of the calls that graded it."""
        until = Decimal(0)
        for one in self._row.attempts:
            if one.purpose == "answer" and one is not then.first and one.model != then.first.model:
                break
            until += self._price(one.model, one.usage, one.cost_usd)
        return float(until)

    @property
    def _policy(self) -> Policy:
        route = self._config.routes.get(self._now.route or "")
        if route is not None:
            return route.policy or self._config.policy
        pinned, ruled = self._now.reason == "pinned", self._now.reason == "rule"
        if pinned:
            return Policy()
        return self._config.policy if ruled else self._config.default.policy or self._config.policy

    @property
    def _escalations(self) -> int:
        cascade = self._policy.cascade
        return 0 if cascade is None else cascade.max_escalations


def unit_of(row: LoggedDecision) -> int:
    """Return a number for who asked: the unit of the record, else the key. Else each request stands for itself."""
    return hashed(row.unit or row.key_id or row.id)


def hashed(text: str) -> int:
    """Return a number that stands for a text: 64 bits."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _usage(row: LoggedDecision, now: Decision) -> Usage:
    """Return the tokens of the answer that was served. Rows of old versions have them beside the calls."""
    if not row.attempts and (row.input_tokens or row.output_tokens):
        return Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens)
    return served_usage(row, now)
