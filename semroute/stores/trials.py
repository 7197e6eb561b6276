"""What was tried beside requests, on any SQL database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.record import Attempt, Trial, total_usage
from semroute.stores import grades, rollups
from semroute.stores.interfaces import Database, Row, Session, to_pico

PAGE = 500
"""How many trials are read at once."""
_COLUMNS = (
    "id, decision, at, purpose, route, tier, unit, experiment, arm, served, model, judge, method, verdict, "
    "served_score, score, propensity, error, body"
)
_FIELDS = _COLUMNS.split(", ")[:-1]
_INSERT = f"INSERT INTO trials ({_COLUMNS}, cost) VALUES ({', '.join('?' * (len(_FIELDS) + 2))})"


class _Body(Frozen, frozen=True, kw_only=True):
    """What only a reader of the single trial needs."""

    attempts: tuple[Attempt, ...] = ()
    detail: dict[str, Any] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode


class TrialLog:
    """The trials in SQL. Its methods block, so call them in threads. Each raises `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, trials: Sequence[Trial]) -> None:
        """Write all trials or none. One that is there already is left as it is, so a batch may come twice."""
        with self._database.transaction() as session:
            session.lock(["trials"])
            marks = ", ".join("?" * len(trials))
            there = session.run(f"SELECT id FROM trials WHERE id IN ({marks})", [trial.id for trial in trials])
            known = {id_ for (id_,) in there}
            new = [trial for trial in {trial.id: trial for trial in trials}.values() if trial.id not in known]
            session.run_many(_INSERT, map(_row, new))
            cells = _cells(new) + _grades(session, new)
            session.run_many(rollups.UPSERT, [(*cell, n) for cell, n in sorted(cells.items())])
            if any(dimension in grades.DIMENSIONS for dimension, *_ in cells):
                grades.note_change(session)

    def read(self, *, since: float = 0.0, purpose: str | None = None, after: str = "") -> Iterator[Trial]:
        """Yield the trials that ended at a moment or later, in the order of their times.

        `purpose`: only those of one purpose. `after`: the id of the last one that was read before. Those behind it
        follow, even if several ended at the moment `since`.
        """
        place = since, after
        only = " AND purpose = ?" if purpose is not None else ""
        select = f"SELECT {_COLUMNS} FROM trials WHERE (at > ? OR (at = ? AND id > ?)){only} ORDER BY at, id LIMIT ?"
        while True:
            values = (place[0], *place, *([purpose] if purpose is not None else []), PAGE)
            with self._database.transaction(write=False) as session:
                found = [_trial(row) for row in session.run(select, values)]
            yield from found
            if len(found) < PAGE:
                return
            place = found[-1].at, found[-1].id


def of_decisions(session: Session, ids: Sequence[str]) -> dict[str, list[Trial]]:
    """Return the trials beside some requests, by the ids of these."""
    found: defaultdict[str, list[Trial]] = defaultdict(list)
    if ids:
        marks = ", ".join("?" * len(ids))
        for row in session.run(f"SELECT {_COLUMNS} FROM trials WHERE decision IN ({marks}) ORDER BY id", ids):
            trial = _trial(row)
            found[trial.decision].append(trial)
    return found


def _row(trial: Trial) -> Row:
    body = _encode(_Body(attempts=trial.attempts, detail=trial.detail))
    return (*(getattr(trial, name) for name in _FIELDS), body, to_pico(trial.cost_usd))


def _trial(row: Row) -> Trial:
    body = _decode(row[-1])
    return Trial(**dict(zip(_FIELDS, row, strict=False)), attempts=body.attempts, detail=body.detail)


def _cells(trials: Sequence[Trial]) -> rollups.Cells:
    """Return what trials add to the rollups."""
    added: rollups.Cells = Counter()
    for trial in trials:
        usage, day = total_usage(trial.attempts), rollups.day_of(trial.at)
        amounts = {
            "requests": 1,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "cost": to_pico(trial.cost_usd),
            "errors": int(trial.error is not None),
            "attempts": len(trial.attempts),
        }
        for name, n in amounts.items():
            if n:
                added[(rollups.PURPOSE, day, trial.purpose, rollups.TOTALS[name])] += n
    return added


def _grades(session: Session, trials: Sequence[Trial]) -> rollups.Cells:
    """Return what the verdicts of a judge say of the models' quality, as cells of the rollups.

    Two answers that were compared: the one that lost counts as bad, the other one as good. After a tie both are good,
    because each would have done as well as the other.
    """
    unrouted = [trial.decision for trial in trials if not trial.route]
    marks = ", ".join("?" * len(unrouted))
    sql = f"SELECT id FROM decisions WHERE reason = 'pinned' AND id IN ({marks})"
    pinned = {id_ for (id_,) in session.run(sql, unrouted)} if unrouted else set()
    added: rollups.Cells = Counter()
    for trial in trials:
        if trial.error is None and trial.judge and trial.decision not in pinned:
            for model, score in ((trial.served, trial.served_score), (trial.model, trial.score)):
                if model and score is not None:
                    good = float(score >= grades.TIE) if trial.method == "pairwise" else score
                    added.update(grades.graded("judge", trial.at, trial.route, model, 1, round(good * 1e6)))
    return added
