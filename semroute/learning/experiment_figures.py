"""The report of an experiment, as `semroute experiment status --json` and `GET /experiments` give it.

All intervals of one report hold together, at all looks, with probability 1 - `ALPHA`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from semroute.bases import Frozen
from semroute.stores.experiment_store import SUMS

ALPHA = 0.05
"""The chance that any interval of an experiment is ever wrong."""
RATIO_ALPHA = 0.001
"""The chance that the check of the arms' shares ever shouts although all is well."""
DAY_S = 86_400.0
MOST_DAYS = 400
P95 = 0.95


class Figure(NamedTuple):
    """One figure of an arm: a sum for each request."""

    name: str
    amount: str
    counted: str
    """The requests that count."""
    title: str
    is_bounded: bool = False
    lower_is_better: bool = True
    unit: float = 1.0
    """What one of the summed units is worth."""


FIGURES = (
    Figure("quality", "score", "scored", "quality", is_bounded=True, lower_is_better=False),
    Figure("judged", "judged_score", "judged", "judged quality", is_bounded=True, lower_is_better=False),
    Figure("cost_usd", "cost", "charged", "cost", unit=1e-12),
    Figure("latency_ms", "latency_ms", "answered", "latency"),
    Figure("error_rate", "failed", "finished", "error rate", is_bounded=True),
    Figure("abstention_rate", "abstained", "matched", "abstention rate", is_bounded=True),
)
"""`quality`: the mean score from feedback, 0 to 1. `judged`: the mean grade of a judge, 0 to 1, weighted by the inverse
of the chance to be graded. `cost_usd`: of a request. `latency_ms`: of an answer. `error_rate`: of the requests that
were to be answered. `abstention_rate`: of the requests that were matched with routes."""
NAMES = (*(figure.name for figure in FIGURES), "p95_ms")
FIELDS = (*SUMS, "judged", "judged_score")
RELATIVE = ("cost_usd", "latency_ms", "p95_ms")
"""Figures whose differences are told as a part of the control arm's."""


class Span(Frozen, frozen=True, kw_only=True):
    """An estimate with its interval. None: nothing is known yet; of an end: it is open."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class DayEstimate(Frozen, frozen=True, kw_only=True):
    """What was known at the end of a day, from all days up to it."""

    day: str
    """YYYY-MM-DD, in UTC."""
    estimate: Span
    difference: Span | None = None
    """From the control arm. None: this is the control arm."""


class Comparison(Frozen, frozen=True, kw_only=True):
    """One figure of one arm."""

    estimate: Span
    n: int
    """How many requests count."""
    difference: Span | None = None
    """This arm less the control arm. For `RELATIVE` figures: as a part of the control arm's, 0.1 is 10% more. None:
    this is the control arm."""
    differs: bool = False
    """Whether the difference is real: the interval excludes 0, and the experiment has run for long enough."""
    better: bool | None = None
    """Whether this arm is better than control. None: that is not known."""
    by_day: tuple[DayEstimate, ...] = ()
    """Empty for `p95_ms`."""


class ArmReport(Frozen, frozen=True, kw_only=True):
    """One arm."""

    name: str
    weight: float
    is_control: bool
    requests: int
    units: int
    """How many users came to this arm first."""
    cost_usd: float
    """What all its requests cost together."""
    metrics: dict[str, Comparison]
    """By name, as in `NAMES`."""


class SampleRatio(Frozen, frozen=True, kw_only=True):
    """Whether the arms got their shares of the users. If not, something chooses who is counted, and nothing that the
    arms are compared by can be trusted.
    """

    ok: bool
    expected: dict[str, float]
    """The share of each arm, over all periods with other weights."""
    units: dict[str, int]
    evidence: float
    """The natural logarithm of how much more likely the counts are if the shares are wrong. From log(1000) on, about
    6.9, they are wrong."""
    moved: int
    """How many users were in several arms, because weights were changed."""


class ExperimentReport(Frozen, frozen=True, kw_only=True):
    """What is known of an experiment."""

    name: str
    state: Literal["waiting", "running", "ended"]
    control: str
    started_at: float | None
    """Seconds since 1970, as the database says."""
    ended_at: float | None
    reason: str
    """Why it was ended. Empty: it was not."""
    adopted: str
    """The arm that was adopted. Empty: none."""
    days: float
    """How long it has run."""
    least_days: int
    least_samples: int
    conclusive: bool
    """Whether it has run for long enough to conclude anything."""
    sample_ratio: SampleRatio
    arms: tuple[ArmReport, ...]
    """In the order of the route files."""
    breached: str = ""
    """The guard that an arm has surely broken, in words. Empty: none."""
    summary: tuple[str, ...] = ()
    """What is known, in plain sentences."""
