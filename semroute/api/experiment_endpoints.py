"""The endpoint that shows the experiments."""

from __future__ import annotations

import asyncio

from litestar import Response, get

from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.decisions import json_answer
from semroute.api.error_responses import AnyRequest
from semroute.errors import ForbiddenError, StoreError
from semroute.gateway.gateway import Gateway
from semroute.learning.experiment_report import reports
from semroute.stores.experiment_store import ExperimentStore

REPORT_S = 60.0
"""The longest time that the reports may take."""


@get("/experiments", guards=[guards.reader])
async def experiments(request: AnyRequest) -> Response[bytes]:
    """Return what is known of each experiment, or of the one `name`, as `semroute experiment status --json` does.

    A key that is limited to some routes or models sees none of it.
    """
    caller = guards.caller_of(request)
    if caller.restricted:
        raise ForbiddenError(
            f"the key {caller.id} is limited to some routes or models, and experiments cover all: use a key without "
            "limits"
        )
    books: Books = request.app.state.books
    gateway: Gateway = request.app.state.gateway
    name = request.query_params.get("name")
    work = asyncio.to_thread(reports, ExperimentStore(books.database), gateway.serving.router.config, name)
    try:
        return json_answer({"experiments": await asyncio.wait_for(work, REPORT_S)})
    except TimeoutError:
        raise StoreError(f"the reports were not ready after {REPORT_S:g} s: ask again, or use the command") from None
