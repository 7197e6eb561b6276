"""Labelled prompts for `semroute tune`: evaluation rows, or lines of a log to which the right route was added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from semroute.config.schema import Config
from semroute.errors import RequestError
from semroute.evaluation.evaluate import Outcome, Progress, numbered_lines
from semroute.router import Router
from semroute.routing.decide import unreadable
from semroute.types import Candidate, Decision

EXPECTED = '{"text": …, "route": name or null}, or a decision with "expected": name or null'


class _Logged(msgspec.Struct):
    """What is read of a decision that was logged; its prompt need not have been."""

    route: str | None
    candidates: list[Candidate]
    config_version: str


class _Line(msgspec.Struct):
    text: str | None = None
    route: str | msgspec.UnsetType | None = msgspec.UNSET
    expected: str | msgspec.UnsetType | None = msgspec.UNSET
    decision: _Logged | None = None


def read_labelled(path: Path, router: Router, progress: Progress | None = None) -> list[Outcome]:
    """The prompts of a file, each decided: a text anew, a logged decision as it was.

    A decision of other route files is refused, since its confidences say nothing of these. Raises `RequestError`
    with the line at fault.
    """
    lines = numbered_lines(path)
    outcomes = []
    for done, (number, line) in enumerate(lines, start=1):
        try:
            outcomes.append(_outcome(router, line))
        except (msgspec.DecodeError, ValueError) as error:
            raise RequestError(f"{path}:{number}: {error}; expected {EXPECTED}") from None
        if progress is not None:
            progress(done, len(lines))
    return outcomes


def _decided(config: Config, decision: Decision, text: str, expected: str | None) -> Outcome:
    """A decision against what it should have been. No best route where no threshold has a say: a rule, a language."""
    best = decision.candidates[0] if decision.candidates else None
    kept_off = best is not None and unreadable(config, text, best)
    return Outcome(
        text=text,
        expected=expected,
        decided=decision.route,
        best=None if best is None or kept_off else best.route,
        confidence=best.confidence if best else 0.0,
        latency_ms=0.0,
    )


def _outcome(router: Router, line: str) -> Outcome:
    fields: Any = msgspec.json.decode(line)
    if isinstance(fields, dict) and "candidates" in fields:  # the decision itself, as `/route` answers it
        fields = {"expected": fields.get("expected", msgspec.UNSET), "decision": fields}
    row = msgspec.convert(fields, _Line)
    expected = row.route if row.expected is msgspec.UNSET else row.expected
    if isinstance(expected, msgspec.UnsetType):
        raise ValueError("the right route is missing")
    if expected is not None and expected not in router.config.routes:
        raise ValueError(f"got route {expected!r}, which does not exist")
    if row.text is not None:
        return _decided(router.config, router.route(row.text), row.text, expected)
    if row.decision is None:
        raise ValueError("got neither `text` nor `decision`")
    return _logged(router, row.decision, expected, row.decision.candidates)


def _logged(router: Router, decision: _Logged, expected: str | None, candidates: Sequence[Candidate]) -> Outcome:
    if decision.config_version != router.config.version:
        got, here = decision.config_version, router.config.version
        raise ValueError(
            f"got a decision of route files {got!r}, these are {here!r}: its confidences are not comparable"
        )
    best = candidates[0] if candidates else None
    return Outcome(
        text="",
        expected=expected,
        decided=decision.route,
        best=best.route if best else None,
        confidence=best.confidence if best else 0.0,
        latency_ms=0.0,
    )
