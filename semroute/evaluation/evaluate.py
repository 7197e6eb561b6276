"""Decide labelled prompts, and measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np

from semroute.errors import RequestError
from semroute.evaluation.metrics import (
    Confusion,
    RouteMetrics,
    auroc,
    confusions,
    expected_calibration_error,
    per_route,
)
from semroute.router import Router
from semroute.types import Decision, Frozen


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of an evaluation file."""

    text: str
    route: str | None
    """null: no route should match."""


class Evaluation(Frozen, frozen=True, kw_only=True):
    """What `semroute eval` reports. A figure that has no rows to stand on is null."""

    n: int
    accuracy: float | None
    """Share of right decisions; to abstain is right where no route should match."""
    in_scope_accuracy: float | None
    """Share of in-scope rows whose best candidate is right, whatever the threshold."""
    oos_recall: float | None
    """Share of out-of-scope rows on which the router abstained."""
    oos_auroc: float | None
    """How well the confidence tells in scope from out of scope."""
    ece: float | None
    """Expected calibration error of the best candidate's confidence, 10 bins."""
    latency_ms: dict[str, float]
    """p50 and p99 of one decision, embedding included."""
    per_route: dict[str, RouteMetrics]
    confusions: tuple[Confusion, ...]


def read_rows(path: Path, routes: Iterable[str]) -> list[Row]:
    """Read an evaluation file, one JSON object a line. Raises `RequestError` with the line at fault."""
    known = set(routes)
    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError as error:
            raise RequestError(f'{path}:{number}: {error}; expected {{"text": …, "route": name or null}}') from None
        if row.route is not None and row.route not in known:
            raise RequestError(f"{path}:{number}: got route {row.route!r}, which does not exist")
        rows.append(row)
    if not rows:
        raise RequestError(f"{path}: holds no rows")
    return rows


def evaluate(router: Router, rows: list[Row], progress: Callable[[int, int], None] | None = None) -> Evaluation:
    """Decide each row alone, as the service would, and measure. `progress` is told how many are done of how many."""
    decisions: list[Decision] = []
    latencies: list[float] = []
    for number, row in enumerate(rows, start=1):
        started = time.perf_counter()
        decisions.append(router.route(row.text))
        latencies.append((time.perf_counter() - started) * 1000)
        if progress is not None:
            progress(number, len(rows))
    return measure(rows, decisions, latencies)


def measure(rows: list[Row], decisions: list[Decision], latencies_ms: list[float]) -> Evaluation:
    """The figures of decisions that were made."""
    expected = [row.route for row in rows]
    decided = [decision.route for decision in decisions]
    best = [d.candidates[0].route if d.candidates else None for d in decisions]
    in_scope = np.array([want is not None for want in expected])
    right_best = np.array([want is not None and want == got for want, got in zip(expected, best, strict=True)])
    right = np.array([want == got for want, got in zip(expected, decided, strict=True)])
    confidence = np.array([decision.confidence for decision in decisions], dtype=np.float64)
    return Evaluation(
        n=len(rows),
        accuracy=_mean(right),
        in_scope_accuracy=_mean(right_best[in_scope]),
        oos_recall=_mean(right[~in_scope]),
        oos_auroc=auroc(confidence[in_scope], confidence[~in_scope]),
        ece=expected_calibration_error(confidence, right_best),
        latency_ms={f"p{q}": float(np.percentile(latencies_ms, q)) for q in (50, 99)},
        per_route=per_route(expected, decided),
        confusions=confusions([row.text for row in rows], expected, decided),
    )


def _mean(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float | None:
    return float(flags.mean()) if len(flags) else None
