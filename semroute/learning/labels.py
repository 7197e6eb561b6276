"""Labelled prompts for `semroute tune`: evaluation rows, or logged decisions with the right route or with feedback."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.config.error_wording import did_you_mean
from semroute.decision import Candidate, Decision, Reason
from semroute.errors import RequestError
from semroute.evaluation.jsonl import first_complaint, is_logged
from semroute.evaluation.measure import Outcome, Progress
from semroute.json_errors import UNREADABLE, why_unreadable
from semroute.learning.logged_decisions import DecisionThen, LoggedDecision, LoggedDecisions, TornRows, lines_of
from semroute.router import Router
from semroute.routing.decide import BELOW
from semroute.stores.rollups import GOOD_SCORE

EXPECTED = '{"text": …, "route": name or null}, or a decision with "expected": name or null'
ANOTHER = "(another route)"
"""Stands for the right route where a bad score says that the route was wrong, but not which one is right."""


class _Logged(msgspec.Struct):
    """What is read of a decision that somebody labelled. Its prompt need not be there."""

    id: str
    route: str | None
    reason: Reason
    explanation: str
    candidates: tuple[Candidate, ...]
    config_version: str


class _Line(msgspec.Struct):
    text: str | None = None
    route: str | msgspec.UnsetType | None = msgspec.UNSET
    expected: str | msgspec.UnsetType | None = msgspec.UNSET
    decision: _Logged | None = None


class LabelCounts(Frozen, frozen=True, kw_only=True):
    """Where labels come from, and which rows of a log give none."""

    written: int = 0
    """Rows with the right route in the file itself."""
    corrected: int = 0
    """Rows whose feedback names the right route."""
    good: int = 0
    """Rows with a route and with a good score. The route counts as right."""
    bad: int = 0
    """Rows with a route and with a bad score. The route counts as wrong, and the right one is not known."""
    unlabelled: int = 0
    """Rows without feedback that says anything about the route. They are left out, as are those of the next fields."""
    other_version: int = 0
    """Rows with feedback that were decided by other route files, and whose text was not kept."""
    unknown_route: int = 0
    """Rows whose feedback names a route that does not exist now."""
    torn: int = 0
    """Lines that cannot be read."""

    @property
    def used(self) -> int:
        """Return how many rows count."""
        return self.written + self.corrected + self.good + self.bad


class Labelled(Frozen, frozen=True, kw_only=True):
    """Prompts with the right route, each with a decision."""

    outcomes: list[Outcome]
    counts: LabelCounts
    torn: tuple[str, ...] = ()
    """What is wrong with the first lines that cannot be read."""


def read_labelled(path: Path, router: Router, progress: Progress | None = None) -> Labelled:
    """Return the prompts of a file, each with a decision. A text is decided now; a logged decision is taken as it is.

    The right route of a logged decision is its `expected`, or else what its feedback says. Its `route` is the one that
    was taken, right or wrong. A decision of other route files counts only if its text is known, because its
    confidences say nothing about these.

    Raises `RequestError`. It names the line at fault, or says that a log holds no label.
    """
    reading = _Reading(path, router)
    if path.suffix == ".parquet":
        log = LoggedDecisions(path)
        rows = log.count()
        for number, row in enumerate(log, start=1):
            reading.take_logged(row)
            if progress is not None:
                progress(number, rows)
        return reading.result(log.torn)
    size, read, torn = path.stat().st_size, 0, TornRows()
    for number, line in lines_of(path, torn):
        reading.take_line(number, line)
        read += len(line)
        if progress is not None:
            progress(read, size)
    return reading.result(torn)


class _NoRow(ValueError):
    """A line holds JSON in which nobody wrote anything, such as a torn row of a log."""


class _Reading:
    """What was read so far. A line that cannot be read is counted in a log, and refused in a file that people wrote."""

    def __init__(self, path: Path, router: Router) -> None:
        self._path = path
        self._router = router
        self._outcomes: list[Outcome] = []
        self._counts: Counter[str] = Counter()
        self._logged = 0
        self._faults = TornRows()

    def take_line(self, number: int, line: bytes) -> None:
        """Read a line of JSON."""
        try:
            if (logged := _logged(line)) is not None:
                self.take_logged(logged)
            else:
                self._outcomes.append(_outcome(self._router, line))
                self._counts["written"] += 1
        except UNREADABLE as error:
            self._faults.add(f"{self._path}:{number}: got {why_unreadable(error, line)}; expected {EXPECTED}")
        except _NoRow as error:
            self._faults.add(f"{self._path}:{number}: {error}; expected {EXPECTED}")
        except ValueError as error:
            raise RequestError(f"{self._path}:{number}: {error}; expected {EXPECTED}") from None
        if self._faults.count and self._counts["written"] and not self._logged:
            raise RequestError(self._faults.told[0])

    def take_logged(self, row: LoggedDecision) -> None:
        """Take a row of a log, if its feedback says which route is right."""
        self._logged += 1
        right, kind = _right(row)
        if kind == "corrected" and right is not None and right not in self._router.config.routes:
            kind = "unknown_route"
        if kind not in ("unlabelled", "unknown_route"):
            text = None if row.redacted else row.ask_text
            if row.decision.config_version == self._router.config.version:
                self._outcomes.append(_decided(row.decision, text or f"decision {row.id}", right))
            elif text is not None:
                decision = self._router.route(text)
                if kind == "corrected" or decision.route == row.route:
                    self._outcomes.append(_decided(decision, text, right))
                else:  # the score was about another route
                    kind = "other_version"
            else:
                kind = "other_version"
        self._counts[kind] += 1

    def result(self, torn: TornRows) -> Labelled:
        """Return all that was read. Raises `RequestError` if it holds no label."""
        torn = torn.merged(self._faults)
        told = torn.told
        counts = LabelCounts(**self._counts, torn=torn.count)
        if not counts.used and not self._logged:
            raise RequestError(told[0] if told else f"{self._path}: holds no rows")
        if not counts.used:
            reasons = (
                (counts.other_version, "with feedback are of other route files and without text"),
                (counts.unknown_route, "have feedback that names a route that does not exist now"),
            )
            why = "".join(f"; {count} {what}" for count, what in reasons if count)
            raise RequestError(
                f"{self._path}: got {self._logged} logged decisions and no label that can be used{why}; expected "
                "feedback that names the right route (`label` in POST /feedback), or `expected` in the lines"
            )
        return Labelled(outcomes=self._outcomes, counts=counts, torn=tuple(told))


def _logged(line: bytes) -> LoggedDecision | None:
    """Return a line as a row of a log. None: somebody wrote the right route into it, or it is no such row."""
    fields: Any = msgspec.json.decode(line)
    if not is_logged(fields) or "expected" in fields:
        return None
    return msgspec.json.decode(line, type=LoggedDecision)


def _right(row: LoggedDecision) -> tuple[str | None, str]:
    """Return the right route of a row as feedback says, and how it says so: a field of `LabelCounts`."""
    if row.label is not None:
        return row.label or None, "corrected"
    if row.score is None or row.route is None:
        return None, "unlabelled"
    return (row.route, "good") if row.score >= GOOD_SCORE else (ANOTHER, "bad")


def _decided(decision: Decision | DecisionThen | _Logged, text: str, expected: str | None) -> Outcome:
    """Compare a decision with the right one. There is no best route if something other than a threshold decided."""
    below = decision.reason == "default" and decision.explanation.startswith(BELOW)
    by_threshold = decision.reason == "semantic" or below
    best = decision.candidates[0] if decision.candidates and by_threshold else None
    return Outcome(
        text=text,
        expected=expected,
        decided=decision.route,
        best=best.route if best else None,
        confidence=best.confidence if best else 0.0,
        latency_ms=0.0,
    )


def _is_written(fields: object) -> bool:
    return isinstance(fields, dict) and not fields.keys().isdisjoint(_Line.__struct_fields__)


def _outcome(router: Router, line: bytes) -> Outcome:
    fields: Any = msgspec.json.decode(line)
    if isinstance(fields, dict) and "candidates" in fields:  # the decision itself, as `/route` returns it
        fields = {"expected": fields.get("expected", msgspec.UNSET), "decision": fields}
    if wrong := first_complaint(fields, _Line):
        raise ValueError(wrong) if _is_written(fields) else _NoRow(wrong)
    if not _is_written(fields):
        raise _NoRow("got no right route")
    row = msgspec.convert(fields, _Line)
    expected = row.route if row.expected is msgspec.UNSET and row.decision is None else row.expected
    if isinstance(expected, msgspec.UnsetType):
        raise ValueError("got no right route")
    if expected is not None and expected not in router.config.routes:
        raise ValueError(f"got route {expected!r}, which does not exist{did_you_mean(expected, router.config.routes)}")
    if row.text is not None:
        return _decided(router.route(row.text), row.text, expected)
    if row.decision is None:
        raise ValueError("got neither `text` nor `decision`")
    if row.decision.config_version != router.config.version:
        got, here = row.decision.config_version, router.config.version
        raise ValueError(
            f"got a decision by version {got!r} of the route files, expected the version in use, {here!r}: confidences "
            "of two versions cannot be compared"
        )
    return _decided(row.decision, f"decision {row.decision.id}", expected)
