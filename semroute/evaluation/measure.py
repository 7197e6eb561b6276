"""Decide labelled prompts, and measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from semroute.bases import Frozen
from semroute.config.error_wording import did_you_mean
from semroute.errors import RequestError
from semroute.evaluation.decision_metrics import (
    Bin,
    Confusion,
    Flags,
    Floats,
    RiskPoint,
    RouteMetrics,
    auroc,
    confusions,
    expected_calibration_error,
    false_positive_rate,
    per_route,
    reliability,
    risk_coverage,
)
from semroute.evaluation.jsonl import read_lines
from semroute.router import Router

Progress = Callable[[int, int], None]
"""Called with the number of rows done so far, and of all."""

PERCENTILES = (50, 90, 95, 99)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of an evaluation file."""

    text: str
    route: str | None
    """The right route. None: no route should match."""


class Outcome(Frozen, frozen=True, kw_only=True):
    """A labelled prompt, and what became of it."""

    text: str
    expected: str | None
    """The right route. None: no route should match."""
    decided: str | None
    """The route that was taken. None: the router abstained, or something other than a route decided."""
    best: str | None
    """The route with the highest confidence, taken or not."""
    confidence: float
    """The confidence of `best`."""
    in_scope: float = 0.0
    """How likely it is, by the router, that the prompt belongs to any route."""
    latency_ms: float


class Evaluation(Frozen, frozen=True, kw_only=True):
    """What `semroute eval` reports. A figure is None if there are no rows for it."""

    n: int
    n_out_of_scope: int
    """Rows that no route should match."""
    folds: int | None
    """In how many parts the utterances were judged by routers made without them. None: the rows came from a file."""
    accuracy: float | None
    """The share of right decisions. Abstaining is right if no route should match."""
    in_scope_accuracy: float | None
    """Share of in-scope rows whose best candidate is right, whatever the threshold."""
    false_abstain: float | None
    """Share of in-scope rows on which the router abstained."""
    oos_recall: float | None
    """Share of out-of-scope rows on which the router abstained."""
    oos_auroc: float | None
    """How well `in_scope` separates prompts in scope from prompts out of scope."""
    fpr_at_95_tpr: float | None
    """Share of out-of-scope rows above the value of `in_scope` that keeps 95% of the in-scope ones."""
    ece: float | None
    """Expected calibration error of the best candidate's confidence, 10 bins."""
    latency_ms: dict[str, float]
    """Percentiles of one decision, embedding included."""
    per_route: dict[str, RouteMetrics]
    threshold_claim: str
    """What the calibrated thresholds promise of prompts like the utterances."""
    confusions: tuple[Confusion, ...]
    """The most frequent first."""
    reliability: tuple[Bin, ...]
    risk_coverage: tuple[RiskPoint, ...]
    """From strict thresholds to lax ones."""


def read_rows(path: Path, routes: Iterable[str]) -> list[Row]:
    """Read an evaluation file with a JSON object on each line. Raises `RequestError`, which names the line at fault."""
    known = set(routes)
    rows = []
    for number, row in read_lines(path, Row, '{"text": …, "route": name or null}'):
        if row.route is not None and row.route not in known:
            raise RequestError(
                f"{path}:{number}: got route {row.route!r}, which does not exist{did_you_mean(row.route, known)}"
            )
        rows.append(row)
    return rows


def decide_rows(router: Router, rows: Sequence[Row], progress: Progress | None = None) -> list[Outcome]:
    """Decide each row alone, as the service would."""
    outcomes = []
    for number, row in enumerate(rows, start=1):
        started = time.perf_counter()
        decision = router.route(row.text)
        latency_ms = (time.perf_counter() - started) * 1000
        best = decision.candidates[0] if decision.candidates else None
        outcomes.append(
            Outcome(
                text=row.text,
                expected=row.route,
                decided=decision.route,
                best=best.route if best else None,
                confidence=best.confidence if best else 0.0,
                in_scope=decision.in_scope or 0.0,
                latency_ms=latency_ms,
            )
        )
        if progress is not None:
            progress(number, len(rows))
    return outcomes


def measure(outcomes: Sequence[Outcome], folds: int | None = None, claim: str = "") -> Evaluation:
    """Return the figures of decisions.

    `folds`: the number of parts, if the decisions were cross-validated. `claim`: see `Evaluation.threshold_claim`.
    """
    expected = [outcome.expected for outcome in outcomes]
    decided = [outcome.decided for outcome in outcomes]
    confidence: Floats = np.array([outcome.confidence for outcome in outcomes], dtype=np.float64)
    scope: Floats = np.array([outcome.in_scope for outcome in outcomes], dtype=np.float64)
    in_scope: Flags = np.array([want is not None for want in expected], dtype=bool)
    right = np.array([want == got for want, got in zip(expected, decided, strict=True)], dtype=bool)
    abstained = np.array([got is None for got in decided], dtype=bool)
    right_best = np.array([o.expected is not None and o.expected == o.best for o in outcomes], dtype=bool)
    latencies = [outcome.latency_ms for outcome in outcomes]
    return Evaluation(
        n=len(outcomes),
        n_out_of_scope=int((~in_scope).sum()),
        folds=folds,
        accuracy=_share(right),
        in_scope_accuracy=_share(right_best[in_scope]),
        false_abstain=_share(abstained[in_scope]),
        oos_recall=_share(right[~in_scope]),
        oos_auroc=auroc(scope[in_scope], scope[~in_scope]),
        fpr_at_95_tpr=false_positive_rate(scope[in_scope], scope[~in_scope]),
        ece=expected_calibration_error(confidence, right_best),
        latency_ms={f"p{q}": float(np.percentile(latencies, q)) for q in PERCENTILES} if latencies else {},
        threshold_claim=claim,
        per_route=per_route(expected, decided),
        confusions=confusions([outcome.text for outcome in outcomes], expected, decided),
        reliability=reliability(confidence, right_best),
        risk_coverage=risk_coverage(confidence, right_best),
    )


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None
