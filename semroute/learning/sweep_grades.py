"""What a cascade would have done with a logged answer under another threshold, as far as the log has the grades."""

from __future__ import annotations

import re
from typing import NamedTuple

from semroute.config.schema.policies import Cascade
from semroute.learning.logged_decisions import AttemptThen, LoggedDecision

CHECKS = {"judge_threshold": "judge", "min_certainty": "certainty", "min_logprob": "logprob"}
"""The check that each dial of a cascade belongs to."""
_NUMBER = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)"
_TOLD = {
    "judge": re.compile(rf"judge \S+ gives {_NUMBER}, expected at least"),
    "certainty": re.compile(rf"rates its own certainty {_NUMBER}, expected at least"),
    "logprob": re.compile(rf"its mean log-probability is {_NUMBER}, expected at least"),
}
"""How a check words a failure in `Attempt.escalated`, with the grade."""
_LATER = {"logprob": ("certainty", "judge", "callback"), "certainty": ("judge", "callback"), "judge": ("callback",)}
"""The checks that run only after a check has passed."""


class Cascaded(NamedTuple):
    """The first answer of a logged request, and what followed."""

    first: AttemptThen
    """The call that gave the first answer."""
    grade: float | None
    """The grade that one check gave the first answer. None: the log does not have it."""
    escalated: bool
    """Whether another model was asked because of a check."""
    only_here: bool
    """Whether this check alone caused that."""


def cascaded(row: LoggedDecision, check: str) -> Cascaded | None:
    """Return how the cascade went. `check`: the one that is looked at. None: no model answered."""
    answers = [one for one in row.attempts if one.purpose == "answer" and one.status == "ok"]
    if not answers:
        return None
    first, *others = answers
    why = first.escalated or ""
    escalated = bool(why) and bool(others) and not first.served_anyway
    return Cascaded(first, _grade(first, check), escalated, _failed_alone(why, check))


def passes(cascade: Cascade, check: str, then: Cascaded, threshold: float) -> bool | None:
    """Return whether the first answer would be served at a threshold. None: the log does not tell.

    `cascade`: the one in use now.
    """
    if then.escalated and not then.only_here:
        return False
    if then.grade is None:
        return None
    if then.grade < threshold:
        return False
    if not then.escalated:
        return True
    checks = cascade.checks
    later = {"certainty": checks.min_certainty, "judge": checks.judge, "callback": checks.callback}
    return None if any(later[name] is not None for name in _LATER[check]) else True


def _grade(attempt: AttemptThen, check: str) -> float | None:
    kept = attempt.grades.get(check)
    if kept is not None:
        return kept
    found = _TOLD[check].match(attempt.escalated or "")
    return float(found[1]) if found is not None else None


def _failed_alone(why: str, check: str) -> bool:
    """Return whether one check is the only one that failed. Only checks that need no call are told together."""
    return _TOLD[check].match(why) is not None and not (check == "logprob" and "; " in why)
