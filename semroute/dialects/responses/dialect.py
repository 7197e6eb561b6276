"""The description of OpenAI Responses for the rest of semroute."""

from __future__ import annotations

from semroute.dialects.description import Dialect
from semroute.dialects.openai.provider_request import HEADERS
from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.content import drop_logprobs
from semroute.dialects.responses.provider import ResponsesProviderDialect

DIALECT = Dialect(
    client=Responses(),
    provider=lambda _: ResponsesProviderDialect(),
    telemetry_name="openai",
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
