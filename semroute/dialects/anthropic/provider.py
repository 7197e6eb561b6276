"""The provider side of Anthropic Messages. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.api_versions import FIRST, HEADERS, VERSION_HEADER, keep_to_version
from semroute.dialects.anthropic.content import NAME
from semroute.dialects.anthropic.model_rules import suit
from semroute.dialects.anthropic.provider_answer import (
    Counts,
    decode_answer,
    ended_by,
    marked,
    parts_of,
    refusal_of,
    thinker_of,
    tier_of,
    usage_of,
)
from semroute.dialects.anthropic.provider_request import render_body
from semroute.dialects.anthropic.provider_stream import AnthropicStreamParser
from semroute.dialects.protocols import WireRequest
from semroute.dialects.shared.body_parsing import MINE, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    snippet,
    unreadable,
)
from semroute.dialects.shared.field_limits import limits_of
from semroute.dialects.shared.finish_and_token_counts import read_counts
from semroute.dialects.shared.fitting import fitted
from semroute.dialects.shared.forwarded_headers import headers_to_forward
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.sse import EventParser
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    ChatRequest,
    Completion,
)

LIMITS = limits_of(NAME)


class AnthropicProviderDialect:
    """The Messages API of Anthropic and of other providers."""

    name = NAME
    events = EventParser

    def __init__(self, version: str = "") -> None:
        """`version` is the API's version for all calls. Empty: the caller's version, or the first one."""
        self._version = version

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the headers with the API's version, and the key if there is one."""
        return {VERSION_HEADER: self._version or FIRST, **({"x-api-key": api_key} if api_key else {})}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render a request. A caller's own Anthropic body is kept, so that fields unknown here reach the provider."""
        request = as_chat(request, self.name)
        if request.dialect == NAME:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in MINE}
            if request.params.user:  # Anthropic refuses other metadata, which is for rules
                body["metadata"] = {"user_id": request.params.user}
            suit(body, request, model, dropped)
        else:
            dropped = Dropped(request.unread)
            body = render_body(request, model, dropped)
        body |= {"model": model.name, "stream": request.stream}
        headers = headers_to_forward(request, NAME, HEADERS, dropped)
        said = headers.pop(VERSION_HEADER, FIRST)
        version = self._version or said
        keep_to_version(body, version, dropped)
        if version not in (FIRST, self._version):
            headers[VERSION_HEADER] = version
        return fitted(body, LIMITS, request, model, dropped, path="/v1/messages", headers=headers)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises a `ProviderError` if the body is not an answer."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a message", error) from error
        if answer.error is not None or answer.type == "error":
            raise no_answer(body)
        if answer.content is None:
            raise no_answer(body, f"expected a message, got one without content: {snippet(body)}")
        parts = (*parts_of(answer.content, thinker_of(answer.model)), *refusal_of(answer.stop_details))
        reason, word = ended_by(answer.stop_reason, calls=has_calls(parts))
        usage = read_counts(answer.usage, Counts)
        if word != answer.stop_reason:
            body = msgspec.json.encode({**msgspec.json.decode(body), "stop_reason": word})
        return Completion(
            parts=parts,
            finish_reason=reason,
            usage=usage_of(usage),
            model=answer.model or "",
            id=answer.id or "",
            stop_sequence=answer.stop_sequence,
            service_tier=tier_of(usage),
            dialect=NAME,
            raw=marked(body, parts),
        )

    def stream_parser(self) -> AnthropicStreamParser:
        """Make the parser of one streamed answer."""
        return AnthropicStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means. 529 means that Anthropic is overloaded."""
        return answered_error(status, headers, body)
