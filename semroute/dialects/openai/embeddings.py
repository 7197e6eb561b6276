"""The client side of OpenAI's embeddings, for a named model.

Source: https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.gemini.embeddings import openai_answer
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.content import NAME
from semroute.dialects.shared.body_parsing import convert, refuse_auto
from semroute.messages import EMBEDDINGS, ChatRequest, Completion, Message, Text
from semroute.record import Record


class EmbeddingsBody(msgspec.Struct):
    """The fields that semroute reads. All others reach the provider unchanged."""

    input: str | list[Any]
    model: str
    models: list[str] | None = None
    strict: bool = False
    metadata: dict[str, Any] | None = None


class Embeddings(OpenAI):
    """The client side of `/v1/embeddings`."""

    name = EMBEDDINGS
    asked_in = "input"

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, also for `auto`: vectors of two models cannot be compared."""
        fields = convert(body, EmbeddingsBody)
        refuse_auto(fields.model, fields.model)
        texts = [fields.input] if isinstance(fields.input, str) else fields.input
        parts = tuple(Text(text=text) for text in texts if isinstance(text, str))
        return ChatRequest(
            id=request_id,
            messages=(Message(role="user", parts=parts),),
            model=fields.model,
            models=tuple(fields.models or ()),
            strict=fields.strict,
            metadata=fields.metadata or {},
            endpoint=EMBEDDINGS,
            dialect=EMBEDDINGS,
            raw=body,
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged."""
        return completion.raw if completion.dialect == NAME else openai_answer(completion, record, request)
