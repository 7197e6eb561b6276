"""Compare the arms of an experiment: read what the log holds of them, and estimate each figure with its interval."""

from __future__ import annotations

import datetime
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.error_wording import did_you_mean, listed
from semroute.config.schema.experiments import Arm, Experiment
from semroute.errors import RequestError
from semroute.gateway.experiment_arms import days_of
from semroute.learning.experiment_figures import (
    ALPHA,
    DAY_S,
    FIELDS,
    FIGURES,
    MOST_DAYS,
    NAMES,
    P95,
    RATIO_ALPHA,
    RELATIVE,
    ArmReport,
    Comparison,
    DayEstimate,
    ExperimentReport,
    Figure,
    SampleRatio,
    Span,
)
from semroute.learning.experiment_words import sentences
from semroute.learning.sequential_tests import (
    TUNED_FOR,
    Estimate,
    Numbers,
    Quantile,
    contrast,
    half_width,
    mismatch,
    quantile,
    ratio,
)
from semroute.stores.experiment_store import CLUSTERS, SUMS, DaySums, ExperimentStore, Run, periods


class Evidence(NamedTuple):
    """What the log holds of an experiment."""

    days: Sequence[tuple[float, DaySums]]
    """Each day with requests, by its first moment."""
    slow: Mapping[str, Sequence[tuple[str, float, float]]]
    """For each arm: its answers by cluster, and those slower than its 95th percentile."""
    latencies: Mapping[str, tuple[Numbers, Numbers]]
    """For each arm: about how many milliseconds answers took, in order, and how many did."""
    periods: Sequence[dict[str, float]]
    """The weights of each period."""
    units: Sequence[Mapping[str, int]]
    """How many users came first in each period, by arm."""
    moved: int


def read_evidence(store: ExperimentStore, name: str, run: Run | None) -> Evidence:
    """Read what the log holds of an experiment. Blocking. Raises `StoreError`."""
    span = store.span(name)
    if span is None:
        return Evidence((), {}, {}, (), (), 0)
    first = span[0] // DAY_S * DAY_S
    last = min(int((span[1] - first) // DAY_S) + 1, MOST_DAYS)
    begins = [first + day * DAY_S for day in range(last)]
    days = [(begin, sums) for begin in begins if (sums := store.sums(name, begin, begin + DAY_S)).sums]
    latencies = {arm: _histogram(days, arm) for arm in {arm for _, sums in days for arm in sums.latencies}}
    slow = {arm: store.slower(name, arm, _p95(*counted)) for arm, counted in latencies.items()}
    spans = list(periods(run, math.inf)) if run is not None else []
    units, moved = store.units(name, [(begin, end) for begin, end, _ in spans] or [(0.0, math.inf)])
    return Evidence(days, slow, latencies, [arms for _, _, arms in spans], units, moved)


def guard_evidence(store: ExperimentStore, name: str) -> Evidence:
    """Read what guards need: all days together. Blocking. Raises `StoreError`."""
    span = store.span(name)
    if span is None:
        return Evidence((), {}, {}, (), (), 0)
    days = [(span[0], store.sums(name, span[0], span[1] + 1))]
    latencies = {arm: _histogram(days, arm) for arm in days[0][1].latencies}
    slow = {arm: store.slower(name, arm, _p95(*counted)) for arm, counted in latencies.items()}
    return Evidence(days, slow, latencies, (), (), 0)


def _histogram(days: Sequence[tuple[float, DaySums]], arm: str) -> tuple[Numbers, Numbers]:
    counts: dict[float, int] = {}
    for _, sums in days:
        for about_ms, n in sums.latencies.get(arm, {}).items():
            counts[about_ms] = counts.get(about_ms, 0) + n
    ordered = sorted(counts)
    return np.array(ordered, np.float64), np.array([counts[each] for each in ordered], np.float64)


def _p95(edges: Numbers, counts: Numbers) -> float:
    return float(edges[int(np.searchsorted(np.cumsum(counts), P95 * counts.sum()))])


# --- the report -------------------------------------------------------------------------------------------------------


def report(name: str, experiment: Experiment, run: Run | None, now: float, evidence: Evidence) -> ExperimentReport:
    """Compare the arms of an experiment. `now`: seconds since 1970, by the clock of the database."""
    arms = tuple(experiment.arms)
    control = experiment.control_arm
    tables = list(cumulated(evidence.days, arms))
    alpha = ALPHA / (len(NAMES) * max(1, len(arms) - 1))
    requests = tables[-1][1][:, :, FIELDS.index("requests")].sum(-1) if tables else np.zeros(len(arms))
    started = run.started_at if run is not None else None
    end = run.ended_at if run is not None and run.ended_at is not None else now
    days = 0.0 if started is None else max(0.0, end - started) / DAY_S
    conclusive = days >= experiment.least_days and bool(requests.min() >= experiment.least_samples)
    metrics = {arm: _metrics(place, arms.index(control), tables, alpha) for place, arm in enumerate(arms)}
    for arm, compared in _compare_p95(arms, control, evidence, alpha).items():
        metrics[arm]["p95_ms"] = compared
    units = {arm: sum(counts.get(arm, 0) for counts in evidence.units) for arm in arms}
    spent = tables[-1][1][:, :, FIELDS.index("cost")].sum(-1) * 1e-12 if tables else np.zeros(len(arms))
    found = ExperimentReport(
        name=name,
        state=_state(experiment, run, now),
        control=control,
        started_at=started,
        ended_at=run.ended_at if run is not None else None,
        reason=run.reason if run is not None else "",
        adopted=run.adopted if run is not None else "",
        days=round(days, 3),
        least_days=experiment.least_days,
        least_samples=experiment.least_samples,
        conclusive=conclusive,
        sample_ratio=_sample_ratio(arms, units, evidence),
        arms=tuple(
            ArmReport(
                name=arm,
                weight=experiment.arms[arm].weight,
                is_control=arm == control,
                requests=int(requests[place]),
                units=units[arm],
                cost_usd=round(float(spent[place]), 12),
                metrics={each: _called(each, metrics[arm][each], conclusive) for each in NAMES},
            )
            for place, arm in enumerate(arms)
        ),
    )
    return replace(found, summary=tuple(sentences(found)))


def _state(experiment: Experiment, run: Run | None, now: float) -> Literal["waiting", "running", "ended"]:
    first, last = days_of(experiment)
    if run is not None and (run.ended_at is not None or now >= last):
        return "ended"
    return "waiting" if run is None or now < first else "running"


def cumulated(days: Sequence[tuple[float, DaySums]], arms: Sequence[str]) -> Iterator[tuple[str, Numbers]]:
    """Yield the sums of all days up to each day: (arms, clusters, fields)."""
    places = {arm: place for place, arm in enumerate(arms)}
    table = np.zeros((len(arms), CLUSTERS, len(FIELDS)))
    for begin, sums in days:
        for arm, cluster, values in sums.sums:
            if arm in places:
                table[places[arm], _place(cluster), : len(SUMS)] += values
        for arm, cluster, n, score in sums.judged:
            if arm in places:
                table[places[arm], _place(cluster), len(SUMS) :] += (n, score)
        yield datetime.datetime.fromtimestamp(begin, datetime.UTC).date().isoformat(), table.copy()


def _place(cluster: str) -> int:
    try:
        return int(cluster, 16) % CLUSTERS
    except ValueError:  # the log of another program, or a record that was made by hand
        return zlib.crc32(cluster.encode()) % CLUSTERS


def estimates(figure: Figure, table: Numbers) -> Estimate:
    """Estimate a figure for each arm. `table`: (arms, clusters, fields)."""
    amounts = table[:, :, FIELDS.index(figure.amount)] * figure.unit
    return ratio(amounts, table[:, :, FIELDS.index(figure.counted)], is_bounded=figure.is_bounded)


def of_arm(found: Estimate, place: int) -> Estimate:
    """Return the estimate of one arm."""
    return Estimate(*(each[place] for each in found))


def _metrics(place: int, control: int, tables: Sequence[tuple[str, Numbers]], alpha: float) -> dict[str, Comparison]:
    """Return all figures of an arm except `p95_ms`."""
    compared = {}
    for figure in FIGURES:
        days: list[DayEstimate] = []
        n = 0
        for day, table in tables:
            every = estimates(figure, table)
            mine, base = of_arm(every, place), of_arm(every, control)
            n = int(table[place, :, FIELDS.index(figure.counted)].sum())
            difference = None if place == control else _difference(figure.name, mine, base, alpha)
            wide = half_width(mine.error, mine.n, mine.clusters - 1, alpha)
            most = 1.0 if figure.is_bounded else math.inf
            days.append(DayEstimate(day=day, estimate=_span(mine.value, wide, 0.0, most), difference=difference))
        last = (
            days[-1] if days else DayEstimate(day="", estimate=Span(), difference=None if place == control else Span())
        )
        compared[figure.name] = Comparison(estimate=last.estimate, n=n, difference=last.difference, by_day=tuple(days))
    return compared


def _difference(name: str, arm: Estimate, control: Estimate, alpha: float) -> Span:
    """Return how much more an arm has than control. For `RELATIVE` figures: as a part of control's."""
    if name not in RELATIVE:
        found = contrast(arm, control, alpha)
        return _span(found.difference, found.half_width, -1.0, 1.0)
    # The interval of a ratio: all parts g for which the arm is not surely different from (1 + g) times control. It is
    # found in logarithms, whose standard errors are those of the values, divided by them.
    if not (arm.value > 0 and control.value > 0):
        return Span()
    mine, base = [each._replace(value=np.log(each.value), error=each.error / each.value) for each in (arm, control)]
    found = contrast(mine, base, alpha)
    return Span(
        value=_number(np.expm1(found.difference)), low=_number(np.expm1(found.low)), high=_number(np.expm1(found.high))
    )


def _span(value: Numbers, wide: Numbers, least: float, most: float) -> Span:
    """Return an estimate with its interval, within the bounds of what is possible."""
    low, high = np.maximum(value - wide, least), np.minimum(value + wide, most)
    return Span(value=_number(value), low=_number(low), high=_number(high))


def _number(value: float | Numbers) -> float | None:
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def quantiles(
    evidence: Evidence, arms: Sequence[str], alpha: float, tuned_for: float = TUNED_FOR
) -> dict[str, Quantile]:
    """Return the 95th percentile of latency of each arm that has answered."""
    found = {}
    for arm in arms:
        if arm in evidence.latencies:
            counts = np.zeros((2, CLUSTERS))
            for cluster, n, slow in evidence.slow[arm]:
                counts[:, _place(cluster)] += (n, slow)
            above = ratio(counts[1], counts[0], is_bounded=True)
            found[arm] = quantile(*evidence.latencies[arm], above, P95, alpha, tuned_for)
    return found


def _compare_p95(arms: Sequence[str], control: str, evidence: Evidence, alpha: float) -> dict[str, Comparison]:
    found = quantiles(evidence, arms, alpha / 2)  # the intervals of both arms must hold
    compared = {}
    for arm in arms:
        difference = None if arm == control else Span()
        if arm != control and arm in found and control in found:
            difference = _of_quantile(found[arm].relative_to(found[control]))
        n = int(evidence.latencies[arm][1].sum()) if arm in found else 0
        estimate = _of_quantile(found[arm]) if arm in found else Span()
        compared[arm] = Comparison(estimate=estimate, n=n, difference=difference)
    return compared


def _of_quantile(found: Quantile) -> Span:
    return Span(value=_number(found.value), low=_number(found.low), high=_number(found.high))


def _called(name: str, compared: Comparison, conclusive: bool) -> Comparison:
    """Say whether a difference is real, and whether it is for the better."""
    gap = compared.difference
    if not conclusive or gap is None:
        return compared
    above, below = gap.low is not None and gap.low > 0, gap.high is not None and gap.high < 0
    better = below if name not in ("quality", "judged") else above
    return replace(compared, differs=True, better=better) if above or below else compared


def _sample_ratio(arms: Sequence[str], units: Mapping[str, int], evidence: Evidence) -> SampleRatio:
    """Compare the number of users in each arm with its share. Periods with other weights add their evidence."""
    expected, found = dict.fromkeys(arms, 0.0), 0.0
    for weights, counts in zip(evidence.periods, evidence.units, strict=False):
        known = {arm: weight for arm, weight in weights.items() if weight > 0}
        total = sum(counts.get(arm, 0) for arm in known)
        for arm, weight in known.items():
            expected[arm] = expected.get(arm, 0.0) + total * weight / sum(known.values())
        found += mismatch([counts.get(arm, 0) for arm in known], list(known.values()))
    everyone = sum(expected.values())
    return SampleRatio(
        ok=found < math.log(1 / RATIO_ALPHA),
        expected={arm: round(n / everyone, 6) if everyone else 0.0 for arm, n in expected.items()},
        units=dict(units),
        evidence=round(found, 3),
        moved=evidence.moved,
    )


def reports(store: ExperimentStore, config: Config, name: str | None = None) -> list[ExperimentReport]:
    """Return the reports of all experiments, or of one. Blocking. Raises `RequestError` if there is none of this name.

    An experiment that was taken out of the route files is reported as the log has it.
    """
    known = store.follow({})
    gone = {each: Experiment(arms=_arms_then(run)) for each, run in known.runs.items() if run.weights}
    every = gone | config.experiments
    if name is not None and name not in every:
        there = f"expected one of {listed(every)}" if every else "there is none in the route files"
        raise RequestError(f"got the experiment {name!r}, {there}{did_you_mean(name, every)}")
    found = []
    for each in [name] if name is not None else every:
        run = known.runs.get(each)
        found.append(report(each, every[each], run, known.now, read_evidence(store, each, run)))
    return found


def _arms_then(run: Run) -> dict[str, Arm]:
    return {arm: Arm(weight=weight) for arm, weight in run.weights[-1][1].items()}
