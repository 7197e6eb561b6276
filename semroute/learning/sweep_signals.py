"""What a logged request says of the quality of answers: feedback, verdicts of judges, shadow calls, failed checks.

Scores lie between 0 and 1. A comparison of two answers is a pair: how much better the tried answer was than the served
one, from -1 to 1. A comparison that is lost counts as a whole answer lost, so pairs rather overstate a difference.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from semroute.learning.logged_decisions import AttemptThen, LoggedDecision
from semroute.record import Trial

FEEDBACK, CORRECTED = "scores of people", "routes that people confirmed or corrected"
JUDGED, PAIRED, ESCALATED = "answers graded by a judge", "answers of two models compared", "answers that failed a check"
EXPLORED = "requests whose model was chosen at random"
SIGNALS = (FEEDBACK, CORRECTED, JUDGED, PAIRED, ESCALATED, EXPLORED)
OUT_OF_RANGE, FAILED = "scores or propensities out of range, left out", "judges or shadow calls that failed"


class Pair(NamedTuple):
    """An answer that can be compared with the served one."""

    model: str
    """The model of the other answer."""
    difference: float
    """Its quality less that of the served answer."""
    propensity: float
    """The probability with which the request was chosen for this comparison."""
    weak: bool
    """Whether it only rests on a check that the other answer failed."""


class Signals(NamedTuple):
    """All signals of one request. NaN: there is none."""

    person: float
    judge: float
    """The grade that a judge gave the served answer by itself."""
    judge_propensity: float
    pairs: tuple[Pair, ...]
    propensity: float | None
    """The probability with which the first model was chosen. None: nothing was random."""
    counts: Counter[str]

    @property
    def any(self) -> bool:
        """Return whether there is a signal."""
        return bool(self.pairs) or not (math.isnan(self.person) and math.isnan(self.judge))


def signals_of(row: LoggedDecision) -> Signals:
    """Return the signals of a row. Values that make no sense are left out and counted."""
    counts: Counter[str] = Counter()
    person = _person(row, counts)
    judge, judge_propensity = math.nan, math.nan
    pairs: list[Pair] = []
    for trial in row.trials:
        if trial.error is not None:
            counts[FAILED] += 1
            continue
        scores = (trial.score, trial.served_score, trial.propensity)
        if not all(value is None or 0 <= value <= 1 for value in scores) or trial.propensity == 0:
            counts[OUT_OF_RANGE] += 1
            continue
        propensity = trial.propensity
        if (pair := _pair(trial, row, propensity)) is not None:
            pairs.append(pair)
            counts[PAIRED] += 1
        if trial.method == "rubric" and trial.served_score is not None and math.isnan(judge):
            judge, judge_propensity = trial.served_score, propensity
            counts[JUDGED] += 1
    if (failed := _failed_check(row)) is not None and all(pair.model != failed.model for pair in pairs):
        pairs.append(failed)
        counts[ESCALATED] += 1
    return Signals(person, judge, judge_propensity, tuple(pairs), _propensity(row, counts), counts)


def _propensity(row: LoggedDecision, counts: Counter[str]) -> float | None:
    chance = row.decision.propensity
    if chance is None or 0 < chance <= 1:
        counts[EXPLORED] += chance is not None
        return chance
    counts[OUT_OF_RANGE] += 1
    return None


def _person(row: LoggedDecision, counts: Counter[str]) -> float:
    if row.score is not None:
        if 0 <= row.score <= 1:
            counts[FEEDBACK] += 1
            return row.score
        counts[OUT_OF_RANGE] += 1
    elif row.label is not None:
        counts[CORRECTED] += 1
        return float(row.label == (row.route or ""))
    return math.nan


def _pair(trial: Trial, row: LoggedDecision, propensity: float) -> Pair | None:
    if not trial.model or trial.score is None or trial.model == row.model:
        return None
    served = trial.served_score
    if served is None:
        if trial.method != "agreement":
            return None
        served = 1.0
    return Pair(trial.model, trial.score - served, propensity, weak=False)


def _failed_check(row: LoggedDecision) -> Pair | None:
    """Return the first answer of a cascade against the one that was served instead. None: none was replaced."""
    answers = [one for one in row.attempts if one.purpose == "answer" and one.status == "ok"]
    if len(answers) < 2 or answers[0].escalated is None or answers[0].served_anyway or answers[0].ungraded is not None:
        return None
    first, served = answers[0], answers[-1]
    if first.model == row.model:
        return None
    grades = [_judged(first), _judged(served)]
    if grades[0] is not None and grades[1] is not None:
        return Pair(first.model, grades[0] - grades[1], 1.0, weak=False)
    return Pair(first.model, (grades[0] or 0.0) - 1.0, 1.0, weak=True)


def _judged(attempt: AttemptThen) -> float | None:
    grade = attempt.grades.get("judge")
    return grade if grade is not None and 0 <= grade <= 1 else None
