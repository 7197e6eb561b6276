"""OpenTelemetry spans for each request and each call to a model, by the GenAI semantic conventions.

Needs the extra `otel`. OTEL_EXPORTER_OTLP_ENDPOINT says where to send the spans.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from semroute.config.config import Config
from semroute.dialects import registry
from semroute.record import Attempt, Record

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

    Spans = dict[str, Span]

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
MAX_OPEN = 10_000
_NANO = 1_000_000_000
_VENDORS = {"azure": "azure.ai.openai", "google": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""What the conventions call vendors, by preset, where that differs from ours."""


def open_tracing(config: Callable[[], Config], environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Return tracing, if it is asked for and its libraries are installed. `config`: returns the one in service."""
    if not environ.get(ENDPOINT) or importlib.util.find_spec("opentelemetry.exporter") is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return Tracing(config, BatchSpanProcessor(OTLPSpanExporter()), reader)


class Tracing:
    """Begins a span with each request, and ends it with its record. The span processor's thread sends the spans."""

    def __init__(self, config: Callable[[], Config], processor: SpanProcessor, reader: object | None = None) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "semroute")})
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("semroute")
        readers = [reader] if isinstance(reader, MetricReader) else []
        self._meters = MeterProvider(readers, resource=resource)
        meter = self._meters.get_meter("semroute")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        self._config = config
        self._open: Spans = {}

    def begin(self, request_id: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Begin a request's span, in the caller's trace if there is one. Returns the trace headers for providers."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        span = self._tracer.start_span("semroute.request", context=propagator.extract(dict(headers)))
        if len(self._open) < MAX_OPEN:
            self._open[request_id] = span
        onward: dict[str, str] = {}
        propagator.inject(onward, context=set_span_in_context(span))
        return onward

    def end(self, record: Record) -> None:
        """End a request's span, with a span for each call. The calls follow one another, starting at the decision."""
        span = self._open.pop(record.request_id, None)
        if span is None:
            return
        decision = record.decision
        span.set_attributes(
            {
                "semroute.route": decision.route or "",
                "semroute.reason": decision.reason,
                "semroute.confidence": decision.confidence,
                "semroute.outcome": record.outcome,
                "semroute.cost_usd": float(record.cost_usd),
                "semroute.request_id": record.request_id,
            }
        )
        ends = int((record.at + record.latency_ms / 1000) * _NANO)
        moment = int(record.at * _NANO + decision.latency_ms * 1e6)
        for attempt in record.attempts:
            after = moment + int(attempt.latency_ms * 1e6)
            self._call(span, attempt, moment, after)
            moment = after
        span.end(max(ends, moment))

    def close(self) -> None:
        """Send the spans that are left."""
        self._provider.shutdown()
        self._meters.shutdown()

    def _call(self, parent: Span, attempt: Attempt, begins: int, ends: int) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        labels = {"gen_ai.operation.name": "chat", **_called(self._config(), attempt.model)}
        attributes: dict[str, str | int] = {
            **labels,
            "semroute.model": attempt.model,
            "gen_ai.usage.input_tokens": attempt.usage.input_tokens,
            "gen_ai.usage.output_tokens": attempt.usage.output_tokens,
        }
        span = self._tracer.start_span(
            f"chat {labels['gen_ai.request.model']}",
            context=set_span_in_context(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=begins,
        )
        if attempt.error_code:
            span.set_attribute("error.type", attempt.error_code)
            span.set_status(Status(StatusCode.ERROR))
            labels["error.type"] = attempt.error_code
        span.end(ends)
        self._duration.record(attempt.latency_ms / 1000, labels)
        for kind in ("input", "output"):
            if tokens := getattr(attempt.usage, f"{kind}_tokens"):
                self._tokens.record(tokens, {**labels, "gen_ai.token.type": kind})


def _called(config: Config, model_id: str) -> dict[str, str]:
    """Return a model and its provider under the names of the conventions."""
    model = config.models.get(model_id)
    provider = config.providers.get(model.provider) if model is not None else None
    if model is None or provider is None:  # None: a reload has removed the model meanwhile
        return {"gen_ai.provider.name": "unknown", "gen_ai.request.model": model_id}
    many_vendors = provider.dialect in registry.DIALECTS and not registry.dialect(provider.dialect).telemetry_name
    vendor = provider.preset or (provider.id if many_vendors else provider.dialect)
    name = registry.dialect(vendor).telemetry_name or _VENDORS.get(vendor, vendor)
    return {"gen_ai.provider.name": name, "gen_ai.request.model": model.name}
