"""What the judge found: the quality of the answers, how far people agree with it, and what it cost.

It reads the rows of a log one by one. Each grade counts for as many requests as it was drawn from, so a route that was
drawn more often does not count for more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal

from semroute.bases import Frozen
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.rater_agreement import Agreement, Raters
from semroute.learning.weighted_share import Estimate, WeightedShare
from semroute.record import Trial
from semroute.stores.rollups import GOOD_SCORE

DEFAULT = "(default)"
"""Stands for the default where routes are listed."""
LEAST = 1e-6
"""The smallest probability that counts. No service draws with a smaller one."""


class JudgeFound(Frozen, frozen=True, kw_only=True):
    """What one judge found in one way."""

    judge: str
    method: str
    """`rubric`: it graded answers alone. `pairwise`: it compared them with others."""
    against: str
    """The model whose answers it compared with. Empty: none."""
    trials: int
    """How many answers it was asked about."""
    graded: int
    failed: dict[str, int]
    """The others, by what went wrong: `unanswered`, `unreadable`, `not finished` or `cancelled`."""
    quality: Estimate | None
    """The mean score of the served answers, 0 to 1. Pairwise: a win is 1, a tie .5. None: there is no grade."""
    by_route: dict[str, Estimate]
    by_tier: dict[str, Estimate]
    by_model: dict[str, Estimate]
    """By the model whose answer was served."""
    verdicts: dict[str, int]
    """Pairwise: how often the answer that was served, or that of the other model (`tried`), was better, or neither."""
    flipped: int
    """Pairwise: the ties that are ties only because the judgement changed with the order."""
    agreement: Agreement
    """With the scores of people. An answer counts as good from a score of 0.5 on."""
    cost_usd: Decimal
    usd_per_grade: Decimal | None


class JudgeReport(Frozen, frozen=True, kw_only=True):
    """What all judges found."""

    requests: int
    """Requests in the log."""
    judges: tuple[JudgeFound, ...]
    """The one with the most trials first."""


class Shares:
    """Shares of all, and by some names."""

    def __init__(self) -> None:
        self.all = WeightedShare()
        self._by: defaultdict[str, defaultdict[str, WeightedShare]] = defaultdict(lambda: defaultdict(WeightedShare))

    def add(self, value: float, trial: Trial) -> None:
        """Add a sample. A trial says how likely it was drawn, and whose request it was."""
        names = {"route": trial.route or DEFAULT, "tier": trial.tier, "model": trial.served}
        for share in (self.all, *(self._by[kind][name] for kind, name in names.items())):
            share.add(value, max(LEAST, trial.propensity), trial.unit)

    def by(self, kind: str) -> dict[str, Estimate]:
        """Return the estimates by `route`, `tier` or `model`. The names with the most samples come first."""
        found = {name: share.estimate() for name, share in self._by[kind].items()}
        known = {name: estimate for name, estimate in found.items() if estimate is not None}
        return dict(sorted(known.items(), key=lambda item: (-item[1].n, item[0])))


class _Found:
    """What is known of one judge so far."""

    def __init__(self) -> None:
        self.trials = self.graded = self.flipped = 0
        self.failed: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.shares, self.raters = Shares(), Raters()
        self.cost = Decimal(0)

    def add(self, trial: Trial, row: LoggedDecision) -> None:
        self.trials += 1
        self.cost += trial.cost_usd
        score = trial.served_score
        if trial.error is not None or score is None:
            self.failed[str(trial.detail.get("failed", "unanswered"))] += 1
            return
        self.graded += 1
        self.shares.add(score, trial)
        if trial.verdict:
            self.verdicts[trial.verdict] += 1
            self.flipped += trial.detail.get("flipped") is True
        if row.score is not None:
            self.raters.add(score >= GOOD_SCORE, row.score >= GOOD_SCORE, trial.unit)


def judge_report(rows: Iterable[LoggedDecision]) -> JudgeReport:
    """Return what the judges of a log found."""
    found: defaultdict[tuple[str, str, str], _Found] = defaultdict(_Found)
    requests = 0
    for row in rows:
        requests += 1
        for trial in row.trials:
            if trial.purpose == "judge":
                found[trial.judge, trial.method, trial.model].add(trial, row)
    ordered = sorted(found.items(), key=lambda item: (-item[1].trials, item[0]))
    return JudgeReport(requests=requests, judges=tuple(_summary(*name, each) for name, each in ordered))


def _summary(judge: str, method: str, against: str, found: _Found) -> JudgeFound:
    return JudgeFound(
        judge=judge,
        method=method,
        against=against,
        trials=found.trials,
        graded=found.graded,
        failed=dict(found.failed),
        quality=found.shares.all.estimate(),
        by_route=found.shares.by("route"),
        by_tier=found.shares.by("tier"),
        by_model=found.shares.by("model"),
        verdicts=dict(found.verdicts),
        flipped=found.flipped,
        agreement=found.raters.agreement(),
        cost_usd=found.cost,
        usd_per_grade=found.cost / found.graded if found.graded else None,
    )
