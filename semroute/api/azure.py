"""Azure's older addresses, which name the deployment in the path: the model's id, or whatever `model` may be."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from semroute.api import docs
from semroute.api.completions import answer
from semroute.api.errors import AnyRequest
from semroute.dialects.embeddings import Embeddings
from semroute.dialects.openai import OpenAI

_openai = OpenAI()
_embeddings = Embeddings()


@post("/openai/deployments/{name:str}/chat/completions", status_code=200, operation_class=docs.ChatOperation)
async def chat(request: AnyRequest, name: str) -> Response[Any]:
    """Chat Completions, as `/v1/chat/completions` has them."""
    return await answer(request, _openai, {"model": name})


@post("/openai/deployments/{name:str}/embeddings", status_code=200, operation_class=docs.EmbeddingsOperation)
async def embeddings(request: AnyRequest, name: str) -> Response[Any]:
    """Embeddings, as `/v1/embeddings` has them."""
    return await answer(request, _embeddings, {"model": name})


HANDLERS = (chat, embeddings)
