"""The provider side of Amazon Bedrock's Converse API.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from semroute.config.schema.models import Model
from semroute.dialects.bedrock.content import NAME, parse_block
from semroute.dialects.bedrock.provider_answer import (
    as_text,
    decode_answer,
    finish_reason_of,
    kind_of,
    meant_by,
    tier_of,
    usage_of,
)
from semroute.dialects.bedrock.provider_request import render_body
from semroute.dialects.bedrock.provider_stream import BedrockStreamParser
from semroute.dialects.protocols import WireRequest
from semroute.dialects.shared.body_parsing import has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    read_failure,
    snippet,
    unreadable,
)
from semroute.dialects.shared.field_limits import limits_of
from semroute.dialects.shared.finish_and_token_counts import as_said
from semroute.dialects.shared.fitting import fitted
from semroute.dialects.shared.summarization import as_chat
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import ChatRequest, Completion, Part, ToolCall

LIMITS = limits_of(NAME)


class BedrockProviderDialect:
    """`Converse` and `ConverseStream`. Needs the extra `bedrock`."""

    name = NAME

    def __init__(self) -> None:
        from semroute.dialects.bedrock.event_stream import FrameParser  # imports botocore

        self.events = FrameParser

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the header with the Bedrock API key. Without a key, each request is signed when it is sent."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render a request. The body is always new, because no caller speaks this dialect."""
        request = as_chat(request, self.name)
        dropped = Dropped(request.unread)
        body = render_body(request, model, dropped)
        call = "converse-stream" if request.stream else "converse"
        # A colon is not quoted: the transport would unquote it, and then the signature would not match.
        path = f"/model/{quote(model.name, safe=':')}/{call}"
        return fitted(body, LIMITS, request, model, dropped, path=path, answers_name_model=False)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises a `ProviderError` if the body is not an answer."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "an answer of Converse", error) from error
        if answer.output is None or answer.output.message is None:
            said = read_failure(body).message or snippet(body)
            raise no_answer(body, f"expected an answer of Converse, got one without a message: {said}")
        parts: list[Part] = []
        calls = 0
        for block in answer.output.message.content or ():
            part = parse_block(block, calls)
            calls += isinstance(part, ToolCall)
            if part is not None:
                parts.append(part)
        shown = tuple(as_text(part) for part in parts)
        return Completion(
            parts=shown,
            finish_reason=as_said(finish_reason_of(answer.stopReason or "", body), calls=has_calls(shown)),
            usage=usage_of(answer.usage),
            model="",
            service_tier=tier_of(answer.serviceTier),
            dialect=NAME,
            raw=body,
        )

    def stream_parser(self) -> BedrockStreamParser:
        """Make the parser of one streamed answer."""
        return BedrockStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means. Its type is in a header or in the body."""
        kind = headers.get("x-amzn-errortype") or kind_of(body)
        return answered_error(status, headers, body, meant=meant_by(kind), kind=kind)
