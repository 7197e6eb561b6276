"""Watch scores for a fall of their mean below a reference. Pure: counts and sums go in.

A score is from 0 to 1: feedback, or the grade of a judge. The first scores are the reference, and a floor is set below
their mean. After each group of scores, the alarm tests the claim that their mean is still at or above the floor. It
rings when the evidence against that is strong.

The evidence is what bets on lower means would have won. A bet on the mean b multiplies its stake by (b / floor)^s · ((1
- b) / (1 - floor))^(n - s), with s the sum of n scores. As long as the claim holds, nobody can expect to win with such
bets, whatever the distribution of the scores. The gains of bets from every score on are added up (the Shiryaev-Roberts
e-detector of Shin, Ramdas and Rinaldo 2022).

So the false-alarm rate holds however often somebody looks: among n scores, the chance of a false alarm is at most n /
`EVERY`, given that the true mean of the reference is above the floor. Several alarms together keep the same rate for
all their scores together.
"""

from __future__ import annotations

import math
from typing import Literal

from semroute.bases import Frozen

EVERY = 100_000.0
"""At most one false alarm in so many scores."""
OVER_EVERY = 1000.0
"""An alarm that is raised ends wrongly at most once in so many scores."""
ERRORS = 3.0
"""How many standard errors the floor is at least below the mean of the reference. The true mean is lower than that only
once in 700 references."""
LOWER = (0.95, 0.85, 0.7, 0.5, 0.25)
"""The means that are bet on, as shares of the floor."""
HIGHER = (0.1, 0.25, 0.5, 0.75)
"""The means that are bet on while the alarm is raised, as shares of the way from the floor to 1."""
QUIET = 20.0
"""Evidence below this says nothing yet. The fall began about when the evidence was last below it."""

Change = Literal["fell", "recovered"]


class QualityProgress(Frozen, frozen=True, kw_only=True):
    """How far an alarm has come."""

    reference: int = 0
    """How many scores the reference has."""
    reference_sum: float = 0.0
    evidence: tuple[float, ...] = ()
    """What each bet has come to. Empty: nothing was bet since the last change."""
    since: float = 0.0
    """About when the mean began to fall. While the alarm is raised: when it began to rise again."""
    scores: int = 0
    """How many scores came since then."""
    sum: float = 0.0
    """Their sum."""
    raised: bool = False


class QualityAlarm:
    """Watches the scores of one tier from one source."""

    def __init__(self, reference: int, drop: float, progress: QualityProgress | None = None) -> None:
        """`reference`: how many scores are the reference. `drop`: how far the mean may fall unnoticed."""
        self._wanted, self._drop = reference, drop
        self.progress = progress or QualityProgress()

    @property
    def floor(self) -> float | None:
        """Return what the mean must not fall below. None: the reference is not whole yet, or too low to fall."""
        now = self.progress
        if now.reference < self._wanted:
            return None
        mean = now.reference_sum / now.reference
        shrunk = (now.reference_sum + 1) / (now.reference + 2)  # an error of 0 would claim too much
        floor = mean - max(self._drop, ERRORS * math.sqrt(shrunk * (1 - shrunk) / now.reference))
        return floor if floor > 0.01 else None

    def add(self, scores: int, total: float, at: float) -> Change | None:
        """Take in more scores, and say what changed. `total`: their sum.

        If a score was replaced, `scores` is 0 and `total` the difference, which may be negative.
        """
        now = self.progress
        if now.reference < self._wanted:
            sum_ = now.reference_sum + total
            self.progress = QualityProgress(reference=now.reference + scores, reference_sum=sum_)
            return None
        if (floor := self.floor) is None or not (scores or total):
            return None
        means = [share * floor for share in LOWER]
        if now.raised:
            means = [floor + share * (1 - floor) for share in HIGHER]
        before = now.evidence or (0.0,) * len(means)
        pairs = zip(before, means, strict=True)
        evidence = tuple(_grown(one, mean, floor, scores, total) for one, mean in pairs)
        height = sum(evidence) / len(evidence)
        if height >= (OVER_EVERY if now.raised else EVERY):
            return self._turn(scores, total, at)
        quiet = height < QUIET
        self.progress = QualityProgress(
            reference=now.reference,
            reference_sum=now.reference_sum,
            evidence=evidence,
            since=at if quiet or not now.since else now.since,
            scores=0 if quiet else now.scores + scores,
            sum=0.0 if quiet else now.sum + total,
            raised=now.raised,
        )
        return None

    def _turn(self, scores: int, total: float, at: float) -> Change:
        """Raise the alarm or end it. The progress keeps since when the scores were like this, and how many they are."""
        now = self.progress
        self.progress = QualityProgress(
            reference=now.reference,
            reference_sum=now.reference_sum,
            since=now.since or at,
            scores=now.scores + scores,
            sum=now.sum + total,
            raised=not now.raised,
        )
        return "recovered" if now.raised else "fell"


def _grown(evidence: float, mean: float, floor: float, scores: int, total: float) -> float:
    """Return the evidence of bets on a mean after a group of scores. A bet begins with each score of the group."""
    won = total * math.log(mean / floor) + (scores - total) * math.log((1 - mean) / (1 - floor))
    return (evidence + scores) * math.exp(min(won, 600.0))
