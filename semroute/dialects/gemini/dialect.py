"""The description of Google's Gemini API for the rest of semroute."""

from __future__ import annotations

from semroute.dialects.description import Dialect, Signs
from semroute.dialects.gemini.client import Gemini
from semroute.dialects.gemini.content import drop_logprobs
from semroute.dialects.gemini.model_list import GeminiModelList
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.gemini.provider_request import HEADERS
from semroute.dialects.shared.field_limits import spellings

_THINKING = "generationConfig.thinkingConfig"
_FIELDS = {
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "logprobs": "generationConfig.responseLogprobs",
    "max_tokens": "generationConfig.maxOutputTokens",
    "messages": "contents",
    "messages.tool_calls.id": "contents.parts.functionCall.id",
    "n": "generationConfig.candidateCount",
    "presence_penalty": "generationConfig.presencePenalty",
    "response_format": "generationConfig.responseSchema",
    "seed": "generationConfig.seed",
    "service_tier": "serviceTier",
    "stop": "generationConfig.stopSequences",
    "temperature": "generationConfig.temperature",
    "tool_choice": "toolConfig.functionCallingConfig",
    "tools.function": "tools.functionDeclarations",
    "top_k": "generationConfig.topK",
    "top_logprobs": "generationConfig.logprobs",
    "top_p": "generationConfig.topP",
}
"""Google takes them in snake case too, and then they are told so."""

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
    field_names={name: spellings(field) for name, field in _FIELDS.items()}
    | {"reasoning_effort": (*spellings(f"{_THINKING}.thinkingLevel"), *spellings(f"{_THINKING}.thinkingBudget"))},
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
