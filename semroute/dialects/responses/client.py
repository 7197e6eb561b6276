"""The client side of OpenAI Responses. Source: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.decision import Decision
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.content import parse_schema, parse_tool_choice
from semroute.dialects.responses.client_answer import response_object
from semroute.dialects.responses.client_stream import ResponsesStream
from semroute.dialects.responses.content import NAME, parse_input
from semroute.dialects.responses.tools import Toolbox
from semroute.dialects.shared.body_parsing import convert, object_at, problem, unread_fields
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.messages import ChatRequest, Completion, Message, Params, Text
from semroute.record import Record

_STATEFUL = {
    "previous_response_id": "no response is known here: send the whole conversation in `input`",
    "conversation": "semroute keeps no conversations: send `previous_response_id`, or all of it in `input`",
    "background": "semroute runs nothing in the background: ask for a stream, or wait for the answer",
}
_REASONING = {"effort", "summary", "generate_summary"}
_INCLUDED = {"reasoning.encrypted_content", "message.output_text.logprobs"}


class ResponsesBody(msgspec.Struct):
    """The fields that semroute reads. All others reach a provider of this dialect unchanged."""

    input: str | list[Any] | None = None
    instructions: str | None = None
    model: str = "auto"
    models: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    strict: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None


class Responses(OpenAI):
    """The client side of Responses.

    The handler has put the whole conversation into the body. Errors have the form of Chat Completions.
    """

    name = NAME
    asked_in = "input"

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        fields = convert(body, ResponsesBody)
        for name, why in _STATEFUL.items():
            if body.get(name):
                raise problem(name, why)
        toolbox = Toolbox(body)
        choice, unread_choice = parse_tool_choice(toolbox.choice(fields.tool_choice))
        unread = (*unread_fields(body, ResponsesBody.__struct_fields__), *toolbox.hosted, *unread_choice)
        instructions = (Message(role="system", parts=(Text(text=fields.instructions),)),) if fields.instructions else ()
        return ChatRequest(
            id=request_id,
            messages=(*instructions, *parse_input(fields.input, toolbox)),
            model=fields.model,
            models=tuple(fields.models or ()),
            tools=toolbox.tools,
            tool_choice=choice,
            params=_params(fields),
            stream=bool(fields.stream),
            strict=fields.strict,
            metadata=fields.metadata or {},
            dialect=NAME,
            raw=body,
            unread=(*unread, *_unread_settings(fields)),
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged."""
        if completion.dialect == NAME:
            return completion.raw
        return msgspec.json.encode(response_object(request, completion, completion.usage or record.usage))

    def stream(self, request: ChatRequest, decision: Decision) -> ResponsesStream:
        """Make the renderer of one streamed answer."""
        return ResponsesStream(request)

    def render_count(self, input_tokens: int) -> bytes:
        """Render the body of `/v1/responses/input_tokens`."""
        return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": input_tokens})


def _params(fields: ResponsesBody) -> Params:
    form = object_at((fields.text or {}).get("format"), "text.format")
    reasoning = fields.reasoning or {}
    logprobs = fields.top_logprobs is not None or "message.output_text.logprobs" in (fields.include or ())
    return Params(
        max_tokens=fields.max_output_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        json_output=form.get("type") in ("json_object", "json_schema"),
        json_schema=parse_schema(form),
        effort=parse_effort(reasoning.get("effort")),
        show_thinking=bool(reasoning.get("summary") or reasoning.get("generate_summary")),
        logprobs=logprobs,
        top_logprobs=fields.top_logprobs,
        parallel_tool_calls=fields.parallel_tool_calls,
        user=fields.safety_identifier or fields.user or "",
        service_tier=fields.service_tier or "",
    )


def _unread_settings(fields: ResponsesBody) -> list[str]:
    """Return the names of unknown settings inside the fields that are read."""
    unread = [f"text.{key}" for key in fields.text or {} if key != "format"]
    unread += [f"reasoning.{key}" for key, value in (fields.reasoning or {}).items() if key not in _REASONING and value]
    return unread + [f"include {name}" for name in fields.include or () if name not in _INCLUDED]
