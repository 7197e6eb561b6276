"""What `/metrics` says of the records that were counted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from semroute.decision import Decision, Estimate, PlanEntry
from semroute.messages import Usage
from semroute.record import Attempt, Record
from semroute.telemetry.prometheus import TOGETHER, Gauges, Metrics


def record(number: int) -> Record:
    """Answered by `small`, every third at the second try."""
    usage = Usage(input_tokens=number, output_tokens=2, cached_tokens=number % 2)
    answer = Attempt(
        model="small", status="ok", latency_ms=1, usage=usage, cost_usd=Decimal("0.5"), first_token_ms=10.0 * number
    )
    failure = Attempt(model="large", status="failed", error_code="provider_timeout", latency_ms=1)
    decision = Decision(
        id=str(number),
        route="billing" if number % 4 else None,
        reason="semantic" if number % 4 else "default",
        explanation="because",
        confidence=0.9,
        threshold=0.5,
        margin=0.4,
        model="small",
        plan=("small", "large"),
        rejected={},
        candidates=(),
        estimate=Estimate(input_tokens=12, output_tokens=300, cost_usd=Decimal(0)),
        config_version="v1",
    )
    return Record(
        request_id=decision.id,
        decision=decision,
        attempts=(answer,) if number % 3 else (failure, answer),
        outcome="ok",
        overhead_ms=0.5 * number,
        latency_ms=25.0 * number,
        saved_usd=Decimal(number - 2),
    )


class Seen:
    """The text of `/metrics`, read."""

    def __init__(self, metrics: Metrics) -> None:
        metrics.show(Gauges(waiting=0, dropped=0, state_up=True, running=0, breakers={}, latency_ms={}))
        families = text_string_to_metric_families(metrics.render().decode())
        self.values = {
            (each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.values.get((f"semroute_{name}", frozenset(labels.items())))


def test_every_record_is_counted_whether_few_wait_or_many() -> None:
    metrics, count = Metrics(), 2 * TOGETHER + 5
    for number in range(count):
        metrics.count(record(number))
    seen = Seen(metrics)
    thirds, fourths = -(-count // 3), -(-count // 4)
    assert seen("requests_total", route="billing", model="small", outcome="ok") == count - fourths
    assert seen("requests_total", route="", model="small", outcome="ok") == seen("abstentions_total") == fourths
    assert seen("attempts_total", model="small", status="ok", error="") == count
    assert seen("attempts_total", model="large", status="failed", error="provider_timeout") == thirds
    assert seen("tokens_total", model="small", kind="input") == count * (count - 1) / 2
    assert seen("tokens_total", model="small", kind="cached") == count // 2
    assert seen("tokens_total", model="large", kind="input") is None
    assert seen("cost_usd_total", route="billing", model="small") == 0.5 * (count - fourths)
    assert seen("saved_usd_total") == sum(range(count - 2))
    assert Seen(metrics).values == seen.values


def test_misroutes_are_counted_where_the_request_went_first() -> None:
    metrics = Metrics()
    one = replace(record(1), tier="complex")
    entry = PlanEntry(model="large", why="", tier="simple", quality=0.5, cost_usd=Decimal(0), latency_ms=None)
    poor = Attempt(model="large", status="ok", escalated="it declines", latency_ms=1)
    decision = replace(one.decision, plan_details=(entry,))
    metrics.count(one)
    metrics.count(replace(one, attempts=(poor, *one.attempts), decision=decision))
    metrics.misroute("billing", "complex", "feedback", counted=True)
    metrics.misroute("billing", "complex", "judge", counted=False)
    metrics.misroute("billing", "complex", "retry", counted=False)
    seen = Seen(metrics)
    for tier in ("complex", "simple"):
        assert seen("routed_requests_total", route="billing", tier=tier) == 1
        assert seen("misroutes_total", route="billing", tier=tier) == 1
    sources = {"complex": ("feedback", "judge", "retry"), "simple": ("escalation",)}
    for tier, some in sources.items():
        for source in some:
            assert seen("misroutes_by_source_total", route="billing", tier=tier, source=source) == 1


def test_histograms_are_those_of_the_library() -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    slow = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120)
    library = Histogram("library", "The same, one by one.", ["model"], buckets=slow, registry=registry)
    for number in range(100):
        metrics.count(record(number))
        library.labels("small").observe(25.0 * number / 1000)
    seen = Seen(metrics)
    for bound in (*map(str, map(float, slow)), "+Inf"):
        expected = registry.get_sample_value("library_bucket", {"model": "small", "le": bound})
        assert seen("request_duration_seconds_bucket", model="small", le=bound) == expected
    total = registry.get_sample_value("library_sum", {"model": "small"})
    assert seen("request_duration_seconds_sum", model="small") == pytest.approx(total)


def test_answers_that_no_judge_graded_are_counted() -> None:
    metrics, told = Metrics(), record(1)
    ungraded = replace(told.attempts[-1], model="small", ungraded="large could not grade it")
    metrics.count(replace(told, attempts=(*told.attempts[:-1], ungraded)))
    metrics.count(told)
    metrics.show(Gauges(0, 0, True, 0, {}, {}))
    assert 'semroute_ungraded_answers_total{model="small"} 1.0' in metrics.render().decode()
