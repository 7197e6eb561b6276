"""`GET /metrics`."""

from __future__ import annotations

import asyncio

from litestar import Response, get

from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.error_responses import AnyRequest
from semroute.errors import ForbiddenError, RequestError
from semroute.gateway.gateway import Gateway
from semroute.telemetry.prometheus import CONTENT_TYPE, Moment

SHOW_EVERY_S = 1.0


@get("/metrics", guards=[guards.reader])
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Prometheus metrics. For a key with the scope `read`, where keys are needed, that is good for everything."""
    caller = guards.caller_of(request)
    if caller.restricted:
        raise ForbiddenError(f"the key {caller.id} is for some routes or models alone, and metrics are about all")
    books: Books = request.app.state.books
    if books.metrics is None:
        raise RequestError("metrics are switched off: SEMROUTE_METRICS is false")
    books.metrics.show(_moment(request.app.state.gateway, books))
    return Response(books.metrics.render(), media_type=CONTENT_TYPE)


async def show(gateway: Gateway, books: Books) -> None:
    """Keep what this worker shows fresh, for any of them may be asked. Runs until it is cancelled."""
    while books.metrics is not None:
        books.metrics.show(_moment(gateway, books))
        await asyncio.sleep(SHOW_EVERY_S)


def _moment(gateway: Gateway, books: Books) -> Moment:
    waiting, dropped = (books.writer.waiting, books.writer.dropped) if books.writer else (0, 0)
    deployments = gateway.serving.deployments
    known, now = deployments.states(), deployments.clock.now()
    breakers = dict.fromkeys(gateway.serving.router.config.models, False)
    return Moment(
        waiting=waiting,
        dropped=dropped,
        state_up=not books.state.error,
        running=gateway.recorder.running,
        breakers=breakers | {model: each.breaker.state(now) != "closed" for model, each in known.items()},
        latency_ms={model: each.latency_ms for model, each in known.items() if each.latency_ms is not None},
    )
