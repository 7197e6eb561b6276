"""The tables, and the migrations from older ones. Forward only: never edit a migration that was released.

If there is nothing to do, this takes .08 ms at each start; yoyo 9.0 takes 41 ms. Alembic 1.20 takes 37 MB and 1.9 s
for its imports, and needs SQLAlchemy (2026-11-30, `bench/libraries.py migrations`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from semroute.errors import StoreError
from semroute.stores.interfaces import Database, Session

SEPARATOR = "\x1f"
"""Stands between the route and the model in a value of the rollups. It is the separator of units in ASCII, and no name
contains it."""
# PostgreSQL rounds in a cast, and SQLite cuts.
_DAY = "(CAST(at AS {int}) - CASE WHEN CAST(at AS {int}) > at THEN 1 ELSE 0 END) / 86400"
_GRADED = (
    "score IS NOT NULL AND model IS NOT NULL AND outcome IN ('ok', 'cancelled') "
    "AND (route IS NOT NULL OR reason <> 'pinned')"
)
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # This table is narrow: it holds what lists are filtered by. `bodies` has what only one record's reader needs.
        """CREATE TABLE decisions (
            id TEXT NOT NULL PRIMARY KEY, at {real} NOT NULL, route TEXT, model TEXT, tier TEXT NOT NULL,
            key_id TEXT NOT NULL, key_name TEXT NOT NULL, team TEXT NOT NULL, feature TEXT NOT NULL,
            reason TEXT NOT NULL, outcome TEXT NOT NULL, cost {int} NOT NULL, saved {int} NOT NULL,
            input_tokens {int} NOT NULL, output_tokens {int} NOT NULL, cached_tokens {int} NOT NULL,
            estimated {int} NOT NULL, attempts {int} NOT NULL, latency_ms {real} NOT NULL, first_token_ms {real},
            overhead_ms {real} NOT NULL, confidence {real} NOT NULL, error TEXT,
            score {real}, label TEXT, comment TEXT, feedback_at {real}
        ) {clustered}""",
        "CREATE INDEX decisions_by_route ON decisions (route, id)",
        "CREATE INDEX decisions_by_model ON decisions (model, id)",
        "CREATE INDEX decisions_by_key ON decisions (key_id, id)",
        "CREATE INDEX decisions_by_outcome ON decisions (outcome, id)",
        "CREATE INDEX decisions_by_time ON decisions (id, cost)",
        "CREATE INDEX decisions_with_error ON decisions (id) WHERE error IS NOT NULL",
        "CREATE INDEX decisions_with_label ON decisions (label, id) WHERE label IS NOT NULL",
        """CREATE TABLE bodies (
            id TEXT NOT NULL PRIMARY KEY, body {blob} NOT NULL, embedding {blob}, scores {blob}, prompt TEXT,
            answer TEXT
        )""",  # SQLite keeps a row of this size in one piece only in a table with row ids
        "CREATE TABLE score_names (version TEXT NOT NULL PRIMARY KEY, names TEXT NOT NULL) {clustered}",
        """CREATE TABLE rollups (
            dimension TEXT NOT NULL, day {int} NOT NULL, value TEXT NOT NULL, metric {int} NOT NULL, n {int} NOT NULL,
            PRIMARY KEY (dimension, day, value, metric)
        ) {clustered}""",
        """CREATE TABLE keys (
            id TEXT NOT NULL PRIMARY KEY, digest {blob} NOT NULL, caller TEXT NOT NULL, created_at {real} NOT NULL,
            expires_at {real}, revoked_at {real}, changed_at {real} NOT NULL
        ) {clustered}""",
        """CREATE TABLE audit (
            id TEXT NOT NULL PRIMARY KEY, at {real} NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
            detail TEXT NOT NULL, allowed {int} NOT NULL
        ) {clustered}""",
        "CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, spent {int} NOT NULL, expires_at {real} NOT NULL) "
        "{clustered}",
        """CREATE TABLE holds (
            hold TEXT NOT NULL, counter TEXT NOT NULL, amount {int} NOT NULL, expires_at {real} NOT NULL,
            PRIMARY KEY (counter, hold)
        ) {clustered}""",
        "CREATE INDEX holds_by_hold ON holds (hold)",
        "CREATE INDEX holds_by_end ON holds (expires_at)",
        "CREATE TABLE settled (hold TEXT NOT NULL PRIMARY KEY, expires_at {real} NOT NULL) {clustered}",
        "CREATE TABLE entries (name TEXT NOT NULL PRIMARY KEY, value {blob} NOT NULL, expires_at {real} NOT NULL) "
        "{clustered}",
    ),
    (
        # The bodies of a block's records, compressed together. That takes a tenth of the space of single bodies.
        "CREATE TABLE blocks (id TEXT NOT NULL PRIMARY KEY, data {blob} NOT NULL)",
        "ALTER TABLE bodies ADD COLUMN block TEXT",  # NULL: the record has its own `body`
    ),
    (
        # This finds the names of scores that no record uses any more.
        "ALTER TABLE score_names ADD COLUMN last_day {int} NOT NULL DEFAULT 0",
        "UPDATE score_names SET last_day = "
        "COALESCE((SELECT CAST(at / 86400 AS {int}) FROM decisions ORDER BY id DESC LIMIT 1), 0)",
    ),
    (
        # A number that grows with each change. It tells processes whether they must read again.
        "CREATE TABLE revisions (name TEXT NOT NULL PRIMARY KEY, n {int} NOT NULL) {clustered}",
        # Whether an answer failed a check. Such a request counts as misrouted, whatever feedback says later.
        "ALTER TABLE decisions ADD COLUMN escalated {int} NOT NULL DEFAULT 0",
        """CREATE TABLE kept_responses (
            owner TEXT NOT NULL, id TEXT NOT NULL, at {real} NOT NULL, expires_at {real} NOT NULL, size {int} NOT NULL,
            response {blob} NOT NULL, asked {blob} NOT NULL, PRIMARY KEY (owner, id)
        )""",
        "CREATE INDEX kept_responses_by_owner ON kept_responses (owner, at, id, size)",
        "CREATE INDEX kept_responses_by_time ON kept_responses (at, owner, id, size)",
        "CREATE INDEX kept_responses_by_end ON kept_responses (expires_at)",
        """CREATE TABLE kept_items (
            owner TEXT NOT NULL, response TEXT NOT NULL, place {int} NOT NULL, id TEXT NOT NULL, item {blob} NOT NULL,
            PRIMARY KEY (owner, response, place)
        )""",
        "CREATE INDEX kept_items_by_id ON kept_items (owner, id)",
    ),
    (
        # What a decision was made from except the text, as msgpack. NULL: it was not kept.
        "ALTER TABLE bodies ADD COLUMN features {blob}",
    ),
    (
        "ALTER TABLE decisions ADD COLUMN unit TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE decisions ADD COLUMN experiment TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE decisions ADD COLUMN arm TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX decisions_of_experiments ON decisions (experiment, id) WHERE experiment <> ''",
        # What was tried beside requests. Feedback and scores are read by purpose and time, so `body` has only the rest.
        """CREATE TABLE trials (
            id TEXT NOT NULL PRIMARY KEY, decision TEXT NOT NULL, at {real} NOT NULL, purpose TEXT NOT NULL,
            route TEXT NOT NULL, tier TEXT NOT NULL, unit TEXT NOT NULL, experiment TEXT NOT NULL, arm TEXT NOT NULL,
            served TEXT NOT NULL, model TEXT NOT NULL, judge TEXT NOT NULL, method TEXT NOT NULL, verdict TEXT NOT NULL,
            served_score {real}, score {real}, propensity {real} NOT NULL, cost {int} NOT NULL, error TEXT,
            body {blob} NOT NULL
        ) {clustered}""",
        "CREATE INDEX trials_by_decision ON trials (decision)",
        "CREATE INDEX trials_by_time ON trials (at, id)",
    ),
    (
        # What all processes know of an experiment. `weights`: JSON, each change with its moment.
        """CREATE TABLE experiments (
            name TEXT NOT NULL PRIMARY KEY, started_at {real} NOT NULL, ended_at {real}, reason TEXT NOT NULL,
            adopted TEXT NOT NULL, weights TEXT NOT NULL
        ) {clustered}""",
        # Which process does what in the background, and how far it has come.
        "CREATE TABLE progress (name TEXT NOT NULL PRIMARY KEY, data {blob} NOT NULL)",
        # Whether a judge said that the answer is not good enough, and whether the user asked again.
        "ALTER TABLE decisions ADD COLUMN judged_low {int} NOT NULL DEFAULT 0",
        "ALTER TABLE decisions ADD COLUMN retried {int} NOT NULL DEFAULT 0",
        # Whether the totals hold the verdict of a trial.
        "ALTER TABLE trials ADD COLUMN counted {int} NOT NULL DEFAULT 0",
        "CREATE INDEX trials_to_count ON trials (id) WHERE counted = 0 AND judge <> '' AND served_score IS NOT NULL",
        # The grades that people gave so far, as `stores/grades.py` sums up later ones.
        f"""INSERT INTO rollups (dimension, day, value, metric, n)
            SELECT 'graded by feedback', {_DAY}, COALESCE(route, '') || '{SEPARATOR}' || model, 12,
                COUNT(*) FROM decisions WHERE {_GRADED} GROUP BY 2, 3""",
        f"""INSERT INTO rollups (dimension, day, value, metric, n)
            SELECT 'graded by feedback', {_DAY}, COALESCE(route, '') || '{SEPARATOR}' || model, 13,
                SUM(CAST(ROUND(score * 1000000) AS {{int}})) FROM decisions WHERE {_GRADED} GROUP BY 2, 3""",
        "INSERT INTO revisions (name, n) VALUES ('grades', 1) ON CONFLICT DO NOTHING",
    ),
)


def _is_newest(database: Database, migrations: tuple[tuple[str, ...], ...]) -> bool:
    try:
        with database.transaction(write=False) as session:
            return session.run("SELECT version FROM schema_version") == [(len(migrations),)]
    except StoreError:  # there is no such table yet, or the database is unavailable, which the next call reports
        return False


def migrate(database: Database, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> int:
    """Bring a database to the newest version, one process at a time. Returns the number of migrations run.

    Raises `StoreError` if the database is newer than this program.
    """
    if _is_newest(database, migrations):
        return 0  # without a lock, so that this waits for nobody
    with database.transaction() as session:
        session.lock(["semroute.migrations"])
        session.run("CREATE TABLE IF NOT EXISTS schema_version (version {int} NOT NULL)".format(**database.types))
        rows = session.run("SELECT version FROM schema_version")
        version = rows[0][0] if rows else 0
        if version > len(migrations):
            raise StoreError(
                f"the tables have version {version}, this semroute knows up to {len(migrations)}: use a newer semroute"
            )
        for statements in migrations[version:]:
            for statement in statements:
                session.run(statement.format(**database.types))
        session.run("DELETE FROM schema_version")
        session.run("INSERT INTO schema_version (version) VALUES (?)", (len(migrations),))
    return len(migrations) - version


class Migrating:
    """A `Database` that is migrated to the newest version when it is first used.

    So a process can start while its database is unavailable, and use it as soon as it is there.
    """

    def __init__(self, database: Database) -> None:
        self.types = database.types
        self._database = database
        self._turn = threading.Lock()
        self._migrated = False

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Session]:
        """Open a transaction: the end commits it, an exception rolls it back."""
        if not self._migrated:
            self.migrate()
        with self._database.transaction(write=write) as session:
            yield session

    def migrate(self) -> None:
        """Migrate the database to the newest version, unless that was done. Raises `StoreError`."""
        with self._turn:
            if not self._migrated:
                migrate(self._database)
                self._migrated = True

    def size_bytes(self) -> int:
        """Return the bytes that the data takes on disk, without free pages."""
        return self._database.size_bytes()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
