"""The methods of Gemini's API, with the model in the path. Source: https://ai.google.dev/api."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from semroute.api import count_tokens, guards, openapi
from semroute.api.completions import answer
from semroute.api.error_responses import AnyRequest
from semroute.api.fast_path import Rendered
from semroute.dialects.gemini.client import CountedGemini, Gemini, GenerateContentBody
from semroute.dialects.gemini.embeddings import GeminiEmbeddings
from semroute.errors import RequestError

_gemini = Gemini()
_counted = CountedGemini()
_embeddings = {"embedContent": GeminiEmbeddings(), "batchEmbedContents": GeminiEmbeddings(batch=True)}
_streams = {"generateContent": False, "streamGenerateContent": True}
METHODS = (*_streams, "countTokens", *_embeddings)


@post(
    ["/v1/models/{call:path}", "/v1beta/models/{call:path}"],
    status_code=200,
    operation_class=openapi.reads(GenerateContentBody, "model", "stream"),
)
async def gemini(request: AnyRequest, call: str) -> Response[Any]:
    """Gemini's `MODEL:generateContent`, `MODEL:streamGenerateContent`, `MODEL:countTokens`, `MODEL:embedContent` and
    `MODEL:batchEmbedContents`. `/v1beta/models` lists what MODEL can be.
    """
    model, _, method = call.removeprefix("/").rpartition(":")
    if method in _streams:
        return await answer(request, _gemini, {"model": model, "stream": _streams[method]})
    if method in _embeddings:
        return await answer(request, _embeddings[method], {"model": model, "stream": False})
    if method == "countTokens":
        return Rendered(_counted.render_count(await count_tokens.count(request, _counted, {"model": model})), {})
    await guards.admitted(request, "complete")
    raise RequestError(f"the path: got the method {method!r}, expected one of {', '.join(METHODS)}")
