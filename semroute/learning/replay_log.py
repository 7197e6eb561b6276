"""Decide a log anew, and sum up what would change. The sums are small, so a log of any size fits in memory."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from semroute.bases import Frozen
from semroute.decision import Decision, Nearest
from semroute.errors import RequestError
from semroute.learning.decide_again import Again, Decider
from semroute.learning.logged_decisions import LoggedDecision, LoggedDecisions, batches
from semroute.messages import Usage
from semroute.router import Router
from semroute.routing.pricing import cost_usd
from semroute.stores.interfaces import Query

SAVE_EVERY = 20
"""Batches after which the progress is saved, with `--resume`."""
COMPARED, COMPARE_EVERY = 5000, 10
"""So many exact rows are also decided from the vector alone, and of further ones every tenth."""
MAX_MOVES, EXAMPLES = 2000, 3
"""The most kinds of moves that are counted apart, and the examples of each."""
MAX_TEXT_CHARS = 200
OTHER_MOVES = ("(other)", "(other)", "(other)", "(other)")


class Share(msgspec.Struct, kw_only=True):
    """How often something was so."""

    before: int = 0
    after: int = 0
    left: int = 0
    """Rows that were here before and are elsewhere now."""
    came: int = 0


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


class _Saved(msgspec.Struct, kw_only=True):
    """A replay that can go on later."""

    last_id: str
    since: float | None
    until: float | None
    torn_before: int
    report: ReplayReport


class Replay:
    """One replay of a log."""

    def __init__(self, router: Router, log: LoggedDecisions, query: Query, resume: Path | None = None) -> None:
        """`resume`: a file that keeps the progress. If it exists, the replay goes on behind the last row.

        Raises `RequestError` if the file is of another replay.
        """
        self.report = ReplayReport(log=log.name, config_version=router.config.version)
        self._decider, self._router, self._log = Decider(router), router, log
        self._query, self._file = query, resume
        self._last: str | None = None
        self._torn_before = 0
        self._moves: dict[tuple[str | None, ...], Move] = {}
        if resume is not None and resume.exists():
            self._load(resume)

    def run(self, progress: Callable[[int, int], None] | None = None) -> ReplayReport:
        """Decide all rows, or those behind the last one that was decided before. Return the report of all."""
        total = self._log.count() if progress is not None else 0
        rows = self._log.read(self._query, after=self._last)
        for number, batch in enumerate(batches(rows), start=1):
            for again in self._decider.decide(batch):
                self._add(again)
            self._last = batch[-1].id
            if self._file is not None and number % SAVE_EVERY == 0:
                self._save(self._file)
            if progress is not None:
                progress(self.report.rows, max(total, self.report.rows))
        self._sum_up()
        if self._file is not None:
            self._save(self._file)
        return self.report

    def _add(self, again: Again) -> None:
        report, row, decision = self.report, again.row, again.decision
        report.rows += 1
        if decision is None:
            _count(report.not_replayed, again.why_not)
            return
        if again.missing:
            report.approximate += 1
            for what in again.missing:
                _count(report.guessed, what)
        else:
            _count(report.exact, again.basis or "")
            self._compare(row, decision)
        self._tally(again, decision)
        before, after = self._costs(row, decision)
        report.booked_usd += row.cost_usd
        report.before_usd += before
        report.after_usd += after
        self._weigh(row, decision)
        if (row.route, row.decision.model) != (decision.route, decision.model):
            self._move(again, decision, before, after)

    def _compare(self, row: LoggedDecision, decision: Decision) -> None:
        """Decide an exact row once more from its vector alone, to learn how good that is. Of many rows, some do."""
        agreement = self.report.agreement
        if agreement.compared >= COMPARED and self.report.rows % COMPARE_EVERY:
            return
        alone = self._decider.by_vector(row)
        if alone is not None:
            agreement.compared += 1
            agreement.same_route += alone.route == decision.route
            agreement.same_model += alone.model == decision.model

    def _tally(self, again: Again, decision: Decision) -> None:
        report, row = self.report, again.row
        for places, before, after in (
            (report.by_route, row.route or "", decision.route or ""),
            (report.by_model, row.decision.model or "", decision.model or ""),
        ):
            here, there = places.setdefault(before, Share()), places.setdefault(after, Share())
            here.before += 1
            there.after += 1
            here.left += before != after
            there.came += before != after
        report.changed_routes += row.route != decision.route
        report.changed_models += row.decision.model != decision.model
        changed = (row.route, row.decision.model) != (decision.route, decision.model)
        report.changed += changed
        report.changed_exact += changed and not again.missing

    def _costs(self, row: LoggedDecision, decision: Decision) -> tuple[Decimal, Decimal]:
        """Return what the planned model then and the one now cost for the logged tokens, at the prices of now."""
        models = self._router.config.models
        usage = served_usage(row, decision)
        then = models.get(row.decision.model or "")
        now = models.get(decision.model or "")
        before = row.cost_usd if then is None else cost_usd(then, usage)
        return before, Decimal(0) if now is None else cost_usd(now, usage)

    def _weigh(self, row: LoggedDecision, decision: Decision) -> None:
        """Add the expected qualities. Models of a group share one."""
        report = self.report
        now = {entry.model: entry.quality for entry in decision.plan_details}
        then = {entry.model: entry.quality for entry in row.decision.plan_details}
        before = now.get(row.decision.model or "", then.get(row.decision.model or ""))
        after = now.get(decision.model or "")
        if before is not None and after is not None:
            report.quality_rows += 1
            report.quality_before += (before - report.quality_before) / report.quality_rows
            report.quality_after += (after - report.quality_after) / report.quality_rows

    def _move(self, again: Again, decision: Decision, before: Decimal, after: Decimal) -> None:
        row = again.row
        key: tuple[str | None, ...] = (row.route, decision.route, row.decision.model, decision.model)
        if key not in self._moves and len(self._moves) >= MAX_MOVES:
            key = OTHER_MOVES
        move = self._moves.get(key)
        if move is None:
            route_before, route_after, model_before, model_after = key
            move = self._moves[key] = Move(
                route_before=route_before,
                route_after=route_after,
                model_before=model_before,
                model_after=model_after,
            )
        move.count += 1
        move.cost_before_usd += before
        move.cost_after_usd += after
        if len(move.examples) < EXAMPLES:
            move.examples.append(_example(again, decision))

    def _sum_up(self) -> None:
        report = self.report
        report.torn = self._torn_before + self._log.torn.count
        report.torn_told = self._log.torn.told
        report.moves = sorted(self._moves.values(), key=lambda move: -move.count)
        report.by_route = _largest_first(report.by_route)
        report.by_model = _largest_first(report.by_model)

    def _save(self, file: Path) -> None:
        """Save the progress. Either the whole file is new, or the old one stays."""
        self._sum_up()
        saved = _Saved(
            last_id=self._last or "",
            since=self._query.since,
            until=self._query.until,
            torn_before=self._torn_before + self._log.torn.count if isinstance(self._log.source, str) else 0,
            report=self.report,
        )
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(msgspec.json.encode(saved))
        new.replace(file)

    def _load(self, file: Path) -> None:
        try:
            saved = msgspec.json.decode(file.read_bytes(), type=_Saved)
        except (msgspec.DecodeError, UnicodeError):
            raise RequestError(f"{file}: is no saved replay: name another file for --resume") from None
        wanted = (self.report.log, self.report.config_version, self._query.since, self._query.until)
        of_file = (saved.report.log, saved.report.config_version, saved.since, saved.until)
        names = ("log", "version of the route files", "--since", "--until")
        for what, got, expected in zip(names, of_file, wanted, strict=True):
            if got != expected:
                told = f"its {what} is {got}, expected {expected}"
                raise RequestError(f"{file}: is of another replay: {told}; delete the file to begin anew")
        self.report, self._last, self._torn_before = saved.report, saved.last_id or None, saved.torn_before
        self._moves = {(m.route_before, m.route_after, m.model_before, m.model_after): m for m in self.report.moves}


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


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _largest_first(shares: dict[str, Share]) -> dict[str, Share]:
    return dict(sorted(shares.items(), key=lambda item: (-max(item[1].before, item[1].after), item[0])))
