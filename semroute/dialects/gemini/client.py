"""The client side of Google's Gemini API. Source: https://ai.google.dev/api/generate-content.

The path names the model, and whether to stream. The handler adds both to the caller's body as `model` and `stream`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.decision import Decision
from semroute.dialects.gemini.client_answer import answer, error_body
from semroute.dialects.gemini.client_stream import GeminiStream
from semroute.dialects.gemini.content import NAME, as_written, camel_case, camel_names, parse_part
from semroute.dialects.shared.alternating_turns import user_turn
from semroute.dialects.shared.body_parsing import (
    convert,
    error_moved_to,
    media_of,
    object_at,
    objects,
    problem,
    shown,
    unread_fields,
)
from semroute.errors import RequestError, SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    Effort,
    JsonSchema,
    Message,
    Params,
    Part,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from semroute.record import Record

_NO_KEYWORDS = ("nullable", "propertyOrdering", "example")
"""Keywords of Gemini's schemas that JSON Schema does not have."""
_SCHEMAS = ("items", "anyOf", "additionalProperties")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
"""Keywords with an int64 as their value, which Google writes as text."""
_EFFORTS: dict[str, Effort] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}
_MODES: dict[str, ToolMode] = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}


class _Content(msgspec.Struct):
    role: str = "user"
    parts: list[Any] | None = None


class _Thinking(msgspec.Struct):
    includeThoughts: bool | None = None
    thinkingBudget: int | None = None
    thinkingLevel: str | None = None


class _Config(msgspec.Struct):
    maxOutputTokens: int | None = None
    temperature: float | None = None
    topP: float | None = None
    topK: int | float | None = None
    candidateCount: int | None = None
    frequencyPenalty: float | None = None
    presencePenalty: float | None = None
    stopSequences: list[str] | None = None
    seed: int | None = None
    responseLogprobs: bool | None = None
    logprobs: int | None = None
    responseMimeType: str | None = None
    responseJsonSchema: dict[str, Any] | None = None
    responseSchema: dict[str, Any] | None = None
    thinkingConfig: _Thinking | None = None


class _Calling(msgspec.Struct):
    mode: str = "AUTO"
    allowedFunctionNames: list[str] | None = None


class _ToolConfig(msgspec.Struct):
    functionCallingConfig: _Calling | None = None


class GenerateContentBody(msgspec.Struct):
    """The fields that semroute reads. All others reach a provider of this dialect unchanged."""

    contents: list[_Content]
    model: str = "auto"
    models: list[str] | None = None
    stream: bool = False
    strict: bool = False
    metadata: dict[str, Any] | None = None
    systemInstruction: _Content | None = None
    tools: list[Any] | None = None
    toolConfig: _ToolConfig | None = None
    generationConfig: _Config | None = None
    serviceTier: str | None = None


class Gemini:
    """The client side of Gemini's dialect."""

    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        raw = {key: value for key, value in body.items() if key not in ("model", "stream")}
        read = camel_case(body)
        try:
            fields = convert(read, GenerateContentBody)
            if not fields.contents:
                raise problem("contents", "got an empty list, expected at least one content")
            tools, hosted = _tools(fields.tools)
            config = read.get("generationConfig") or {}
            unread_config = [f"generationConfig.{name}" for name in unread_fields(config, _Config.__struct_fields__)]
            return ChatRequest(
                id=request_id,
                messages=_messages(fields),
                model=fields.model,
                models=tuple(fields.models or ()),
                tools=tools,
                tool_choice=_tool_choice(fields.toolConfig),
                params=_params(fields),
                stream=fields.stream,
                strict=fields.strict,
                metadata=fields.metadata or {},
                dialect=NAME,
                raw=raw,
                unread=(*unread_fields(read, GenerateContentBody.__struct_fields__), *unread_config, *hosted),
            )
        except RequestError as error:
            raise as_written(error, body) from None

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged."""
        if completion.dialect == NAME:
            return completion.raw
        return msgspec.json.encode(answer(completion, completion.usage or record.usage, record.request_id))

    def stream(self, request: ChatRequest, decision: Decision) -> GeminiStream:
        """Make the renderer of one streamed answer."""
        return GeminiStream(request)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render an error."""
        return msgspec.json.encode(error_body(error, status))


class CountedGemini(Gemini):
    """The client side of `countTokens`. The body is a request for an answer, or holds one."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        inner = camel_names(body).get("generateContentRequest")
        if inner is None:
            return super().parse_request(body, request_id)
        fields = {**object_at(inner, "generateContentRequest"), "model": body.get("model", "auto")}
        try:
            return super().parse_request(fields, request_id)
        except RequestError as error:
            raise as_written(error_moved_to(error, f"generateContentRequest.{error.param}"), body) from None

    def render_count(self, input_tokens: int) -> bytes:
        """Render the body of `countTokens`."""
        details = [{"modality": "TEXT", "tokenCount": input_tokens}]
        return msgspec.json.encode({"totalTokens": input_tokens, "promptTokensDetails": details})


def _messages(fields: GenerateContentBody) -> tuple[Message, ...]:
    messages: list[Message] = []
    ids: dict[str, list[str]] = {}
    if fields.systemInstruction is not None:
        parts = _parts(fields.systemInstruction, "systemInstruction.parts", ids)
        messages.append(Message(role="system", parts=parts))
    for number, content in enumerate(fields.contents):
        if content.role not in ("user", "model", "function"):
            raise problem(f"contents[{number}].role", f"got {shown(content.role)}, expected one of user, model")
        if content.parts is None and content.role != "model":  # a model's own empty turn may come back
            raise problem(f"contents[{number}].parts", "it is missing, expected a list of parts")
        parts = _parts(content, f"contents[{number}].parts", ids)
        messages.append(Message(role="assistant", parts=parts) if content.role == "model" else user_turn(parts))
    return tuple(messages)


def _parts(content: _Content, path: str, ids: dict[str, list[str]]) -> tuple[Part, ...]:
    """Read the parts of a content. `ids` are those of the calls without a result, by function name, oldest first."""
    parts: list[Part] = []
    calls = 0
    for number, part in enumerate(objects(content.parts, path)):
        match part:
            case {"functionResponse": dict(response)}:
                parts.append(_result(response, ids, f"{path}[{number}]"))
                continue
        parsed = parse_part(part, calls, path)
        if isinstance(parsed, ToolCall):
            calls += 1
            ids.setdefault(parsed.name, []).append(parsed.id)
        if parsed is not None:
            parts.append(parsed)
    return tuple(parts)


def _result(response: dict[str, Any], ids: dict[str, list[str]], path: str) -> ToolResult:
    name = str(response.get("name") or "")
    waiting = ids.get(name) or [name]
    id_ = str(response.get("id") or waiting[0])
    if id_ in waiting:
        waiting.remove(id_)
    answered = response.get("response")
    answered = answered if isinstance(answered, dict) else {}
    key = next((key for key in ("error", "output") if answered.keys() == {key}), "")
    value = answered[key] if key else answered
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = [parse_part(part, 0, path) for part in objects(response.get("parts"), f"{path}.functionResponse.parts")]
    return ToolResult(
        id=id_, text=text, media=media_of(part for part in shown if part is not None), is_error=key == "error"
    )


def _tools(tools: list[Any] | None) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Return the caller's functions, and the names of the tools that only Google can run."""
    functions: list[Tool] = []
    hosted: list[str] = []
    for number, tool in enumerate(objects(tools, "tools")):
        hosted += [f"tools.{kind}" for kind in tool if kind != "functionDeclarations"]
        declared = tool.get("functionDeclarations")
        path = f"tools[{number}].functionDeclarations"
        for place, function in enumerate(objects(declared, path)):
            functions.append(_function(function, f"{path}[{place}]"))
    return tuple(functions), tuple(hosted)


def _function(function: dict[str, Any], path: str) -> Tool:
    name, own = function.get("name"), function.get("parametersJsonSchema")
    if not isinstance(name, str):
        raise problem(f"{path}.name", f"got {shown(name)}, expected the function's name")
    schema = object_at(own, f"{path}.parametersJsonSchema") or json_schema(
        object_at(function.get("parameters"), f"{path}.parameters")
    )
    return Tool(name=name, description=str(function.get("description") or ""), parameters=schema)


def json_schema(schema: Any) -> Any:
    """Turn a schema of Gemini's own kind into a JSON Schema. Gemini's has types in capitals, and `nullable`."""
    if isinstance(schema, list):
        return [json_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _keyword(key, value) for key, value in camel_names(schema).items() if key not in _NO_KEYWORDS}
    if isinstance(schema.get("type"), str):
        kind = schema["type"].lower()
        converted["type"] = [kind, "null"] if schema.get("nullable") else kind
    return converted


def _keyword(name: str, value: Any) -> Any:
    if name == "properties" and isinstance(value, dict):
        return {property_name: json_schema(schema) for property_name, schema in value.items()}
    if name in _SCHEMAS:
        return json_schema(value)
    return int(value) if name in _COUNTS and isinstance(value, str) and value.isdecimal() else value


def _tool_choice(config: _ToolConfig | None) -> ToolChoice | None:
    calling = config.functionCallingConfig if config else None
    if calling is None:
        return None
    names = calling.allowedFunctionNames or []
    if len(names) == 1 and calling.mode == "ANY":
        return ToolChoice(mode="tool", name=names[0])
    return ToolChoice(mode=_MODES.get(calling.mode, "auto"))


def _params(fields: GenerateContentBody) -> Params:
    config = fields.generationConfig or _Config()
    thinking = config.thinkingConfig or _Thinking()
    schema = config.responseJsonSchema or json_schema(config.responseSchema)
    return Params(
        max_tokens=config.maxOutputTokens,
        temperature=config.temperature,
        top_p=config.topP,
        top_k=None if config.topK is None else int(config.topK),
        frequency_penalty=config.frequencyPenalty,
        presence_penalty=config.presencePenalty,
        stop=tuple(config.stopSequences or ()),
        seed=config.seed,
        n=config.candidateCount,
        json_output=config.responseMimeType == "application/json",
        json_schema=JsonSchema(document=schema) if schema else None,
        effort=_EFFORTS.get((thinking.thinkingLevel or "").lower()),
        thinking_tokens=thinking.thinkingBudget,
        show_thinking=bool(thinking.includeThoughts),
        logprobs=bool(config.responseLogprobs),
        top_logprobs=config.logprobs,
        service_tier=_TIERS.get((fields.serviceTier or "").lower(), ""),
    )
