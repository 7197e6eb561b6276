"""A shorter form of a long conversation."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from semroute.api import openapi
from semroute.api.completions import answer
from semroute.api.error_responses import AnyRequest
from semroute.api.responses_endpoints import Remembering
from semroute.dialects.responses.compaction import Compact

_compact = Compact()


@post("/v1/responses/compact", status_code=200, operation_class=openapi.ResponsesOperation, direct=True)
async def compact(request: AnyRequest) -> Response[Any]:
    """A conversation in a shorter form, to go on with. `model` is `auto`, `auto:<route>` or a model id."""
    return await answer(request, _compact, memory=Remembering(request, keeps=False))
