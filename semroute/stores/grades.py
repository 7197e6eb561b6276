"""What grades say, summed up by day, route and model: feedback of people, and what a judge said.

The sums are rows of the rollups, written with the feedback or the verdict in one transaction. So they are exact, a
corrected feedback replaces the one before, and they outlive the records that they come from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal, NamedTuple, get_args

from semroute.stores import rollups
from semroute.stores.interfaces import Database, Row, Session
from semroute.stores.migrations import SEPARATOR

Source = Literal["feedback", "judge"]
NUMBER, SCORE = rollups.TOTALS["feedbacks"], rollups.TOTALS["score_millionths"]
TIE = 0.5
"""The score of each of two answers that a judge found equally good."""
ANSWERED = ("ok", "cancelled")
"""The outcomes of requests whose caller saw an answer. Grades of others say nothing of a model's quality."""
_CHANGED = "INSERT INTO revisions (name, n) VALUES ('grades', 1) ON CONFLICT (name) DO UPDATE SET n = revisions.n + 1"
DIMENSIONS: dict[str, Source] = {f"graded by {source}": source for source in get_args(Source)}
"""The dimensions of the rollups that hold grades."""
_READ = (
    "SELECT dimension, day, value, metric, n FROM rollups "
    f"WHERE dimension IN ({', '.join('?' * len(DIMENSIONS))}) AND day >= ?"
)


class DayOfGrades(NamedTuple):
    """The grades of one day, for one model on one route, from one source."""

    route: str
    """Empty: the default."""
    model: str
    source: Source
    day: int
    """Days since 1970, UTC: when the answers were given."""
    number: int
    score: float
    """The sum of the scores, each from 0 to 1."""


def graded(source: Source, at: float, route: str | None, model: str, number: int, millionths: int) -> rollups.Cells:
    """Return what grades add to the rollups. `number`: how many more grades there are. `millionths`: of the score."""
    place = f"graded by {source}", rollups.day_of(at), f"{route or ''}{SEPARATOR}{model}"
    return Counter({(*place, NUMBER): number, (*place, SCORE): millionths})


def counts(reason: str, route: str | None, model: str | None, outcome: str) -> bool:
    """Return whether a grade of this request says something about the model's quality on the route."""
    return bool(model) and outcome in ANSWERED and (route is not None or reason != "pinned")


def note_change(session: Session) -> None:
    """Let all processes know that there are new grades."""
    session.run(_CHANGED)


def read_grades(database: Database, since_day: int, known: int | None = None) -> tuple[int, list[DayOfGrades] | None]:
    """Return the revision of the grades, and the grades since a day. None: there are no new ones.

    `known`: the revision that was read last. Without new grades this reads only one number.
    """
    with database.transaction(write=False) as session:
        found = session.run("SELECT n FROM revisions WHERE name = 'grades'")
        revision = int(found[0][0]) if found else 0
        if revision == known:
            return revision, None
        return revision, _days(session.run(_READ, (*DIMENSIONS, since_day)))


def _days(rows: list[Row]) -> list[DayOfGrades]:
    sums: defaultdict[tuple[str, int, str], dict[int, int]] = defaultdict(dict)
    for dimension, day, value, metric, n in rows:
        sums[dimension, int(day), value][metric] = int(n)
    days = []
    for (dimension, day, value), found in sums.items():
        route, _, model = value.partition(SEPARATOR)
        if (number := found.get(NUMBER, 0)) > 0:
            score = found.get(SCORE, 0) / 1e6
            days.append(DayOfGrades(route, model, DIMENSIONS[dimension], day, number, score))
    return days
