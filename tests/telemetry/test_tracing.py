from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.routes import Default
from semroute.messages import Usage
from semroute.record import Attempt
from semroute.telemetry.tracing import Tracing, open_tracing
from tests.stores.test_decision_log import record

CONFIG = Config(
    providers={"p": ProviderSettings(id="p", dialect="gemini"), "mine": ProviderSettings(id="mine", preset="xai")},
    models={"small": Model(id="small", provider="p", name="small-1")}
    | {"large": Model(id="large", provider="mine", name="large-1")},
    routes={},
    default=Default(models=("small",)),
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_request_and_its_calls_are_spans_of_the_callers_trace() -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = Tracing(lambda: CONFIG, SimpleSpanProcessor(exporter), reader)
    failed = Attempt(model="large", status="failed", latency_ms=5, error_code="provider_timeout")
    ok = Attempt(model="small", status="ok", latency_ms=9, usage=Usage(input_tokens=12, output_tokens=6))
    written = replace(record(1), attempts=(failed, ok), saved_usd=Decimal(0))
    onward = tracing.begin(written.request_id, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    tracing.end(written)
    first, second, whole = exporter.get_finished_spans()
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert onward["traceparent"] == f"00-{TRACE}-{whole.context.span_id:016x}-01"
    assert {first.parent.span_id, second.parent.span_id} == {whole.context.span_id}  # type: ignore[union-attr]  # they have one
    assert (first.name, dict(first.attributes or {})["error.type"]) == ("chat large-1", "provider_timeout")
    assert dict(first.attributes or {})["gen_ai.provider.name"] == "x_ai"
    assert dict(second.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "small-1",
        "semroute.model": "small",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 6,
    }
    data: Any = reader.get_metrics_data()
    names = {metric.name for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert names == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}
    tracing.end(written)  # known no more
    tracing.close()


def test_nothing_is_traced_unless_asked_for() -> None:
    assert open_tracing(lambda: CONFIG, {}) is None
