"""The toy dialect as spoken to a provider."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.protocols import WireRequest, refuse_embeddings
from semroute.dialects.shared.error_bodies import answered_error, no_answer
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import ChatRequest, Completion, Text, Usage
from tests.dialects.toy.client import BY, NAME
from tests.dialects.toy.provider_stream import LineReader, ToyStreamParser


class _Said(msgspec.Struct):
    said: str
    words: tuple[int, int]


class ToyProviderDialect:
    name = NAME
    events = LineReader

    def headers(self, api_key: str | None) -> dict[str, str]:
        return {"x-toy-key": api_key} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        refuse_embeddings(request, NAME)
        lines = [{"by": BY.get(message.role, "me"), "say": message.text} for message in request.messages]
        body = request.raw if request.dialect == NAME else {"lines": lines}
        body = {**body, "who": model.name, "piecewise": request.stream}
        dropped = () if request.dialect == NAME else request.unread
        return WireRequest(path="/say", body=msgspec.json.encode(body), dropped=dropped)

    def parse_completion(self, body: bytes) -> Completion:
        try:
            said = msgspec.json.decode(body, type=_Said)
        except UNREADABLE as error:
            raise no_answer(body) from error
        usage = Usage(input_tokens=said.words[0], output_tokens=said.words[1])
        parts = (Text(text=said.said),)
        return Completion(parts=parts, finish_reason="stop", usage=usage, model="", dialect=NAME, raw=body)

    def stream_parser(self) -> ToyStreamParser:
        return ToyStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        return answered_error(status, headers, body)
