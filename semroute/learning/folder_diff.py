"""Compare two folders of route files: on their utterances, on labelled prompts, and on a log."""

from __future__ import annotations

from collections.abc import Sequence

from semroute.bases import Frozen
from semroute.decision import Decision
from semroute.decision_changes import DecisionDiff, DiffCounter, decide_texts
from semroute.evaluation.measure import Progress, Row
from semroute.learning.decide_again import Decider
from semroute.learning.logged_decisions import TOGETHER, LoggedDecisions, batches
from semroute.router import Router


class LogDiff(Frozen, frozen=True, kw_only=True):
    """What changes on a log."""

    diff: DecisionDiff
    approximate: int
    """Compared rows for which a decision was guessed in part, because the log kept neither text nor features."""
    not_compared: int
    """Rows that one of the folders could not decide."""
    torn: tuple[str, ...]
    """The first rows that could not be read."""


def diff_rows(
    before: Router, after: Router, rows: Sequence[Row], name: str, progress: Progress | None = None
) -> DecisionDiff:
    """Decide labelled prompts with both Routers. A label that is no route of a Router is never right there."""
    counter = DiffCounter()
    for first in range(0, len(rows), TOGETHER):
        batch = rows[first : first + TOGETHER]
        texts = [row.text for row in batch]
        for row, here, there in zip(batch, decide_texts(before, texts), decide_texts(after, texts), strict=True):
            counter.add(row.text, here, there)
            counter.grade(row.route, here, there)
        if progress is not None:
            progress(counter.compared, len(rows))
    return counter.result(f"prompts of {name}")


def diff_log(before: Router, after: Router, log: LoggedDecisions, progress: Progress | None = None) -> LogDiff:
    """Decide the rows of a log with both Routers."""
    counter, old, new = DiffCounter(), Decider(before), Decider(after)
    total, approximate, not_compared, rows = log.count() if progress is not None else 0, 0, 0, log.read()
    done = 0
    for batch in batches(rows):
        for here, there in zip(old.decide(batch), new.decide(batch), strict=True):
            decided: tuple[Decision | None, Decision | None] = here.decision, there.decision
            if decided[0] is None or decided[1] is None:
                not_compared += 1
                continue
            approximate += bool(here.missing or there.missing)
            counter.add(here.row.ask_text or here.row.id, decided[0], decided[1])
        done += len(batch)
        if progress is not None:
            progress(done, max(total, done))
    return LogDiff(
        diff=counter.result(f"requests of {log.name}"),
        approximate=approximate,
        not_compared=not_compared,
        torn=tuple(log.torn.told),
    )
