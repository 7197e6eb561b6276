"""Labelled prompts for `semroute tune`: evaluation rows, or lines of a log with the right route added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from semroute.config.error_wording import did_you_mean
from semroute.decision import Candidate, Decision, Reason
from semroute.errors import RequestError
from semroute.evaluation.jsonl import first_complaint, numbered_lines
from semroute.evaluation.measure import Outcome, Progress
from semroute.json_errors import UNREADABLE, why_unreadable
from semroute.router import Router
from semroute.routing.decide import BELOW

EXPECTED = '{"text": …, "route": name or null}, or a decision with "expected": name or null'


class _Logged(msgspec.Struct):
    """What is read of a logged decision. Its prompt need not be in the log."""

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


def read_labelled(path: Path, router: Router, progress: Progress | None = None) -> list[Outcome]:
    """Return the prompts of a file, each with a decision. A text is decided now; a logged decision is taken as it is.

    A decision of other route files is refused, because its confidences say nothing about these. Raises `RequestError`,
    which names the line at fault.
    """
    lines = numbered_lines(path)
    outcomes = []
    for done, (number, line) in enumerate(lines, start=1):
        try:
            outcomes.append(_outcome(router, line))
        except UNREADABLE as error:
            got = why_unreadable(error, line)
            raise RequestError(f"{path}:{number}: got {got}; expected {EXPECTED}") from None
        except ValueError as error:
            raise RequestError(f"{path}:{number}: {error}; expected {EXPECTED}") from None
        if progress is not None:
            progress(done, len(lines))
    return outcomes


def _decided(decision: Decision | _Logged, text: str, expected: str | None) -> Outcome:
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


def _outcome(router: Router, line: bytes) -> Outcome:
    fields: Any = msgspec.json.decode(line)
    if isinstance(fields, dict) and "candidates" in fields:  # the decision itself, as `/route` returns it
        fields = {"expected": fields.get("expected", msgspec.UNSET), "decision": fields}
    if wrong := first_complaint(fields, _Line):
        raise ValueError(wrong)
    row = msgspec.convert(fields, _Line)
    expected = row.route if row.expected is msgspec.UNSET else row.expected
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
