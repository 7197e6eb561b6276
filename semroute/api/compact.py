"""A shorter form of a long conversation."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from semroute.api import docs
from semroute.api.completions import answer
from semroute.api.errors import AnyRequest
from semroute.api.responses import Remembering
from semroute.dialects.compact import Compact

_compact = Compact()


@post("/v1/responses/compact", status_code=200, operation_class=docs.ResponsesOperation, direct=True)
async def compact(request: AnyRequest) -> Response[Any]:
    """A conversation in a shorter form, to go on with. `model` is `auto`, `auto:<route>` or a model id."""
    return await answer(request, _compact, memory=Remembering(request, keeps=False))
