"""Prometheus metrics. Labels hold only names from the route files, so callers cannot multiply them."""

from __future__ import annotations

import functools
import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from semroute.record import Attempt, Record, Trial, escalated, first_answer
from semroute.settings import MULTIPROCESS

CONTENT_TYPE = "text/plain; version=0.0.4"
"""The framework adds the charset."""

_FAST = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1)
_SLOW = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_KINDS = {kind: attrgetter(f"{kind}_tokens") for kind in ("input", "output", "cached", "cache_write", "reasoning")}
TOGETHER = 64
"""How many requests are counted together. This takes at most a third of the time of counting each alone."""

Workers = Literal["livesum", "livemax", "livemin"]
"""How the values of several workers are combined."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own


class Gauges(NamedTuple):
    """The present values of one process."""

    waiting: int
    """How many records are not in the decision log yet."""
    dropped: int
    """How many records the decision log lost."""
    state_up: bool
    """Whether the shared state can be used."""
    running: int
    """How many requests are under way."""
    breakers: Mapping[str, bool]
    """Whether the circuit breaker of each model is open or half open."""
    latency_ms: Mapping[str, float]
    """The moving average of latency, by model."""
    learned: Mapping[tuple[str, str], float] = {}
    """The learned quality, by route and model."""


class _Histogram(Histogram):
    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of the amounts."""
        self._sum.inc(sum(amounts))
        for place, n in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(n)


_Key = tuple[Any, ...]
"""A metric and the values of its labels."""
_Sums = defaultdict[_Key, float]
_Observed = defaultdict[_Key, list[float]]


class Metrics:
    """Counts requests from their records, and shows the present values."""

    def __init__(self) -> None:
        if MULTIPROCESS in os.environ:
            _forget_dead(Path(os.environ[MULTIPROCESS]))
        registry = self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"semroute_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> _Histogram:
            return _Histogram(f"semroute_{name}", text, labels, buckets=buckets, registry=registry)

        def gauge(name: str, text: str, over_workers: Workers, *labels: str) -> Gauge:
            return Gauge(f"semroute_{name}", text, labels, registry=registry, multiprocess_mode=over_workers)

        # `labels` checks and locks each time. There are few names, so its results are kept.
        self._child: Callable[..., Any] = functools.cache(
            lambda metric, *labels: metric.labels(*labels) if labels else metric
        )
        self._uncounted: list[Record] = []
        self._requests = counter(
            "requests", "Requests by where they went and how they ended.", "route", "model", "outcome"
        )
        self._attempts = counter("attempts", "Calls to models.", "model", "status", "error")
        self._tokens = counter(
            "tokens", "Tokens. Cached and reasoning tokens are also counted on their own.", "model", "kind"
        )
        self._cost = counter("cost_usd", "USD spent, of all attempts.", "route", "model")
        self._saved = counter("saved_usd", "USD that the baseline model would have cost more. Never negative.")
        self._abstentions = counter("abstentions", "Requests that no route matched with confidence.")
        self._routed = counter("routed_requests", "Requests by the tier that they went to first.", "route", "tier")
        self._misroutes = counter(
            "misroutes",
            "Requests that a failed check, feedback or a judge calls misrouted.",
            "route",
            "tier",
        )
        self._misroutes_by = counter(
            "misroutes_by_source",
            "Misroutes by who says so: feedback, judge, escalation or retry. A request may have several. A retry is "
            "weak evidence.",
            "route",
            "tier",
            "source",
        )
        self._ungraded = counter("ungraded_answers", "Answers that a judge or a callback did not grade.", "model")
        self._decision = histogram("decision_seconds", "Time from the request to its decision.", _FAST)
        self._overhead = histogram("overhead_seconds", "Time spent in semroute itself.", _FAST)
        self._duration = histogram(
            "request_duration_seconds", "Time from the request to the end of the answer.", _SLOW, "model"
        )
        self._first_token = histogram("first_token_seconds", "Time from a call to its first content.", _SLOW, "model")
        self._confidence = histogram("confidence_ratio", "Confidence of the best route for a prompt.", _SHARES)
        self._trials = counter("trials", "Trials beside requests. `outcome`: ok or failed.", "purpose", "outcome")
        self._trial_cost = counter(
            "trial_cost_usd", "USD spent on trials. No other metric holds them.", "purpose", "model"
        )
        self._untried = counter("trials_dropped", "Trials that were not made or not kept.", "purpose", "reason")
        self._in_arms = counter(
            "experiment_requests", "Requests by experiment and arm.", "experiment", "arm", "outcome"
        )
        self._experiments = gauge(
            "experiment_running", "1: the experiment runs. 0: it waits, pauses or has ended.", "livemax", "experiment"
        )
        self._alarms = counter("alarms", "Alarms that were raised.", "alarm", "tier", "source")
        self._raised = gauge(
            "alarm_raised", "1: the alarm is raised and not over.", "livemax", "alarm", "tier", "source"
        )
        self._ever_raised: set[tuple[str, str, str]] = set()
        self._refused = counter("refused_requests", "Requests refused before a decision. They have no record.", "code")
        self._breaker = gauge("breaker_open", "1: the model is only called for a probe.", "livemax", "model")
        self._latency = gauge(
            "model_latency_seconds", "Moving average of the time to the first content.", "livemax", "model"
        )
        self._explored = counter(
            "explored_requests", "Requests for which a model was tried to learn its quality.", "route", "model"
        )
        self._quality = gauge("learned_quality_ratio", "The learned quality, 0 to 1.", "livemax", "route", "model")
        self._running = gauge("running_requests", "Requests under way.", "livesum")
        self._queue = gauge("log_queue_records", "Records not yet in the decision log.", "livesum")
        self._dropped = gauge("log_dropped_records", "Records that the decision log lost.", "livesum")
        self._state_up = gauge("shared_state_up", "1: the shared state can be used.", "livemin")

    def count(self, record: Record) -> None:
        """Count one request. It waits until a few have come, and is counted with them."""
        self._uncounted.append(record)
        if len(self._uncounted) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Count the requests that wait. They are summed up first, because each call of the library takes a lock."""
        records, self._uncounted = self._uncounted, []
        sums: _Sums = defaultdict(float)
        observed: _Observed = defaultdict(list)
        alike: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
        attempts: defaultdict[tuple[str, str, str], list[Attempt]] = defaultdict(list)
        for record in records:
            if record.experiment:
                sums[self._in_arms, record.experiment, record.arm, record.outcome] += 1
            alike[record.decision.route or "", record.model or "", record.outcome].append(record)
            for attempt in record.attempts:
                attempts[attempt.model, attempt.status, attempt.error_code or ""].append(attempt)
        for (route, model, outcome), members in alike.items():
            sums[self._requests, route, model, outcome] += len(members)
            self._add(members, route, model, sums, observed)
        for (model, status, error), made in attempts.items():
            sums[self._attempts, model, status, error] += len(made)
            self._add_attempts(made, model, sums, observed)
        for key, n in sums.items():
            self._child(*key).inc(n)
        for key, amounts in observed.items():
            if amounts:
                self._child(*key).observe_all(amounts)

    def refuse(self, code: str) -> None:
        """Count a request that was refused before a decision, by the code of its error."""
        self._child(self._refused, code).inc()

    def tried(self, trial: Trial) -> None:
        """Count a trial that has ended."""
        self._child(self._trials, trial.purpose, "ok" if trial.error is None else "failed").inc()
        for attempt in trial.attempts:
            self._child(self._trial_cost, trial.purpose, attempt.model).inc(float(attempt.cost_usd))

    def staged(self, experiment: str, stage: str) -> None:
        """Note how far an experiment is."""
        self._child(self._experiments, experiment).set(stage == "running")

    def untried(self, purpose: str, reason: str, count: int) -> None:
        """Count trials that were not made, or not kept, and why."""
        self._child(self._untried, purpose, reason).inc(count)

    def misroute(self, route: str, tier: str, source: str, *, counted: bool) -> None:
        """Count a request that somebody newly calls misrouted. `source`: who does, such as `feedback`.

        `counted`: whether nobody had said so before, so that it is new in the total as well.
        """
        self._child(self._misroutes_by, route, tier, source).inc()
        if counted:
            self._child(self._misroutes, route, tier).inc()

    def count_alarm(self, alarm: str, tier: str, source: str) -> None:
        """Count an alarm that was raised."""
        self._child(self._alarms, alarm, tier, source).inc()

    def show_alarms(self, raised: Sequence[tuple[str, str, str]]) -> None:
        """Show which alarms are raised: the name of each, its tier, and the source of its scores."""
        self._ever_raised.update(raised)
        for labels in self._ever_raised:
            self._child(self._raised, *labels).set(labels in raised)

    def show(self, moment: Gauges) -> None:
        """Count the requests that wait, and take over the present values."""
        self.flush()
        self._queue.set(moment.waiting)
        self._dropped.set(moment.dropped)
        self._state_up.set(moment.state_up)
        self._running.set(moment.running)
        for model, is_open in moment.breakers.items():
            self._child(self._breaker, model).set(is_open)
        for model, latency_ms in moment.latency_ms.items():
            self._child(self._latency, model).set(latency_ms / 1000)
        for (route, model), quality in moment.learned.items():
            self._child(self._quality, route, model).set(quality)

    def render(self) -> bytes:
        """Return the text of `/metrics` as of the last `show`. With several workers, it covers all of them."""
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library's own
            return generate_latest(registry)
        return generate_latest(self._registry)

    def _add(self, records: list[Record], route: str, model: str, sums: _Sums, observed: _Observed) -> None:
        decisions = [record.decision for record in records]
        if cost := sum([float(record.cost_usd) for record in records]):
            sums[self._cost, route, model] += cost
        sums[(self._saved,)] += sum([max(0.0, float(saved)) for record in records if (saved := record.saved_usd)])
        sums[(self._abstentions,)] += [decision.reason for decision in decisions].count("default")
        if explored := [decision.model or "" for decision in decisions if decision.explored]:
            for tried, n in Counts(explored).items():
                sums[self._explored, route, tried] += n
        for record in records:
            tier = record.tier
            if escalated(record.attempts):
                first = first_answer(record.attempts)
                tier = next((one.tier for one in record.decision.plan_details if one.model == first), tier)
                sums[self._misroutes, route, tier] += 1
                sums[self._misroutes_by, route, tier, "escalation"] += 1
            sums[self._routed, route, tier] += 1
        observed[(self._decision,)] += [decision.latency_ms / 1000 for decision in decisions]
        observed[(self._overhead,)] += [record.overhead_ms / 1000 for record in records]
        observed[(self._confidence,)] += [decision.confidence for decision in decisions if decision.candidates]
        observed[self._duration, model] += [record.latency_ms / 1000 for record in records if record.attempts]

    def _add_attempts(self, attempts: list[Attempt], model: str, sums: _Sums, observed: _Observed) -> None:
        waits = [attempt.first_token_ms for attempt in attempts]
        observed[self._first_token, model] += [ms / 1000 for ms in waits if ms is not None]
        if ungraded := sum([attempt.ungraded is not None for attempt in attempts]):
            sums[self._ungraded, model] += ungraded
        usages = [attempt.usage for attempt in attempts]
        for kind, tokens_of in _KINDS.items():
            if tokens := sum(map(tokens_of, usages)):
                sums[self._tokens, model, kind] += tokens


def _forget_dead(folder: Path) -> None:
    """Leave out the values of workers that have ended."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]  # the library's own
