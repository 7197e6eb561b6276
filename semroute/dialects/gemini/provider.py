"""The provider side of Google's Gemini API. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.gemini.content import NAME, keep_own_thoughts
from semroute.dialects.gemini.embeddings import gemini_body
from semroute.dialects.gemini.model_rules import suit
from semroute.dialects.gemini.models import traits_of
from semroute.dialects.gemini.provider_answer import AnswerReader, UsageMetadata, decode, usage_of
from semroute.dialects.gemini.provider_request import HEADERS, render_body
from semroute.dialects.gemini.provider_stream import GeminiStreamParser
from semroute.dialects.protocols import WireRequest
from semroute.dialects.shared.body_parsing import OURS
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import answered_error
from semroute.dialects.shared.field_limits import limits_of
from semroute.dialects.shared.finish_and_token_counts import read_counts
from semroute.dialects.shared.fitting import fitted
from semroute.dialects.shared.forwarded_headers import headers_to_forward
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.sse import EventParser
from semroute.errors import ProviderError
from semroute.messages import (
    EMBEDDINGS,
    ChatRequest,
    Completion,
    Opaque,
    Part,
    Text,
)

LIMITS = limits_of(NAME)


class GeminiProviderDialect:
    """`generateContent` and `streamGenerateContent`."""

    name = NAME
    events = EventParser

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the header with the key, if there is one."""
        return {"x-goog-api-key": api_key} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render a request. A caller's own Gemini body is kept, so that fields unknown here reach the provider."""
        if request.endpoint == EMBEDDINGS:
            return self._embeddings(request, model)
        request = as_chat(request, self.name)
        traits = traits_of(model.name)
        if request.dialect == NAME:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in (*OURS, "metadata")}
            keep_own_thoughts(body, dropped, sign_calls=traits.signs_calls)
        else:
            dropped = Dropped(request.unread)
            body = render_body(request, model, dropped)
        if request.params.logprobs:
            body["generationConfig"] = {**(body.get("generationConfig") or {}), "responseLogprobs": True}
        suit(body, traits, dropped)
        call = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        path = f"/models/{quote(model.name, safe='')}:{call}"
        headers = headers_to_forward(request, NAME, HEADERS, dropped)
        return fitted(body, LIMITS, request, model, dropped, path=path, headers=headers)

    def _embeddings(self, request: ChatRequest, model: Model) -> WireRequest:
        dropped = Dropped()
        body = gemini_body(request, model.name, dropped)
        return WireRequest(
            path=f"/models/{quote(model.name, safe='')}:batchEmbedContents",
            body=msgspec.json.encode(body),
            endpoint=EMBEDDINGS,
            dropped=tuple(dropped.notes),
            model=model.name,
        )

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises a `ProviderError` if the body is not an answer."""
        answer = decode(body, body)
        if answer.embeddings is not None:
            usage = usage_of(read_counts(answer.usageMetadata, UsageMetadata))
            opaque = Opaque(kind=EMBEDDINGS)
            return Completion(parts=(opaque,), finish_reason="stop", usage=usage, model="", dialect=NAME, raw=body)
        parts: list[Part] = []
        chunk = AnswerReader().read(answer, body)
        for part in chunk.parts:
            match parts, part:
                case [*_, Text(text=before, citations=cited)], Text(text=text, citations=citations):
                    parts[-1] = Text(text=before + text, citations=cited + citations)
                case _:
                    parts.append(part)
        return Completion(
            parts=tuple(parts),
            finish_reason=chunk.finish_reason or "stop",
            usage=chunk.usage,
            model=chunk.model,
            id=chunk.id,
            logprobs=chunk.logprobs,
            service_tier=chunk.service_tier,
            dialect=NAME,
            raw=body,
        )

    def stream_parser(self) -> GeminiStreamParser:
        """Make the parser of one streamed answer."""
        return GeminiStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means."""
        return answered_error(status, headers, body)
