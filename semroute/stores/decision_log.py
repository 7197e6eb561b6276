"""The decision log on any SQL database."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from operator import attrgetter
from typing import Any, NamedTuple

from semroute.record import Record
from semroute.stores import grades, log_rows, misroutes, rollups, trials
from semroute.stores.interfaces import Database, Feedback, JudgedRequest, LogScope, Query, Row, Session, to_pico
from semroute.stores.log_entries import LogEntry, entries

MAX_PAGE = 500
_CHUNK = 5000
LONGEST_S = 900.0
"""How far back to look for requests that ended a moment ago, in seconds. Longer requests are not found."""
_SUMMARY = ", ".join(log_rows.SUMMARY)
_WHOLE = (
    ", ".join(f"d.{name}" for name in log_rows.SUMMARY)
    + ", b.block, b.body, b.embedding, b.scores, b.prompt, b.answer, b.features"
)
_SELECT_WHOLE = f"SELECT {_WHOLE} FROM decisions d JOIN bodies b ON b.id = d.id"
MAX_VERSIONS = 1000
"""The most configurations whose names of scores are kept."""
_NAME = (
    "INSERT INTO score_names (version, names, last_day) VALUES (?, ?, ?) ON CONFLICT (version) "
    "DO UPDATE SET last_day = excluded.last_day WHERE score_names.last_day < excluded.last_day"
)
_EQUAL = {"route": "route", "model": "model", "key": "key_id", "team": "team", "feature": "feature"} | {
    "outcome": "outcome",
    "label": "label",
}


class Costs(NamedTuple):
    """What was spent according to the log, in 10^-12 USD."""

    by_day: dict[tuple[str, int, str], int]
    """What was spent, by (dimension, day since 1970, value)."""
    just_now: list[tuple[int, set[tuple[str, str]], int]]
    """For each request that ended a moment ago: its day, the (dimension, value) pairs it counts for, and its cost."""
    resets: dict[str, int]
    """How much of each counter was reset."""


class SqlLog:
    """The decision log in SQL. Its methods block, so call them in threads. Each raises `StoreError`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._named: dict[str, int] = {}
        self._features = rollups.FeatureNames()

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        """Append all records or none. `again`: the last try may have been committed; no record counts twice."""
        self.append(entries(batch), again=again)

    def append(self, batch: Sequence[LogEntry], *, again: bool = False) -> None:
        """As `write`."""
        with self.database.transaction() as session:
            if again:
                batch = _unwritten(session, batch)
            batch = sorted(batch, key=attrgetter("id"))
            blocks = list(log_rows.blocks(batch))
            session.run_many(log_rows.INSERT_DECISION, map(log_rows.decision_row, batch))
            session.run_many(log_rows.INSERT_BLOCK, starmap(log_rows.block_row, blocks))
            bodies = (log_rows.body_row(name, entry) for name, members in blocks for entry in members)
            session.run_many(log_rows.INSERT_BODY, bodies)
            # All writers use the same order, so two of them never wait for each other.
            features = self._features.joined(session, batch)
            cells = sorted(rollups.cells(batch, features).items())
            session.run_many(rollups.UPSERT, [(*cell, n) for cell, n in cells])
            named = self._name_scores(session, batch)
        self._named |= named
        self._features = features

    def page(self, query: Query) -> list[dict[str, Any]]:
        """Return summaries, newest first."""
        where, values = _where(query)
        limit = min(query.limit, MAX_PAGE)
        # The inner select needs only an index. Then only the rows of this page are read.
        inner = f"SELECT id FROM decisions {where} ORDER BY id DESC LIMIT ?"
        sql = f"SELECT {_SUMMARY} FROM decisions WHERE id IN ({inner}) ORDER BY id DESC"
        with self.database.transaction(write=False) as session:
            return [log_rows.summary(row) for row in session.run(sql, (*values, limit))]

    def read(self, id_: str, within: LogScope | None = None) -> dict[str, Any] | None:
        """Return one whole record. None: no record that may be seen has this id."""
        seen, values = _seen(within, "d.")
        with self.database.transaction(write=False) as session:
            found = _whole(session, session.run(f"{_SELECT_WHOLE} WHERE d.id = ?{seen}", (id_, *values)))
        return found[0] if found else None

    def export(
        self, query: Query, *, after: str = "", on_torn: Callable[[str], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield whole records with embeddings, oldest first.

        `after`: only records with a higher id follow. `on_torn` is told of each record that cannot be read. Without it,
        such a record ends the export with an error.
        """
        where, values = _where(query, table="d.")
        further = f"{where} AND d.id > ? ORDER BY d.id LIMIT {MAX_PAGE}" if where else ""
        further = further or f"WHERE d.id > ? ORDER BY d.id LIMIT {MAX_PAGE}"
        while True:
            with self.database.transaction(write=False) as session:
                rows = session.run(f"{_SELECT_WHOLE} {further}", (*values, after))
                found = _whole(session, rows, on_torn)
            yield from found
            if len(rows) < MAX_PAGE:
                return
            after = rows[-1][0]

    def stats(self, by: str, since_day: int, until_day: int) -> list[dict[str, Any]]:
        """Return totals by one dimension, or by `day`. Most requests come first; days come in order."""
        dimension, group = ("all", "day") if by == "day" else (by, "value")
        # Sums of 10^-12 USD may need more than 64 bits, so they are added in two halves.
        sql = (
            f"SELECT {group}, metric, SUM(n / 1000000), SUM(n % 1000000) FROM rollups "
            f"WHERE dimension = ? AND day BETWEEN ? AND ? GROUP BY {group}, metric"
        )
        counts: defaultdict[Any, Counter[int]] = defaultdict(Counter)
        with self.database.transaction(write=False) as session:
            for value, metric, high, low in session.run(sql, (dimension, since_day, until_day)):
                counts[value][metric] = int(high) * 1_000_000 + int(low)
        if by in ("model", "tier") and not counts[""].get(rollups.TOTALS["cost"]):
            del counts[""]  # no row for requests without an answer if they cost nothing
        total = sum(metrics.get(0, 0) for metrics in counts.values())
        shown = rollups.limit_values(counts) if by == "feature" else counts
        rows = [rollups.row(str(value), metrics, total) for value, metrics in shown.items()]
        if by == "day":
            return sorted(rows, key=lambda row: int(row["value"]))
        return sorted(rows, key=lambda row: (-row["requests"], row["value"]))

    def costs(self, since_day: int, *, ended_after: float) -> Costs:
        """Return what was spent since a day, and what was spent by requests that ended after a moment."""
        dimensions = ("all", "key", "team", "route", rollups.CALLED, rollups.PURPOSE, rollups.ARM)
        marks = ", ".join("?" * len(dimensions))
        days = f"SELECT dimension, day, value, n FROM rollups WHERE metric = ? AND day >= ? AND dimension IN ({marks})"
        # Ids begin with the time of the request. Longer requests are not found here: they count as ended before.
        recent = (
            "SELECT at, attempts, model, route, key_id, team, experiment, arm, cost FROM decisions "
            "WHERE id >= ? AND cost > 0 AND at + latency_ms / 1000 >= ?"
        )
        first_id = f"{int((ended_after - LONGEST_S) * 1000):012x}"
        resets = "SELECT value, SUM(n) FROM rollups WHERE dimension = ? GROUP BY value"
        with self.database.transaction(write=False) as session:
            by_day = session.run(days, (rollups.TOTALS["cost"], since_day, *dimensions))
            just_now = session.run(recent, (first_id, ended_after))
            tried = session.run("SELECT at, purpose, cost FROM trials WHERE at >= ? AND cost > 0", (ended_after,))
            forgotten = session.run(resets, (rollups.RESET,))
        models = {value for dimension, _, value, _ in by_day if dimension == rollups.CALLED}
        return Costs(
            {(dimension, int(day), value): int(n) for dimension, day, value, n in by_day},
            [_just_now(row, models) for row in just_now]
            + [(rollups.day_of(at), {(rollups.PURPOSE, purpose)}, int(cost)) for at, purpose, cost in tried],
            {counter: int(amount) for counter, amount in forgotten},
        )

    def note_reset(self, counter: str, amount: int, at: float) -> None:
        """Note how much of a counter was spent when it was reset."""
        with self.database.transaction() as session:
            row = (rollups.RESET, rollups.day_of(at), counter, rollups.TOTALS["cost"], amount)
            session.run_many(rollups.UPSERT, [row])

    def feed_back(
        self, id_: str, feedback: Feedback, at: float, within: LogScope | None = None
    ) -> JudgedRequest | None:
        """Add feedback to a record. A field not given stays as it was. None: no such record may be seen."""
        seen, values = _seen(within)
        with self.database.transaction() as session:
            session.lock([f"feedback:{id_}"])
            if (request := misroutes.read(session, id_, seen, values)) is None:
                return None
            session.run(
                "UPDATE decisions SET score = COALESCE(?, score), label = COALESCE(?, label), "
                "comment = COALESCE(?, comment), feedback_at = ? WHERE id = ?",
                (feedback.score, feedback.label, feedback.comment, at, id_),
            )
            changes = misroutes.feedback_changes(request, feedback)
            added = misroutes.cells(session, request, changes)
            if grades.counts(request.reason, request.route, request.model, request.outcome):
                number, millionths = changes["feedbacks"], changes["score_millionths"]
                cells = grades.graded("feedback", request.at, request.route, request.model or "", number, millionths)
                added.update(cells)
            misroutes.add(session, added)
            if feedback.score is not None:
                grades.note_change(session)
        new, counted = changes["misroutes_feedback"] > 0, changes["misroutes"] > 0
        return JudgedRequest(request.route or "", request.tier, counted, by_feedback=new)

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        """Delete records older than a moment, and the oldest ones if the log is too large. Returns how many.

        Also deletes very old totals, and names of scores that no record uses.
        """
        deleted = 0
        if before is not None:
            deleted += self._delete_before(f"{int(before * 1000):012x}")
        size = self.database.size_bytes() if max_bytes is not None else 0
        if max_bytes is not None and size > max_bytes:
            with self.database.transaction(write=False) as session:
                [[count]] = session.run("SELECT COUNT(*) FROM decisions")
                surplus = int(count * (1 - max_bytes / size)) + 1
                rows = session.run("SELECT id FROM decisions ORDER BY id LIMIT 1 OFFSET ?", (surplus,))
            deleted += self._delete_before(rows[0][0] if rows else "~")
        self._forget()
        return deleted

    def _forget(self) -> None:
        """Delete what is no longer used."""
        with self.database.transaction() as session:
            [[newest]] = session.run("SELECT MAX(day) FROM rollups WHERE dimension = 'all'")
            dimensions = (*rollups.DIMENSIONS, rollups.PURPOSE, rollups.ARM, *grades.DIMENSIONS)
            for dimension in dimensions if newest is not None else ():
                session.run(
                    "DELETE FROM rollups WHERE dimension = ? AND day < ?", (dimension, newest - rollups.KEEP_DAYS)
                )
            for (oldest,) in session.run("SELECT at FROM decisions ORDER BY id LIMIT 1"):
                session.run("DELETE FROM score_names WHERE last_day < ?", (rollups.day_of(oldest),))
            surplus = "SELECT version FROM score_names ORDER BY last_day DESC, version LIMIT 1000000 OFFSET ?"
            session.run(f"DELETE FROM score_names WHERE version IN ({surplus})", (MAX_VERSIONS,))

    def _delete_before(self, id_: str) -> int:
        deleted = 0
        while True:
            with self.database.transaction() as session:
                sql = "SELECT id FROM decisions WHERE id < ? ORDER BY id LIMIT ?"
                ids = session.run(sql, (id_, _CHUNK))
                if ids:
                    session.run("DELETE FROM trials WHERE decision <= ?", ids[-1])
                    for table in ("blocks", "bodies", "decisions"):  # a block is as old as the last record in it
                        session.run(f"DELETE FROM {table} WHERE id <= ?", ids[-1])
            deleted += len(ids)
            if len(ids) < _CHUNK:
                return deleted

    def _name_scores(self, session: Session, batch: Sequence[LogEntry]) -> dict[str, int]:
        """Keep the names for the score vectors, once for each configuration, with the last day of its use."""
        new = {
            entry.gist.config_version: (rollups.day_of(entry.sent.at), entry)
            for entry in batch
            if entry.sent.scores and self._named.get(entry.gist.config_version, -1) < rollups.day_of(entry.sent.at)
        }
        rows = [(version, json.dumps(entry.routes), day) for version, (day, entry) in sorted(new.items())]
        session.run_many(_NAME, rows)
        return {version: day for version, (day, _) in new.items()}


def _unwritten(session: Session, batch: Sequence[LogEntry]) -> list[LogEntry]:
    marks = ", ".join("?" * len(batch))
    sql = f"SELECT id FROM decisions WHERE id IN ({marks})"
    there = {id_ for (id_,) in session.run(sql, [entry.id for entry in batch])}
    return [entry for entry in batch if entry.id not in there]


def _whole(session: Session, rows: Sequence[Row], on_torn: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Turn rows of `_SELECT_WHOLE` into whole records. `on_torn`: told of each row that cannot be read."""
    names: dict[str, str] = dict(session.run("SELECT version, names FROM score_names"))
    width = len(log_rows.SUMMARY)
    packed = _blocks(session, {row[width] for row in rows if row[width] is not None})
    tried = trials.of_decisions(session, [row[0] for row in rows])
    opened: dict[str, dict[str, log_rows.RecordDetails]] = {}
    found = []
    for row in rows:
        block, alone, *rest = row[width:]
        try:
            if block is not None and block not in opened:
                opened[block] = log_rows.read_block(packed[block])
            body = log_rows.read_body(alone) if block is None else opened[block][row[0]]
            fields = log_rows.whole(row[:width], body, tuple(rest), names.get(body.decision.config_version))
            found.append({**fields, "trials": tried.get(row[0], [])})
        except log_rows.UNREADABLE as error:
            if on_torn is None:
                raise
            on_torn(f"record {row[0]}: its decision cannot be read: {type(error).__name__}: {error}")
    return found


def _blocks(session: Session, wanted: set[str]) -> dict[str, bytes]:
    if not wanted:
        return {}
    sql = f"SELECT id, data FROM blocks WHERE id IN ({', '.join('?' * len(wanted))})"
    return dict(session.run(sql, sorted(wanted)))


def _just_now(row: Row, models: set[str]) -> tuple[int, set[tuple[str, str]], int]:
    """Return what a request counts for. With several calls it counts for all `models`: the row does not say which."""
    at, attempts, model, route, key, team, experiment, arm, cost = row
    called = {model} if attempts == 1 and model is not None else models
    places = {("all", ""), ("key", key), ("team", team), ("route", route or "")}
    if experiment:
        places.add((rollups.ARM, rollups.arm_value(experiment, arm)))
    return rollups.day_of(at), places | {(rollups.CALLED, each) for each in called}, int(cost)


def _seen(within: LogScope | None, table: str = "") -> tuple[str, list[str]]:
    """Return the SQL condition for what may be seen, and its values."""
    if within is None:
        return "", []
    lists = [(name, some) for name, some in (("route", within.routes), ("model", within.models)) if some is not None]
    terms = [f"{table}{name} IN ({', '.join('?' * len(some))})" if some else "1 = 0" for name, some in lists]
    values = [value for _, some in lists for value in some]
    return f" AND ({table}key_id = ? OR ({' AND '.join(terms)}))", [within.key, *values]


def _where(query: Query, table: str = "") -> tuple[str, list[Any]]:
    """Return the SQL condition of a query. Ids begin with their time in ms, so a span of time is a span of ids."""
    terms: list[tuple[str, Any]] = []
    for field, column in _EQUAL.items():
        if (value := getattr(query, field)) is not None:
            none = value == "" and field in ("route", "model")
            terms.append((f"{table}{column} IS NULL", None) if none else (f"{table}{column} = ?", value))
    bounds = {
        "id >= ?": None if query.since is None else f"{int(query.since * 1000):012x}",
        "id < ?": None if query.until is None else f"{int(query.until * 1000):012x}",
        "cost >= ?": None if query.min_cost_usd is None else to_pico(query.min_cost_usd),
        "cost <= ?": None if query.max_cost_usd is None else to_pico(query.max_cost_usd),
    }
    terms += [(table + term, value) for term, value in bounds.items() if value is not None]
    if query.before is not None:
        terms.append((f"{table}id < ?", query.before))
    if query.error is not None:
        pattern = query.error.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        terms.append((f"{table}error IS NOT NULL AND lower({table}error) LIKE lower(?) ESCAPE '\\'", f"%{pattern}%"))
    seen, seen_values = _seen(query.within, table)
    where = f"WHERE {' AND '.join(term for term, _ in terms) or '1 = 1'}{seen}" if terms or seen else ""
    return where, [*(value for _, value in terms if value is not None), *seen_values]
