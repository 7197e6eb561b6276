"""The description of Google's Gemini API for the rest of semroute."""

from __future__ import annotations

from semroute.dialects.description import Dialect, Signs
from semroute.dialects.gemini.client import Gemini
from semroute.dialects.gemini.content import drop_logprobs
from semroute.dialects.gemini.model_list import GeminiModelList
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.gemini.provider_request import HEADERS

DIALECT = Dialect(
    client=Gemini(),
    signs=Signs(
        paths=("/v1beta/",),
        post_paths=("/v1/models/",),
        headers={"x-goog-api-key": "/v1/models", "x-goog-api-client": "/v1/models"},  # some clients use `/v1`
    ),
    models=GeminiModelList(),
    provider=lambda _: GeminiProviderDialect(),
    telemetry_name="gcp.gemini",
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
