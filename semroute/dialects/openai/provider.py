"""The provider side of OpenAI Chat Completions. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec

from semroute.config.presets import PLAIN, Preset
from semroute.config.schema.models import Model
from semroute.dialects.gemini.embeddings import openai_body
from semroute.dialects.openai.model_rules import carried_fields, suit_chat, suit_server
from semroute.dialects.openai.provider_answer import (
    OWN_WORDS,
    ChatAnswer,
    ChatSaid,
    decode_answer,
    ended_by,
    logprobs_of,
    parts_of,
    usage_of,
    whole_parts_of,
)
from semroute.dialects.openai.provider_request import HEADERS, render_body
from semroute.dialects.openai.provider_stream import OpenAIStreamParser
from semroute.dialects.protocols import WireRequest
from semroute.dialects.shared.body_parsing import OURS, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    snippet,
    unreadable,
)
from semroute.dialects.shared.field_limits import limits_of
from semroute.dialects.shared.finish_and_token_counts import finish_reason_of
from semroute.dialects.shared.fitting import fitted
from semroute.dialects.shared.forwarded_headers import headers_to_forward
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.sse import EventParser
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import CHAT, EMBEDDINGS, ChatRequest, Completion, FinishReason, Opaque, Part


class OpenAIProviderDialect:
    """Chat Completions of OpenAI and of the many compatible servers."""

    name = "openai"
    events = EventParser

    def __init__(self, preset: Preset = PLAIN, api_version: str = "") -> None:
        self._preset = preset
        self._api_version = api_version or preset.api_version
        self._limits = limits_of(self.name, preset.name)

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the header with the key, if there is one: a bearer token, unless the preset names another header."""
        if not api_key:
            return {}
        header = self._preset.key_header
        return {header: f"Bearer {api_key}" if header == "authorization" else api_key}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render a request. A caller's own OpenAI body is kept, so that fields unknown here reach the provider."""
        if request.endpoint != CHAT:
            if request.endpoint == EMBEDDINGS:
                return self._embeddings(request, model)
            request = as_chat(request, self.name)
        if request.dialect == self.name:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in OURS}
        else:
            fields, unread = carried_fields(request, to=self.name) if self._preset.of_openai else ({}, request.unread)
            dropped = Dropped(unread)
            body = render_body(request, model, self._preset, dropped) | fields
        options = body.pop("stream_options", None)
        if isinstance(options, dict) and not self._preset.of_openai:
            dropped.add_given(include_obfuscation=options.get("include_obfuscation"))
            options = {name: value for name, value in options.items() if name != "include_obfuscation"}
        body["model"] = model.name
        body["stream"] = request.stream
        if request.params.logprobs:
            body["logprobs"] = True
        if request.stream and self._preset.stream_options:
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        suit_server(body, self._preset, model, dropped)
        suit_chat(body, self._preset.name, model, dropped)
        path = _path(self._preset.path, model.name, self._api_version)
        headers = headers_to_forward(request, self.name, HEADERS, dropped)
        return fitted(body, self._limits, request, model, dropped, path=path, headers=headers)

    def _embeddings(self, request: ChatRequest, model: Model) -> WireRequest:
        dropped = Dropped()
        body = {**openai_body(request, dropped), "model": model.name}
        return WireRequest(
            path=_path(self._preset.embeddings_path, model.name, self._api_version),
            body=msgspec.json.encode(body),
            endpoint=EMBEDDINGS,
            dropped=tuple(dropped.notes),
        )

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises a `ProviderError` if the body is not an answer."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a completion", error) from error
        if answer.error or answer.object == "error":
            raise no_answer(body)
        if answer.object == "list":  # embeddings, which are passed on unread
            opaque = Opaque(kind=EMBEDDINGS)
            return self._completion(answer, (opaque,), "stop", body)
        if not answer.choices:
            raise no_answer(body, f"expected a completion, got one without choices: {snippet(body)}")
        choice = answer.choices[0]
        parts, odd = whole_parts_of(choice.message or ChatSaid(), answer.id or "")
        said = choice.finish_reason or "stop"
        logprobs = logprobs_of(choice.logprobs) if choice.logprobs is not None else ()
        reason, body = ended_by(finish_reason_of(said), body, calls=has_calls(parts))
        for place, other in enumerate(answer.choices[1:], 1):
            calls = has_calls(parts_of(other.message or ChatSaid()))
            body = ended_by(finish_reason_of(other.finish_reason or "stop"), body, calls=calls, index=place)[1]
        completion = self._completion(answer, parts, reason, body)
        if (odd or said not in OWN_WORDS) and len(answer.choices) == 1:  # of several choices, one could be rendered
            completion = msgspec.structs.replace(completion, dialect="", raw=b"")
        return msgspec.structs.replace(completion, logprobs=logprobs) if logprobs else completion

    def _completion(self, answer: ChatAnswer, parts: tuple[Part, ...], reason: FinishReason, body: bytes) -> Completion:
        return Completion(
            parts=parts,
            finish_reason=reason,
            usage=usage_of(answer.usage, self._preset),
            model=answer.model or "",
            id=answer.id or "",
            service_tier=answer.service_tier or "",
            dialect=self.name,
            raw=body,
        )

    def stream_parser(self) -> OpenAIStreamParser:
        """Make the parser of one streamed answer."""
        return OpenAIStreamParser(self._preset)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means."""
        return answered_error(status, headers, body)


@lru_cache(1024)
def _path(path: str, name: str, api_version: str) -> str:
    return path.format(model=quote(name, safe=""), api_version=api_version)
