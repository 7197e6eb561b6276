"""OpenTelemetry: a span for each request and each call to a model, by the GenAI semantic conventions.

Needs the extra `otel`, and OTEL_EXPORTER_OTLP_ENDPOINT to say where to.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from semroute.record import Record
from semroute.types import Attempt

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

    Spans = dict[str, Span]

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
MAX_OPEN = 10_000
_NANO = 1_000_000_000


def open_tracing(environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Tracing, where it is asked for and its libraries are there."""
    if not environ.get(ENDPOINT) or importlib.util.find_spec("opentelemetry.exporter") is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return Tracing(BatchSpanProcessor(OTLPSpanExporter()), PeriodicExportingMetricReader(OTLPMetricExporter()))


class Tracing:
    """Spans that are begun with requests and ended with their records. Sending is the processor's, in its thread."""

    def __init__(self, processor: SpanProcessor, reader: object | None = None) -> None:
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
        self._open: Spans = {}

    def begin(self, request_id: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Begin a request's span, in the caller's trace if there is one. Returns the headers for providers."""
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
        """End it, with a span for each call. Calls are laid out one after another from the decision on."""
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
        """Send what is left."""
        self._provider.shutdown()
        self._meters.shutdown()

    def _call(self, parent: Span, attempt: Attempt, begins: int, ends: int) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": attempt.model,
            "gen_ai.usage.input_tokens": attempt.usage.input_tokens,
            "gen_ai.usage.output_tokens": attempt.usage.output_tokens,
        }
        span = self._tracer.start_span(
            f"chat {attempt.model}",
            context=set_span_in_context(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=begins,
        )
        labels = {"gen_ai.operation.name": "chat", "gen_ai.request.model": attempt.model}
        if attempt.error_code:
            span.set_attribute("error.type", attempt.error_code)
            span.set_status(Status(StatusCode.ERROR))
            labels["error.type"] = attempt.error_code
        span.end(ends)
        self._duration.record(attempt.latency_ms / 1000, labels)
        for kind in ("input", "output"):
            if tokens := getattr(attempt.usage, f"{kind}_tokens"):
                self._tokens.record(tokens, {**labels, "gen_ai.token.type": kind})
