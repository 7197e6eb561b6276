"""Azure's older addresses, which name the deployment in the path: the model's id, or whatever `model` may be."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from semroute.api import openapi
from semroute.api.completions import answer
from semroute.api.error_responses import AnyRequest
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.embeddings import Embeddings

_openai = OpenAI()
_embeddings = Embeddings()


@post("/openai/deployments/{name:str}/chat/completions", status_code=200, operation_class=openapi.ChatOperation)
async def chat(request: AnyRequest, name: str) -> Response[Any]:
    """Chat Completions, as `/v1/chat/completions` has them."""
    return await answer(request, _openai, {"model": name})


@post("/openai/deployments/{name:str}/embeddings", status_code=200, operation_class=openapi.EmbeddingsOperation)
async def embeddings(request: AnyRequest, name: str) -> Response[Any]:
    """Embeddings, as `/v1/embeddings` has them."""
    return await answer(request, _embeddings, {"model": name})


HANDLERS = (chat, embeddings)
