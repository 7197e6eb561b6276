"""What the shadow found: how often the answer that was served would have done, and how the other answers differ.

It reads the rows of a log one by one. Only a judge that compared two answers knows which is better. Without one, the
report has only what can be told from the answers themselves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal

from semroute.bases import Frozen
from semroute.learning.judge_report import LEAST, Shares
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.weighted_share import Estimate
from semroute.record import Trial

ALIKE = ("same_text", "same_finish_reason", "same_json", "same_tool_calls")
"""What two answers may have in common."""
FOLDER = "(candidate folder)"
"""Stands for the models that a candidate folder chooses."""


class AnswerMeans(Frozen, frozen=True, kw_only=True):
    """What an answer takes on average."""

    cost_usd: float
    latency_ms: float
    output_tokens: float
    chars: float


class CandidateFound(Frozen, frozen=True, kw_only=True):
    """How a candidate folder decides."""

    version: str
    decided: int
    """How many requests it decided."""
    model_changed: Estimate | None
    """The share that it sends to another model."""
    route_changed: Estimate | None
    by_route: dict[str, Estimate]
    """The share that it sends to another model, by the route that was taken."""


class ShadowFound(Frozen, frozen=True, kw_only=True):
    """What is known of one other model beside those that answered."""

    to: str
    """The model, or `(candidate folder)`."""
    asked: int
    """How many requests were put to it."""
    answered: int
    failed: dict[str, int]
    """The others, by what went wrong."""
    compared: int
    """How many pairs of answers a judge compared."""
    would_do: Estimate | None
    """The share of requests for which the served answer is at least as good. None: no judge compared them."""
    by_route: dict[str, Estimate]
    by_tier: dict[str, Estimate]
    by_model: dict[str, Estimate]
    """The same, by the model whose answer was served."""
    verdicts: dict[str, int]
    flipped: int
    """The ties that are ties only because the judgement changed with the order."""
    alike: dict[str, Estimate]
    """The share of pairs with the same text, finish reason, JSON document or calls of tools, if there are any."""
    served: AnswerMeans | None
    """The answers that were served. None: the other model gave none."""
    tried: AnswerMeans | None
    candidate: CandidateFound | None
    """None: this is no candidate folder."""
    cost_usd: Decimal
    """What the other model's answers cost."""
    judge_usd: Decimal
    """What the judge cost."""


class ShadowReport(Frozen, frozen=True, kw_only=True):
    """What was tried beside the traffic."""

    requests: int
    """Requests in the log."""
    shadows: tuple[ShadowFound, ...]
    """The one with the most trials first."""


class _Means:
    """Weighted means of what answers take."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._sums = [0.0] * len(AnswerMeans.__struct_fields__)

    def add(self, trial: Trial, *values: float) -> None:
        weight = 1 / max(LEAST, trial.propensity)
        self._weight += weight
        self._sums = [sum_ + weight * value for sum_, value in zip(self._sums, values, strict=True)]

    def means(self) -> AnswerMeans | None:
        if not self._weight:
            return None
        means = (sum_ / self._weight for sum_ in self._sums)
        return AnswerMeans(**dict(zip(AnswerMeans.__struct_fields__, means, strict=True)))


class _Found:
    """What is known of one other model so far."""

    def __init__(self) -> None:
        self.asked = self.answered = self.decided = self.flipped = 0
        self.version = ""
        self.failed: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.would_do, self.model_changed, self.route_changed = Shares(), Shares(), Shares()
        self.alike: defaultdict[str, Shares] = defaultdict(Shares)
        self.served, self.tried = _Means(), _Means()
        self.cost = self.judge_cost = Decimal(0)

    def add_shadow(self, trial: Trial, row: LoggedDecision) -> None:
        detail = trial.detail
        self.cost += trial.cost_usd
        if "model_changed" in detail:
            self.decided += 1
            self.version = str(detail.get("candidate", ""))
            self.model_changed.add(float(detail["model_changed"] is True), trial)
            self.route_changed.add(float(detail.get("route_changed") is True), trial)
        if not trial.attempts and trial.error is None:
            return  # the candidate folder chose the same model, so nobody was asked
        self.asked += 1
        if trial.error is not None:
            self.failed[str(detail.get("failed", "unanswered"))] += 1
            return
        self.answered += 1
        for name in ALIKE:
            if name in detail:
                self.alike[name].add(float(detail[name] is True), trial)
        last = trial.attempts[-1]
        served_chars, chars = _number(detail.get("served_chars")), _number(detail.get("chars"))
        self.served.add(trial, float(row.cost_usd), row.latency_ms, row.output_tokens, served_chars)
        self.tried.add(trial, float(trial.cost_usd), last.latency_ms, last.usage.output_tokens, chars)

    def add_verdict(self, trial: Trial) -> None:
        self.judge_cost += trial.cost_usd
        if trial.error is None and trial.verdict:
            self.verdicts[trial.verdict] += 1
            self.flipped += trial.detail.get("flipped") is True
            self.would_do.add(float(trial.verdict != "tried"), trial)

    def summary(self, to: str) -> ShadowFound:
        candidate = CandidateFound(
            version=self.version,
            decided=self.decided,
            model_changed=self.model_changed.all.estimate(),
            route_changed=self.route_changed.all.estimate(),
            by_route=self.model_changed.by("route"),
        )
        alike = {name: self.alike[name].all.estimate() for name in ALIKE if name in self.alike}
        return ShadowFound(
            to=to,
            asked=self.asked,
            answered=self.answered,
            failed=dict(self.failed),
            compared=sum(self.verdicts.values()),
            would_do=self.would_do.all.estimate(),
            by_route=self.would_do.by("route"),
            by_tier=self.would_do.by("tier"),
            by_model=self.would_do.by("model"),
            verdicts=dict(self.verdicts),
            flipped=self.flipped,
            alike={name: found for name, found in alike.items() if found is not None},
            served=self.served.means(),
            tried=self.tried.means(),
            candidate=candidate if self.decided else None,
            cost_usd=self.cost,
            judge_usd=self.judge_cost,
        )


def _number(value: object) -> float:
    """Return a number of a trial's details. 0: it is none, because another version wrote it."""
    return float(value) if isinstance(value, int | float) else 0.0


def shadow_report(rows: Iterable[LoggedDecision]) -> ShadowReport:
    """Return what was found beside the requests of a log."""
    found: defaultdict[str, _Found] = defaultdict(_Found)
    requests = 0
    for row in rows:
        requests += 1
        shadows = [trial for trial in row.trials if trial.purpose == "shadow"]
        by_folder = any("candidate" in trial.detail for trial in shadows)
        for trial in shadows:
            found[FOLDER if by_folder else trial.model].add_shadow(trial, row)
        for trial in row.trials:
            if trial.purpose == "judge" and trial.method == "pairwise":
                found[FOLDER if by_folder else trial.model].add_verdict(trial)
    ordered = sorted(found.items(), key=lambda item: (-max(item[1].asked, item[1].verdicts.total()), item[0]))
    return ShadowReport(requests=requests, shadows=tuple(each.summary(to) for to, each in ordered))
