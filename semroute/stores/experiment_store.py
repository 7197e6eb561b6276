"""What all processes know of experiments: when they started, when and why they ended, and what the log holds of them.

All moments are by the clock of the database, because the clocks of processes may differ.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from semroute.bases import Frozen
from semroute.stores.interfaces import Database, Row, Session

CLUSTERS = 1024
"""How many groups users are put into by their digests, so that any number of users takes the same memory."""
SETTLING_S = 300.0
"""For so long before and after a change of weights, new users do not count for the check of shares: processes do not
read the change at the same moment, and date requests by their own clocks."""

SUMS = (
    "requests",
    "finished",
    "failed",
    "answered",
    "latency_ms",
    "charged",
    "cost",
    "matched",
    "abstained",
    "scored",
    "score",
)
"""What is summed by arm and cluster of users. `finished`: answered or failed. `cost` is in 10^-12 USD."""

# The last digits of an id are random, so requests of nobody known are spread, too.
_CLUSTER = "CASE WHEN unit = '' THEN substr(id, 26, 3) ELSE substr(unit, 2, 3) END"
_IS_ROUTED = "reason NOT IN ('rule', 'pinned')"
_SUMS = ", ".join(
    f"SUM({each})"
    for each in (
        "1",
        "CASE WHEN outcome IN ('ok', 'failed') THEN 1 ELSE 0 END",
        "CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END",
        "CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END",
        "CASE WHEN outcome = 'ok' THEN latency_ms ELSE 0 END",
        "CASE WHEN outcome IN ('ok', 'failed', 'cancelled') THEN 1 ELSE 0 END",
        "CASE WHEN outcome IN ('ok', 'failed', 'cancelled') THEN cost ELSE 0 END",
        f"CASE WHEN {_IS_ROUTED} THEN 1 ELSE 0 END",
        f"CASE WHEN {_IS_ROUTED} AND reason = 'default' THEN 1 ELSE 0 END",
        "CASE WHEN score IS NULL THEN 0 ELSE 1 END",
        "CASE WHEN score IS NULL THEN 0 ELSE score END",
    )
)
_SPAN = "experiment = ? AND id >= ? AND id < ?"
# Two significant digits: a value is off by 5% at most, and there are few.
_ROUNDED_MS = (
    "CASE WHEN latency_ms < 100 THEN round(latency_ms) WHEN latency_ms < 1000 THEN round(latency_ms / 10) * 10 "
    "WHEN latency_ms < 10000 THEN round(latency_ms / 100) * 100 ELSE round(latency_ms / 1000) * 1000 END"
)


class Run(Frozen, frozen=True, kw_only=True):
    """What all processes know of an experiment."""

    started_at: float
    """Seconds since 1970, by the clock of the database; the other moments likewise."""
    ended_at: float | None = None
    """None: it was not ended. Then its own days count."""
    reason: str = ""
    """Why it was ended, in words."""
    adopted: str = ""
    """The arm that was adopted. Empty: none."""
    weights: tuple[tuple[float, dict[str, float]], ...] = ()
    """The weights, each with the moment from which they count."""


class Known(NamedTuple):
    """The experiments, and the time by the clock of the database."""

    runs: dict[str, Run]
    now: float
    started: tuple[str, ...] = ()
    """The experiments that this call started."""


class DaySums(NamedTuple):
    """What the log holds of one day of an experiment."""

    sums: list[tuple[str, str, list[float]]]
    """For each arm and cluster: the values of `SUMS`."""
    judged: list[tuple[str, str, float, float]]
    """For each arm and cluster: how many answers were graded, each divided by its chance to be drawn, and the sum of
    their grades."""
    latencies: dict[str, dict[float, int]]
    """For each arm: how many answers took about so many milliseconds."""


class ExperimentStore:
    """Experiments in SQL. Its methods block, so call them in threads. Each raises `StoreError`."""

    def __init__(self, database: Database, clock: Callable[[], float] | None = None) -> None:
        """`clock`: seconds since 1970. None: the clock of the database."""
        self._database = database
        self._clock = clock

    def follow(self, weights: Mapping[str, Mapping[str, float]]) -> Known:
        """Return what is known of all experiments. Start those that nobody has started, and note changed weights.

        `weights`: by experiment and arm, of the experiments that may start. If several processes call this at once,
        one of them starts an experiment, and all get the same moment.
        """
        known = self._read()
        missing = [
            name
            for name, arms in weights.items()
            if name not in known.runs or (known.runs[name].ended_at is None and known.runs[name].weights[-1][1] != arms)
        ]
        return self._note({name: dict(weights[name]) for name in missing}) if missing else known

    def end(self, name: str, reason: str, adopted: str = "") -> bool:
        """End an experiment. Returns False if it has ended already. One that never started is started and ended.

        `adopted`: the arm that is adopted, which is noted even if the experiment has ended already.
        """
        with self._database.transaction() as session:
            session.lock([f"experiment:{name}"])
            now = self._now(session)
            run = _runs(session).get(name)
            if run is not None and run.ended_at is not None:
                if adopted:
                    session.run("UPDATE experiments SET adopted = ? WHERE name = ?", (adopted, name))
                return False
            if run is None:
                _insert(session, name, now, ())
            sql = "UPDATE experiments SET ended_at = ?, reason = ?, adopted = ? WHERE name = ?"
            session.run(sql, (now, reason, adopted, name))
            return True

    def _read(self) -> Known:
        with self._database.transaction(write=False) as session:
            return Known(_runs(session), self._now(session))

    def _note(self, weights: Mapping[str, dict[str, float]]) -> Known:
        with self._database.transaction() as session:
            session.lock(sorted(f"experiment:{name}" for name in weights))
            now, runs, started = self._now(session), _runs(session), []
            for name, arms in weights.items():
                run = runs.get(name)
                if run is None:
                    _insert(session, name, now, ((now, arms),))
                    started.append(name)
                elif run.ended_at is None and (not run.weights or run.weights[-1][1] != arms):
                    sql = "UPDATE experiments SET weights = ? WHERE name = ?"
                    session.run(sql, (json.dumps([*run.weights, (now, arms)]), name))
            return Known(_runs(session), now, tuple(started))

    def _now(self, session: Session) -> float:
        if self._clock is not None:
            return self._clock()
        [[now]] = session.run("SELECT {now}".format(**self._database.types))
        return float(now)

    # --- what the log holds ---

    def span(self, name: str) -> tuple[float, float] | None:
        """Return when the first and the last request of an experiment came. None: there is none."""
        with self._database.transaction(write=False) as session:
            [[first, last]] = session.run("SELECT MIN(id), MAX(id) FROM decisions WHERE experiment = ?", (name,))
        return None if first is None else (int(first[:12], 16) / 1000, int(last[:12], 16) / 1000)

    def sums(self, name: str, since: float, until: float) -> DaySums:
        """Return what the log holds of the requests of an experiment that came in a span of time."""
        span = (name, _first_id(since), _first_id(until))
        sums = f"SELECT arm, {_CLUSTER}, {_SUMS} FROM decisions WHERE {_SPAN} GROUP BY 1, 2"
        rounded = f"SELECT arm, {_ROUNDED_MS}, COUNT(*) FROM decisions WHERE {_SPAN} AND outcome = 'ok' GROUP BY 1, 2"
        judged = (
            f"SELECT arm, {_CLUSTER.replace('id', 'decision')}, SUM(1 / propensity), SUM(served_score / propensity) "
            "FROM trials WHERE experiment = ? AND decision >= ? AND decision < ? AND served_score IS NOT NULL "
            "AND method <> 'pairwise' AND propensity > 0 GROUP BY 1, 2"
        )
        latencies: defaultdict[str, dict[float, int]] = defaultdict(dict)
        with self._database.transaction(write=False) as session:
            by_cluster = [(arm, cluster, _floats(rest)) for arm, cluster, *rest in session.run(sums, span)]
            for arm, about_ms, n in session.run(rounded, span):
                latencies[arm][float(about_ms)] = int(n)
            graded = [(arm, cluster, float(n), float(score)) for arm, cluster, n, score in session.run(judged, span)]
        return DaySums(by_cluster, graded, dict(latencies))

    def slower(self, name: str, arm: str, than_ms: float) -> list[tuple[str, float, float]]:
        """Return, for each cluster: how many answers an arm gave, and how many of them took longer."""
        sql = (
            f"SELECT {_CLUSTER}, COUNT(*), SUM(CASE WHEN latency_ms > ? THEN 1 ELSE 0 END) FROM decisions "
            "WHERE experiment = ? AND arm = ? AND outcome = 'ok' GROUP BY 1"
        )
        with self._database.transaction(write=False) as session:
            rows = session.run(sql, (than_ms, name, arm))
        return [(cluster, float(n), float(slow)) for cluster, n, slow in rows]

    def units(self, name: str, periods: list[tuple[float, float]]) -> tuple[list[dict[str, int]], int]:
        """Return how many users came for the first time in each period, by arm, and how many were in several arms."""
        one = "CASE WHEN unit = '' THEN id ELSE unit END"
        firsts = f"SELECT MIN(id) AS first_id FROM decisions WHERE experiment = ? GROUP BY {one}"
        sql = (
            f"SELECT d.arm, COUNT(*) FROM ({firsts}) f JOIN decisions d ON d.id = f.first_id "
            "WHERE d.id >= ? AND d.id < ? GROUP BY d.arm"
        )
        moved = (
            "SELECT COUNT(*) FROM (SELECT unit FROM decisions WHERE experiment = ? AND unit <> '' GROUP BY unit "
            "HAVING COUNT(DISTINCT arm) > 1) several"
        )
        with self._database.transaction(write=False) as session:
            found = [
                {arm: int(n) for arm, n in session.run(sql, (name, _first_id(since), _first_id(until)))}
                for since, until in periods
            ]
            [[several]] = session.run(moved, (name,))
        return found, int(several)


def periods(run: Run, until: float) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Yield the periods of an experiment in which the weights were the same: begin, end, weights by arm."""
    for place, (since, arms) in enumerate(run.weights):
        end = run.weights[place + 1][0] - SETTLING_S if place + 1 < len(run.weights) else until
        begin = since + SETTLING_S if place else 0.0  # a process with a slow clock dates the first requests earlier
        if begin < end:
            yield begin, end, arms


def _runs(session: Session) -> dict[str, Run]:
    rows: list[Row] = session.run("SELECT name, started_at, ended_at, reason, adopted, weights FROM experiments")
    return {
        name: Run(
            started_at=started_at,
            ended_at=ended_at,
            reason=reason,
            adopted=adopted,
            weights=tuple((float(since), arms) for since, arms in json.loads(weights)),
        )
        for name, started_at, ended_at, reason, adopted, weights in rows
    }


def _insert(session: Session, name: str, now: float, weights: tuple[Any, ...]) -> None:
    sql = (
        "INSERT INTO experiments (name, started_at, ended_at, reason, adopted, weights) VALUES (?, ?, NULL, '', '', ?) "
        "ON CONFLICT DO NOTHING"
    )
    session.run(sql, (name, now, json.dumps(weights)))


def _floats(values: list[Any]) -> list[float]:
    return [float(value) for value in values]


def _first_id(at: float) -> str:
    """Return the lowest id of a moment. Ids begin with their time in milliseconds."""
    return f"{int(min(max(at, 0.0), 2**46 / 1000) * 1000):012x}"
