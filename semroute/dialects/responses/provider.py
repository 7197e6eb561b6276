"""The provider side of OpenAI Responses. Source: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.openai.model_rules import LOGPROBS, carried_fields, suit_responses
from semroute.dialects.openai.provider_request import HEADERS
from semroute.dialects.protocols import WireRequest, refuse_embeddings
from semroute.dialects.responses.content import NAME, keep_own_thoughts
from semroute.dialects.responses.provider_answer import decode_answer, finish_reason_of, parts_of, usage_of
from semroute.dialects.responses.provider_request import render_body
from semroute.dialects.responses.provider_stream import ResponsesStreamParser
from semroute.dialects.shared.body_parsing import OURS, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    snippet,
    unreadable,
)
from semroute.dialects.shared.field_limits import limits_of
from semroute.dialects.shared.fitting import fitted
from semroute.dialects.shared.forwarded_headers import headers_to_forward
from semroute.dialects.sse import EventParser
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    COMPACT,
    ChatRequest,
    Completion,
)

LIMITS = limits_of(NAME)


class ResponsesProviderDialect:
    """The Responses API. Providers store nothing, unless a caller of this dialect asks for it."""

    name = NAME
    events = EventParser

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the header with the key, if there is one."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render a request. A caller's own Responses body is kept, so that fields unknown here reach the provider."""
        refuse_embeddings(request, self.name)
        if request.endpoint == COMPACT:
            return self._compact(request, model)
        if request.dialect == NAME:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in OURS}
            keep_own_thoughts(body, dropped)
        else:
            fields, unread = carried_fields(request, to=NAME)
            dropped = Dropped(unread)
            body = render_body(request, model, dropped)
            if (verbosity := fields.pop("verbosity", None)) is not None:
                body["text"] = {**(body.get("text") or {}), "verbosity": verbosity}
            body |= fields
        body |= {"model": model.name, "stream": request.stream}
        if request.params.logprobs:
            body["include"] = list(dict.fromkeys((*(body.get("include") or ()), LOGPROBS)))
        headers = headers_to_forward(request, NAME, HEADERS, dropped)
        suit_responses(body, model, dropped)
        return fitted(body, LIMITS, request, model, dropped, path="/responses", headers=headers)

    def _compact(self, request: ChatRequest, model: Model) -> WireRequest:
        dropped = Dropped()
        body = {key: value for key, value in request.raw.items() if key not in OURS}
        keep_own_thoughts(body, dropped)
        body["model"] = model.name
        return fitted(body, LIMITS, request, model, dropped, path="/responses/compact", endpoint=COMPACT)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises a `ProviderError` if the body is not an answer."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a response", error) from error
        if answer.error:
            raise no_answer(msgspec.json.encode({"error": answer.error}))  # its `status` would count as a code
        if answer.output is None:
            raise no_answer(body, f"expected a response, got one without output: {snippet(body)}")
        parts, logprobs = parts_of(answer.output)
        return Completion(
            parts=parts,
            finish_reason=finish_reason_of(answer, has_calls(parts)),
            usage=usage_of(answer.usage),
            model=answer.model or "",
            id=answer.id or "",
            logprobs=logprobs,
            service_tier=answer.service_tier or "",
            dialect=NAME,
            raw=body,
        )

    def stream_parser(self) -> ResponsesStreamParser:
        """Make the parser of one streamed answer."""
        return ResponsesStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means."""
        return answered_error(status, headers, body)
