"""Estimate the tokens of a request, in the form of each vendor. No model is called."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from litestar import Response, post

from semroute.access.permissions import check_names
from semroute.api import guards, openapi
from semroute.api.completions import read
from semroute.api.error_responses import AnyRequest
from semroute.api.fast_path import Rendered
from semroute.api.request_intake import read_body
from semroute.api.responses_endpoints import ResponseMemory
from semroute.dialects.anthropic.client import Anthropic, MessagesBody
from semroute.dialects.protocols import ClientDialect
from semroute.dialects.responses.client import Responses, ResponsesBody
from semroute.gateway.gateway import Gateway
from semroute.routing.model_aliases import resolve_aliases
from semroute.routing.pricing import estimate_input_tokens

_anthropic = Anthropic()
_responses = Responses()


@post("/v1/messages/count_tokens", status_code=200, operation_class=openapi.reads(MessagesBody), direct=True)
async def messages(request: AnyRequest) -> Response[bytes]:
    """Estimate how many tokens a Messages request sends. No model is called."""
    return Rendered(_anthropic.render_count(await count(request, _anthropic)), {})


@post("/v1/responses/input_tokens", status_code=200, operation_class=openapi.reads(ResponsesBody), direct=True)
async def responses(request: AnyRequest) -> Response[bytes]:
    """Estimate how many tokens a Responses request sends. No model is called."""
    return Rendered(_responses.render_count(await count(request, _responses, memory=ResponseMemory(request))), {})


async def count(
    request: AnyRequest,
    dialect: ClientDialect,
    in_path: Mapping[str, Any] = MappingProxyType({}),
    memory: ResponseMemory | None = None,
) -> int:
    """Read a request and estimate its tokens. Raises `ForbiddenError` for names that the key may not use."""
    caller = await guards.admitted(request, "complete")
    body = await read_body(request)
    chat = await read(body if memory is None else await memory.recall(body), dialect, in_path)
    gateway: Gateway = request.app.state.gateway
    config = gateway.serving.router.config
    check_names(config, caller, resolve_aliases(config, chat))
    return await asyncio.to_thread(estimate_input_tokens, chat) if chat.long else estimate_input_tokens(chat)
