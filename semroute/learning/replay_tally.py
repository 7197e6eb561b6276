"""Sum up what changes if a log is decided anew. The sums are small, so a log of any size fits in memory.

Sums of parts of a log can be merged, and are the same as if the log had been read in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Self

import msgspec

from semroute.bases import Frozen
from semroute.decision import Decision, Nearest
from semroute.learning.decide_again import Again, Decider
from semroute.learning.engines import Tally
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.reservoir import Reservoir
from semroute.messages import Usage
from semroute.router import Router
from semroute.routing.pricing import cost_usd

COMPARED = 2000
"""So many exact rows, drawn at random, are also decided from the vector alone."""
MAX_MOVES, EXAMPLES = 2000, 3
"""The most kinds of moves that are counted apart, and the examples of each."""
MAX_TEXT_CHARS = 200
OTHER_MOVES = ("(other)", "(other)", "(other)", "(other)")
MoveKey = tuple[str | None, str | None, str | None, str | None]
"""The route before and after, and the model before and after."""
QUALITY_PARTS = 10**12


class Share(msgspec.Struct, kw_only=True):
    """How often something was so."""

    before: int = 0
    after: int = 0
    left: int = 0
    """Rows that were here before and are elsewhere now."""
    came: int = 0

    def merge(self, later: Share) -> None:
        """Add the rows of a later part of the log."""
        self.before += later.before
        self.after += later.after
        self.left += later.left
        self.came += later.came


class Agreement(msgspec.Struct, kw_only=True):
    """How good the approximation is: rows decided both exactly and from the vector alone."""

    compared: int = 0
    same_route: int = 0
    same_model: int = 0


class Example(Frozen, frozen=True, kw_only=True):
    """A row that moved."""

    id: str
    text: str | None
    """The beginning of the prompt. None: the log does not have it."""
    nearest_before: Nearest | None
    nearest_after: Nearest | None
    confidence_before: float
    confidence_after: float
    exact: bool


class Move(msgspec.Struct, kw_only=True):
    """The rows that went from one route and model to another."""

    route_before: str | None
    route_after: str | None
    model_before: str | None
    model_after: str | None
    count: int = 0
    cost_before_usd: Decimal = Decimal(0)
    cost_after_usd: Decimal = Decimal(0)
    examples: list[Example] = []

    def merge(self, later: Move) -> None:
        """Add the rows of a later part of the log."""
        self.count += later.count
        self.cost_before_usd += later.cost_before_usd
        self.cost_after_usd += later.cost_after_usd
        self.examples = [*self.examples, *later.examples][:EXAMPLES]


class ReplayReport(msgspec.Struct, kw_only=True):
    """What a replay found."""

    log: str
    config_version: str
    """The version of the route files that decided anew."""
    rows: int = 0
    """Rows read. Each is exact, approximate or not replayed."""
    exact: dict[str, int] = {}
    """Rows decided exactly, by what they were decided from: text, features, or nothing that must be matched."""
    approximate: int = 0
    guessed: dict[str, int] = {}
    """Why rows are approximate: what the log does not have. A row can have several reasons."""
    not_replayed: dict[str, int] = {}
    """Rows that could not be decided, by the reason."""
    torn: int = 0
    """Rows that could not be read."""
    torn_told: list[str] = []
    agreement: Agreement = msgspec.field(default_factory=Agreement)
    changed: int = 0
    """Rows whose route or model changes."""
    changed_exact: int = 0
    """Those of them that were decided exactly."""
    changed_routes: int = 0
    changed_models: int = 0
    by_route: dict[str, Share] = {}
    """An empty name stands for no route."""
    by_model: dict[str, Share] = {}
    """Models by the first of the plan. An empty name stands for none."""
    booked_usd: Decimal = Decimal(0)
    """What the replayed rows cost, as booked."""
    before_usd: Decimal = Decimal(0)
    """What the models that were planned then cost at the prices of these route files, for the logged tokens."""
    after_usd: Decimal = Decimal(0)
    """What the models that are planned now cost, likewise."""
    quality_rows: int = 0
    """Rows for which both qualities are known."""
    quality_before: float = 0.0
    """The mean quality that these route files expect of the model that was planned then."""
    quality_after: float = 0.0
    moves: list[Move] = []
    """The most frequent first."""

    @property
    def replayed(self) -> int:
        """Return how many rows were decided."""
        return sum(self.exact.values()) + self.approximate


class Sums(msgspec.Struct, kw_only=True):
    """Plain sums over rows."""

    approximate: int = 0
    changed: int = 0
    changed_exact: int = 0
    changed_routes: int = 0
    changed_models: int = 0
    booked_usd: Decimal = Decimal(0)
    before_usd: Decimal = Decimal(0)
    after_usd: Decimal = Decimal(0)
    quality_rows: int = 0
    quality_before: int = 0
    """In parts of 10^-12, as is the next one: whole numbers have the same sum in every order."""
    quality_after: int = 0

    def merge(self, later: Sums) -> None:
        """Add the sums of a later part of the log."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(later, name))


class ReplayTally(Tally, kw_only=True):
    """What was summed up so far."""

    sums: Sums = msgspec.field(default_factory=Sums)
    exact: dict[str, int] = {}
    guessed: dict[str, int] = {}
    not_replayed: dict[str, int] = {}
    agreed: Reservoir[tuple[bool, bool] | None] = msgspec.field(default_factory=lambda: Reservoir(most=COMPARED))
    """Of rows decided both exactly and from the vector alone: whether the route and the model are the same."""
    by_route: dict[str, Share] = {}
    by_model: dict[str, Share] = {}
    moves: dict[MoveKey, Move] = {}

    def merge(self, later: Self) -> None:
        """Add the sums of a later part of the log."""
        super().merge(later)
        self.sums.merge(later.sums)
        self.agreed.merge(later.agreed)
        for counts, more in (
            (self.exact, later.exact),
            (self.guessed, later.guessed),
            (self.not_replayed, later.not_replayed),
        ):
            for name, number in more.items():
                _count(counts, name, number)
        for shares, others in ((self.by_route, later.by_route), (self.by_model, later.by_model)):
            for name, share in others.items():
                shares.setdefault(name, Share()).merge(share)
        for key, move in later.moves.items():
            self.move_of(key).merge(move)

    def move_of(self, key: MoveKey) -> Move:
        """Return the move of a kind. If there are many kinds, all further ones share one."""
        if key not in self.moves and len(self.moves) >= MAX_MOVES:
            key = OTHER_MOVES
        move = self.moves.get(key)
        if move is None:
            route_before, route_after, model_before, model_after = key
            move = self.moves[key] = Move(
                route_before=route_before,
                route_after=route_after,
                model_before=model_before,
                model_after=model_after,
            )
        return move

    def report(self, log: str, config_version: str) -> ReplayReport:
        """Return the report on all rows."""
        sums, compared = self.sums, [same for same in self.agreed.kept if same is not None]
        of_quality = max(1, sums.quality_rows) * QUALITY_PARTS
        return ReplayReport(
            log=log,
            config_version=config_version,
            rows=self.rows,
            exact=self.exact,
            approximate=sums.approximate,
            guessed=self.guessed,
            not_replayed=self.not_replayed,
            torn=self.torn.count,
            torn_told=self.torn.told,
            agreement=Agreement(
                compared=len(compared),
                same_route=sum(route for route, _ in compared),
                same_model=sum(model for _, model in compared),
            ),
            changed=sums.changed,
            changed_exact=sums.changed_exact,
            changed_routes=sums.changed_routes,
            changed_models=sums.changed_models,
            by_route=_largest_first(self.by_route),
            by_model=_largest_first(self.by_model),
            booked_usd=sums.booked_usd,
            before_usd=sums.before_usd,
            after_usd=sums.after_usd,
            quality_rows=sums.quality_rows,
            quality_before=sums.quality_before / of_quality,
            quality_after=sums.quality_after / of_quality,
            moves=sorted(self.moves.values(), key=lambda move: -move.count),
        )


class AddDecidedAnew:
    """Decides rows anew, and adds what changes to a tally."""

    def __init__(self, router: Router) -> None:
        self._decider = Decider(router)

    def __call__(self, tally: ReplayTally, batch: Sequence[LoggedDecision]) -> None:
        """Decide rows together, and add them."""
        for again in self._decider.decide(batch):
            if again.decision is None:
                _count(tally.not_replayed, again.why_not)
            else:
                self._add(tally, again, again.decision)

    def _add(self, tally: ReplayTally, again: Again, decision: Decision) -> None:
        row, sums = again.row, tally.sums
        if again.missing:
            sums.approximate += 1
            for what in again.missing:
                _count(tally.guessed, what)
        else:
            _count(tally.exact, again.basis or "")
            if self._decider.has_vector(row):
                tally.agreed.offer(row.id, partial(self._compare, row, decision))
        _add_changes(tally, again, decision)
        before, after = self._costs(row, decision)
        sums.booked_usd += row.cost_usd
        sums.before_usd += before
        sums.after_usd += after
        _add_qualities(sums, row, decision)
        if (row.route, row.decision.model) != (decision.route, decision.model):
            move = tally.move_of((row.route, decision.route, row.decision.model, decision.model))
            move.count += 1
            move.cost_before_usd += before
            move.cost_after_usd += after
            if len(move.examples) < EXAMPLES:
                move.examples.append(_example(again, decision))

    def _compare(self, row: LoggedDecision, decision: Decision) -> tuple[bool, bool] | None:
        """Decide an exact row once more from its vector alone, to learn how good that is."""
        alone = self._decider.by_vector(row)
        return None if alone is None else (alone.route == decision.route, alone.model == decision.model)

    def _costs(self, row: LoggedDecision, decision: Decision) -> tuple[Decimal, Decimal]:
        """Return what the planned model then and the one now cost for the logged tokens, at the prices of now."""
        models = self._decider.router.config.models
        usage = served_usage(row, decision)
        then = models.get(row.decision.model or "")
        now = models.get(decision.model or "")
        before = row.cost_usd if then is None else cost_usd(then, usage)
        return before, Decimal(0) if now is None else cost_usd(now, usage)


def _add_changes(tally: ReplayTally, again: Again, decision: Decision) -> None:
    row, sums = again.row, tally.sums
    for places, before, after in (
        (tally.by_route, row.route or "", decision.route or ""),
        (tally.by_model, row.decision.model or "", decision.model or ""),
    ):
        here, there = places.setdefault(before, Share()), places.setdefault(after, Share())
        here.before += 1
        there.after += 1
        here.left += before != after
        there.came += before != after
    sums.changed_routes += row.route != decision.route
    sums.changed_models += row.decision.model != decision.model
    changed = (row.route, row.decision.model) != (decision.route, decision.model)
    sums.changed += changed
    sums.changed_exact += changed and not again.missing


def _add_qualities(sums: Sums, row: LoggedDecision, decision: Decision) -> None:
    """Add the expected qualities. Models of a group share one."""
    now = {entry.model: entry.quality for entry in decision.plan_details}
    then = {entry.model: entry.quality for entry in row.decision.plan_details}
    before = now.get(row.decision.model or "", then.get(row.decision.model or ""))
    after = now.get(decision.model or "")
    if before is not None and after is not None:
        sums.quality_rows += 1
        sums.quality_before += round(before * QUALITY_PARTS)
        sums.quality_after += round(after * QUALITY_PARTS)


def served_usage(row: LoggedDecision, decision: Decision) -> Usage:
    """Return the tokens of the answer that was served, or what is expected if there was none."""
    served = [one for one in row.attempts if one.purpose == "answer" and one.status == "ok"]
    chosen = next((one for one in served if one.served_anyway), served[-1] if served else None)
    if chosen is not None:
        return chosen.usage
    return Usage(input_tokens=decision.estimate.input_tokens, output_tokens=decision.estimate.output_tokens)


def _example(again: Again, decision: Decision) -> Example:
    row, text = again.row, again.row.ask_text
    then = row.decision.candidates
    return Example(
        id=row.id,
        text=None if text is None else text[:MAX_TEXT_CHARS],
        nearest_before=then[0].nearest if then else None,
        nearest_after=decision.candidates[0].nearest if decision.candidates else None,
        confidence_before=row.decision.confidence,
        confidence_after=decision.confidence,
        exact=not again.missing,
    )


def _count(counts: dict[str, int], name: str, number: int = 1) -> None:
    counts[name] = counts.get(name, 0) + number


def _largest_first(shares: dict[str, Share]) -> dict[str, Share]:
    return dict(sorted(shares.items(), key=lambda item: (-max(item[1].before, item[1].after), item[0])))
