"""The client side of Anthropic Messages. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from semroute.decision import Decision
from semroute.dialects.anthropic.client_answer import (
    error_body,
    own_error,
    render_blocks,
    render_usage,
    stop_details,
    stop_reason,
)
from semroute.dialects.anthropic.client_stream import AnthropicStream
from semroute.dialects.anthropic.content import NAME, parse_cache, parse_content
from semroute.dialects.anthropic.tools import known_tool
from semroute.dialects.shared.alternating_turns import user_turn
from semroute.dialects.shared.body_parsing import (
    MISSING_CONTENT,
    convert,
    object_at,
    objects,
    problem,
    shown,
    unread_fields,
)
from semroute.dialects.shared.error_kinds import document
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.dialects.shared.refusal_errors import ANTHROPIC, own_fields, refused_body
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    JsonSchema,
    Message,
    Params,
    Refusal,
    Tool,
    ToolChoice,
    ToolMode,
)
from semroute.record import Record

_TOOL_MODES: dict[str, ToolMode] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_TIERS = {"auto": "auto", "standard_only": "default"}
_THINKING = {"adaptive": -1, "disabled": 0, "between_tools": 0}
"""The thinking tokens by type of thinking. -1: as many as the model likes."""


class _Message(msgspec.Struct):
    role: str
    content: str | list[Any] | UnsetType | None = UNSET


class MessagesBody(msgspec.Struct):
    """The fields that semroute reads. All others reach a provider of this dialect unchanged."""

    messages: list[_Message]
    model: str = "auto"
    models: list[str] | None = None
    max_tokens: int | None = None
    system: str | list[Any] | None = None
    tools: list[Any] | None = None
    tool_choice: dict[str, Any] | None = None
    stream: bool | None = None
    strict: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None


class Anthropic:
    """The client side of Anthropic's dialect."""

    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        fields = convert(body, MessagesBody)
        if not fields.messages:
            raise problem("messages", "got an empty list, expected at least one message")
        tools, hosted = _tools(fields.tools)
        return ChatRequest(
            id=request_id,
            messages=_messages(fields),
            model=fields.model,
            models=tuple(fields.models or ()),
            tools=tools,
            tool_choice=_tool_choice(fields.tool_choice),
            params=_params(fields),
            stream=bool(fields.stream),
            strict=fields.strict,
            metadata=fields.metadata or {},
            dialect=NAME,
            raw=body,
            unread=(*unread_fields(body, MessagesBody.__struct_fields__), *hosted, *_unread_settings(fields)),
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged."""
        if completion.dialect == NAME:
            return completion.raw
        return msgspec.json.encode(
            {
                "id": f"msg_{record.request_id}",
                "type": "message",
                "role": "assistant",
                "model": completion.model,
                "content": render_blocks(completion.parts),
                "stop_reason": stop_reason(completion.finish_reason, completion.stop_sequence),
                "stop_sequence": completion.stop_sequence,
                **stop_details(completion.finish_reason, _refused(completion)),
                "usage": render_usage(completion.usage or record.usage, completion.service_tier),
            }
        )

    def stream(self, request: ChatRequest, decision: Decision) -> AnthropicStream:
        """Make the renderer of one streamed answer."""
        return AnthropicStream(request, decision.estimate.input_tokens)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render an error. A provider's own refusal in this dialect is passed on unchanged."""
        body = refused_body(error)
        own = own_fields(own_error(document(body)), error, ANTHROPIC)
        return body if body and own else error_body(error, status, request_id)

    def render_count(self, input_tokens: int) -> bytes:
        """Render the body of `/v1/messages/count_tokens`."""
        return msgspec.json.encode({"input_tokens": input_tokens})


def _refused(completion: Completion) -> str:
    return "".join(part.text for part in completion.parts if isinstance(part, Refusal))


def _messages(fields: MessagesBody) -> tuple[Message, ...]:
    messages: list[Message] = []
    if fields.system:
        messages.append(Message(role="system", parts=parse_content(fields.system, "system")))
    for number, message in enumerate(fields.messages):
        path = f"messages[{number}]"
        parts = () if message.content is UNSET else parse_content(message.content, f"{path}.content")
        match message.role:
            case "user":
                messages.append(user_turn(parts))
            case "assistant":
                messages.append(Message(role="assistant", parts=parts))
            case "system":
                messages.append(Message(role="system", parts=parts))
            case other:
                raise problem(f"{path}.role", f"got {shown(other)}, expected one of user, assistant, system")
        if message.content is UNSET and message.role != "assistant":
            raise problem(f"{path}.content", MISSING_CONTENT)
    return tuple(messages)


def _tools(tools: list[Any] | None) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Return the caller's functions, and the types of the tools that only Anthropic can run."""
    functions: list[Tool] = []
    hosted: list[str] = []
    for number, tool in enumerate(objects(tools, "tools")):
        if (kind := tool.get("type") or "custom") != "custom":
            if (known := known_tool(tool)) is not None:
                functions.append(known)
            else:
                hosted.append(f"tools {kind}")
            continue
        match tool:
            case {"name": str(name), "input_schema": dict(schema)}:
                functions.append(
                    Tool(
                        name=name,
                        description=str(tool.get("description") or ""),
                        parameters=schema,
                        strict=tool.get("strict"),
                        cache=parse_cache(tool),
                    )
                )
            case {"name": str()}:
                got = shown(tool.get("input_schema"))
                raise problem(f"tools[{number}].input_schema", f"got {got}, expected an object")
            case _:
                raise problem(f"tools[{number}].name", f"got {shown(tool.get('name'))}, expected the tool's name")
    return tuple(functions), tuple(hosted)


def _tool_choice(choice: dict[str, Any] | None) -> ToolChoice | None:
    if choice is None:
        return None
    mode = _TOOL_MODES.get(str(choice.get("type")))
    if mode is None:
        raise problem("tool_choice.type", f"got {shown(choice.get('type'))}, expected one of {', '.join(_TOOL_MODES)}")
    return ToolChoice(mode=mode, name=str(choice.get("name") or "") if mode == "tool" else "")


def _params(fields: MessagesBody) -> Params:
    output, thinking = fields.output_config or {}, fields.thinking or {}
    schema = object_at(output.get("format"), "output_config.format").get("schema")
    effort = output.get("effort")
    kind = thinking.get("type")
    serial = (fields.tool_choice or {}).get("disable_parallel_tool_use")
    return Params(
        max_tokens=fields.max_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=fields.top_k,
        stop=tuple(fields.stop_sequences or ()),
        json_output=isinstance(schema, dict),
        json_schema=JsonSchema(document=schema) if isinstance(schema, dict) else None,
        effort=parse_effort(effort),
        thinking_tokens=thinking.get("budget_tokens") if kind == "enabled" else _THINKING.get(str(kind)),
        show_thinking=thinking.get("display") == "summarized" or (kind == "enabled" and "display" not in thinking),
        parallel_tool_calls=None if serial is None else not serial,
        user=str((fields.metadata or {}).get("user_id") or ""),
        service_tier=_TIERS.get(fields.service_tier or "", ""),
    )


def _unread_settings(fields: MessagesBody) -> list[str]:
    """Return the names of unknown settings inside the fields that are read."""
    unread = [f"output_config.{key}" for key in fields.output_config or {} if key not in ("effort", "format")]
    if (kind := (fields.thinking or {}).get("type")) not in (None, "enabled", "adaptive", "disabled"):
        unread.append(f"thinking.type {kind}")
    if fields.service_tier and fields.service_tier not in _TIERS:
        unread.append("service_tier")
    return unread
