"""The client side of semroute's own dialect: `/route` and `/complete`.

Messages have OpenAI's form. `prompt` stands for one user turn.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from semroute.decision import Decision
from semroute.dialects.native.client_answer import account_of, encoder, error_body
from semroute.dialects.native.client_stream import NativeStream
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.shared.body_parsing import convert
from semroute.errors import RequestError, SemrouteError
from semroute.messages import ChatRequest, Completion, ToolCall
from semroute.record import Record


class NativeBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/route` and `/complete`: `prompt` or `messages`. All other fields are optional."""

    prompt: str | None = None
    """One user turn."""
    messages: list[dict[str, Any]] | None = None
    """A conversation in OpenAI's form."""
    model: str = "auto"
    """`auto`, `auto:<route>` or a model id."""
    models: list[str] | None = None
    """A fallback list of model ids."""
    metadata: dict[str, Any] | None = None
    """What rules can read."""
    explain: bool = False
    """The decision has `details`: the words that decided, and what would have changed it."""
    strict: bool = False
    """If the provider's format cannot express something, that is an error. Otherwise it is left out."""
    cost_quality: float | None = None
    """The dial: 0 is the cheapest model, 1 the best."""
    user: str | None = None
    """Names the conversation, as `x-semroute-session` does."""
    stream: bool = False
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class Native:
    """The client side of semroute's own dialect."""

    name = "native"

    def __init__(self) -> None:
        self._openai = OpenAI()

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        fields = convert(body, NativeBody)
        if (fields.prompt is None) == (fields.messages is None):
            got = "neither" if fields.prompt is None else "both"
            raise RequestError(f"$: got {got} of `prompt` and `messages`, expected one of them", param="prompt")
        if fields.prompt is not None and not fields.prompt.strip():
            raise RequestError("$.prompt: got an empty prompt, expected text", param="prompt")
        as_openai: dict[str, Any] = msgspec.to_builtins(fields)
        # `metadata` is only for rules here. Providers would log it, and may charge for it.
        metadata = as_openai.pop("metadata", None) or {}
        for mine in ("explain", "cost_quality"):
            as_openai.pop(mine, None)
        if (prompt := as_openai.pop("prompt", None)) is not None:
            as_openai["messages"] = [{"role": "user", "content": prompt}]
        request = self._openai.parse_request(as_openai, request_id)
        own = {"explain": fields.explain, "cost_quality": fields.cost_quality}
        return msgspec.structs.replace(request, metadata=metadata, stream_usage=True, **own)

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render the answer with its decision, usage and cost."""
        body: dict[str, Any] = {"id": record.request_id, "content": completion.text, "model": record.model}
        calls = [part for part in completion.parts if isinstance(part, ToolCall)]
        if calls:
            body["tool_calls"] = calls
        body |= {"finish_reason": completion.finish_reason, "decision": record.decision}
        return encoder.encode(body | account_of(record))

    def stream(self, request: ChatRequest, decision: Decision) -> NativeStream:
        """Make the renderer of one streamed answer."""
        return NativeStream(decision)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render `{"error": {code, message, param, retryable}}`."""
        return encoder.encode(error_body(error))

    def render_decision(self, decision: Decision) -> bytes:
        """Render the body of `/route`."""
        return encoder.encode(decision)
