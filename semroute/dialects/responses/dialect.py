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
    field_names={
        "image_url.detail": ("input_image.detail",),
        "max_tokens": ("max_output_tokens",),
        "logprobs": ("top_logprobs", "include"),
        "messages": ("input",),
        "messages.tool_calls.id": ("input.call_id",),
        "reasoning_effort": ("reasoning.effort",),
        "response_format": ("text.format",),
        "response_format.json_schema": ("text.format",),
        "tools.function": ("tools",),
        "user": ("user", "safety_identifier"),
        "verbosity": ("text.verbosity",),
    },
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
