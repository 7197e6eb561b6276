"""`GET /metrics`."""

from __future__ import annotations

from litestar import Response, get

from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.errors import AnyRequest
from semroute.errors import RequestError
from semroute.stores.resilient import ResilientState
from semroute.telemetry.metrics import CONTENT_TYPE


@get("/metrics", guards=[guards.reader])
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Prometheus metrics. For a key with the scope `read`, where keys are needed."""
    books: Books = request.app.state.books
    if books.metrics is None:
        raise RequestError("metrics are switched off: SEMROUTE_METRICS is false")
    waiting, dropped = (books.writer.waiting, books.writer.dropped) if books.writer else (0, 0)
    state_up = not (isinstance(books.state, ResilientState) and books.state.error)
    return Response(books.metrics.render(waiting, dropped, state_up), media_type=CONTENT_TYPE)
