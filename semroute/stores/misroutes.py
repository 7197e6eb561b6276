"""Count misroutes: requests whose answer was not good enough, by who says so, each in the transaction that notes it.

feedback    A score below `GOOD_SCORE`, or the label of another route. The last feedback counts.
judge       A grade below `GOOD_SCORE`. Ties and better grades say nothing.
escalation  An answer failed a check. `rollups` counts it with the record.
retry       The same user asked nearly the same again. This is weak evidence, so it is counted on its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from semroute.stores import rollups
from semroute.stores.interfaces import Database, Feedback, Row, Session
from semroute.stores.leadership import Leadership, get, put

AT_ONCE = 200
"""How many verdicts are counted in one transaction."""
PAGE = 1000
"""How many requests are read at once."""
_POSITION = "retries.position"
_COLUMNS = (
    "at, model, tier, route, key_id, team, feature, experiment, arm, outcome, reason, score, label, escalated, "
    "judged_low"
)
_JUDGED = "counted = 0 AND judge <> '' AND served_score IS NOT NULL"
_RETRIED = "UPDATE decisions SET retried = 1 WHERE id = ? AND retried = 0 RETURNING id"
_ASKS = (
    "SELECT d.id, d.at, d.latency_ms, d.unit, d.input_tokens, d.outcome, d.attempts, b.embedding "
    "FROM decisions d JOIN bodies b ON b.id = d.id WHERE d.id > ? AND d.id < ? AND d.unit <> '' "
    "AND d.reason <> 'pinned' AND b.embedding IS NOT NULL ORDER BY d.id LIMIT ?"
)


class LoggedRequest(NamedTuple):
    """What is known of a logged request."""

    at: float
    model: str | None
    tier: str
    route: str | None
    key: str
    team: str
    feature: str
    experiment: str
    arm: str
    outcome: str
    reason: str
    score: float | None
    label: str | None
    escalated: int
    judged_low: int
    """Whether a judge said that its answer is not good enough."""

    @property
    def by_feedback(self) -> bool:
        """Return whether feedback says that it was misrouted."""
        return rollups.misrouted(self.reason, self.route, self.label, self.score)


class Misroute(NamedTuple):
    """A request that somebody newly calls misrouted."""

    route: str
    """Empty: the default."""
    tier: str
    source: str
    """One of `rollups.SOURCES`."""
    counted: bool
    """Whether it is new in the total as well. A request is in it once, and a retry does not put it there."""


class LoggedAsk(NamedTuple):
    """What is compared to find retries."""

    id: str
    at: float
    ended: float
    unit: str
    """See `Record.unit`."""
    input_tokens: int
    answered: bool
    embedding: bytes
    """Float16, little-endian."""


def read(session: Session, id_: str, seen: str = "", values: Sequence[str] = ()) -> LoggedRequest | None:
    """Return a request. None: it is not in the log. `seen`: a further SQL condition, with its values."""
    found = session.run(f"SELECT {_COLUMNS} FROM decisions WHERE id = ?{seen}", (id_, *values))
    return LoggedRequest(*found[0]) if found else None


def feedback_changes(request: LoggedRequest, feedback: Feedback) -> dict[str, int]:
    """Return what feedback changes in the totals. It does not undo what a check or a judge said."""
    after = request._replace(
        score=request.score if feedback.score is None else feedback.score,
        label=request.label if feedback.label is None else feedback.label,
    )
    changed = int(after.by_feedback) - int(request.by_feedback)
    return {
        "score_millionths": round((after.score or 0) * 1e6) - round((request.score or 0) * 1e6),
        "feedbacks": int(after.score is not None) - int(request.score is not None),
        "labels": int(after.label is not None) - int(request.label is not None),
        "misroutes": 0 if request.escalated or request.judged_low else changed,
        "misroutes_feedback": changed,
    }


def cells(session: Session, request: LoggedRequest, changes: dict[str, int]) -> rollups.Cells:
    """Return changes of a request's totals as cells of the rollups."""
    day, feature = rollups.day_of(request.at), request.feature
    counted = "SELECT 1 FROM rollups WHERE dimension = 'feature' AND day = ? AND value = ? AND metric = 0"
    if feature and not session.run(counted, (day, feature)):
        feature = rollups.OTHER
    values = ("", request.model or "", request.tier, request.route or "", request.key, request.team, feature)
    return Counter(
        {
            (dimension, day, value, rollups.TOTALS[name]): n
            for dimension, value in rollups.counted_for(values, rollups.arm_value(request.experiment, request.arm))
            for name, n in changes.items()
            if n
        }
    )


def add(session: Session, added: rollups.Cells) -> None:
    """Add to the rollups. All writers use the same order, so two of them never wait for each other."""
    session.run_many(rollups.UPSERT, [(*cell, n) for cell, n in sorted(added.items()) if n])


class MisrouteLog:
    """Verdicts and retries in SQL. Its methods block, so call them in threads. Each raises `StoreError`."""

    def __init__(self, database: Database, owner: str) -> None:
        """`owner`: the name of this process, which no other has."""
        self._database = database
        self._leadership = Leadership(database, "retries", owner)
        self.lead, self.resign = self._leadership.lead, self._leadership.resign

    def count_verdicts(self) -> tuple[list[Misroute], bool]:
        """Count verdicts of judges whose requests are in the log. Returns the misroutes, and whether there are more."""
        with self._database.transaction(write=False) as session:
            if not session.run(f"SELECT 1 FROM trials WHERE {_JUDGED} LIMIT 1"):
                return [], False
        with self._database.transaction() as session:
            session.lock(["verdicts"])
            found = session.run(
                f"SELECT t.id, t.decision, t.served_score FROM trials t WHERE {_JUDGED} "
                "AND EXISTS (SELECT 1 FROM decisions d WHERE d.id = t.decision) ORDER BY t.id LIMIT ?",
                (AT_ONCE,),
            )
            session.lock([f"feedback:{decision}" for decision in sorted({row[1] for row in found})])
            added: rollups.Cells = Counter()
            misroutes = []
            for _, decision, score in found:
                if (request := read(session, decision)) is None:
                    continue
                low = score < rollups.GOOD_SCORE and not request.judged_low
                counted = low and not (request.escalated or request.by_feedback)
                changes = {"judged": 1, "judged_millionths": round(score * 1e6)}
                changes |= {"misroutes_judge": int(low), "misroutes": int(counted)}
                added.update(cells(session, request, changes))
                if low:
                    session.run("UPDATE decisions SET judged_low = 1 WHERE id = ?", (decision,))
                    misroutes.append(Misroute(request.route or "", request.tier, "judge", counted))
            session.run_many("UPDATE trials SET counted = 1 WHERE id = ?", [(row[0],) for row in found])
            add(session, added)
        return misroutes, len(found) == AT_ONCE

    def position(self) -> str:
        """Return the id of the last request that was looked at for retries. Empty: none was."""
        with self._database.transaction(write=False) as session:
            return get(session, _POSITION).decode()

    def asks(self, after: str, until: float) -> list[LoggedAsk]:
        """Return the next matched requests behind an id that came before a moment, oldest first: at most `PAGE`."""
        with self._database.transaction(write=False) as session:
            rows = session.run(_ASKS, (after, f"{max(0, int(until * 1000)):012x}", PAGE))
        return [_ask(row) for row in rows]

    def count_retries(self, retried: Sequence[str], position: str) -> list[Misroute] | None:
        """Note that users asked again after these requests, each once. None: another process leads by now.

        `position`: the id of the last request that was looked at.
        """
        with self._database.transaction() as session:
            if not self._leadership.held(session):
                return None
            added: rollups.Cells = Counter()
            misroutes = []
            for id_ in sorted(set(retried)):
                if not session.run(
                    "UPDATE decisions SET retried = 1 WHERE id = ? AND retried = 0 RETURNING id", (id_,)
                ):
                    continue
                if (request := read(session, id_)) is not None:
                    added.update(cells(session, request, {"misroutes_retry": 1}))
                    misroutes.append(Misroute(request.route or "", request.tier, "retry", counted=False))
            add(session, added)
            put(session, _POSITION, position.encode())
        return misroutes


def _ask(row: Row) -> LoggedAsk:
    id_, at, latency_ms, unit, input_tokens, outcome, attempts, embedding = row
    answered = outcome == "ok" and attempts > 0
    return LoggedAsk(id_, at, at + latency_ms / 1000, unit, int(input_tokens), answered, bytes(embedding))
