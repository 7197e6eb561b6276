"""Reads and writes content in OpenAI's two dialects. Source: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semroute.dialects.gemini.content import SKIP_SIGNATURE
from semroute.dialects.shared.body_parsing import objects_of, problem, shown, without_empty
from semroute.messages import (
    Alternative,
    CacheTtl,
    ChatRequest,
    Citation,
    Document,
    Image,
    JsonSchema,
    Opaque,
    Part,
    Refusal,
    Text,
    TokenLogprob,
    Tool,
    ToolChoice,
    ToolMode,
    Usage,
)

NAME = "openai"
TOOL_MODES: tuple[ToolMode, ...] = ("auto", "none", "required")


# --- content parts of Chat Completions --------------------------------------------------------------------------------


def parse_content(content: str | list[dict[str, Any]] | None, path: str) -> tuple[Part, ...]:
    """Read the content of a message. Raises `RequestError`."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_parse_part(part, f"{path}[{number}]") for number, part in enumerate(content))


def _parse_part(part: dict[str, Any], path: str) -> Part:
    match part:
        case {"type": "text", "text": str(text)}:
            return Text(text=text, cache=parse_cache(part))
        case {"type": "refusal", "refusal": str(text)}:
            return Refusal(text=text)
        case {"type": "image_url", "image_url": {"url": str(url), **more}}:
            return Image(url=url, detail=str(more.get("detail") or ""), cache=parse_cache(part))
        case {"type": "file", "file": {"file_data": str(url), **more}}:
            return Document(url=url, name=str(more.get("filename") or ""), cache=parse_cache(part))
        case {"type": "text" | "refusal" | "image_url" as kind}:
            raise problem(path, f"got a part of type {kind!r} without its {kind!r}")
        case {"type": str(kind)}:
            return Opaque(kind=kind)
        case _:
            raise problem(f"{path}.type", f"got {shown(part.get('type'))}, expected the part's type, such as 'text'")


def parse_cache(part: Mapping[str, Any]) -> CacheTtl | None:
    """Read the cache mark of a part: OpenAI's, or Anthropic's, which other gateways take too."""
    match part:
        case {"cache_control": {"ttl": "1h"}}:
            return "1h"
        case {"cache_control": dict()} | {"prompt_cache_breakpoint": dict()}:
            return "5m"
        case _:
            return None


# --- tools ------------------------------------------------------------------------------------------------------------


def parse_tool_choice(choice: str | dict[str, Any] | None) -> tuple[ToolChoice | None, tuple[str, ...]]:
    """Read a tool choice. Also return notes on choices that only OpenAI knows. Raises `RequestError`."""
    match choice:
        case None:
            return None, ()
        case "auto" | "none" | "required":
            return ToolChoice(mode=next(mode for mode in TOOL_MODES if mode == choice)), ()
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return ToolChoice(mode="tool", name=name), ()
        case {"type": "custom", "custom": {"name": str(name)}}:
            return ToolChoice(mode="tool", name=name), ()
        case {"type": "allowed_tools", "allowed_tools": {"mode": "required"}} | {
            "type": "allowed_tools",
            "mode": "required",
        }:
            return ToolChoice(mode="required"), ("tool_choice allowed_tools",)
        case {"type": str(kind)} if kind != "function":
            return None, (f"tool_choice {kind}",)
        case _:
            expected = "expected one of auto, none, required, or a function's name"
            raise problem("tool_choice", f"got {shown(choice)}, {expected}")


def parse_function(function: Mapping[str, Any], path: str) -> Tool:
    """Read the definition of a tool. Raises `RequestError`."""
    name = function.get("name")
    if not isinstance(name, str):
        raise problem(f"{path}.name", f"got {shown(name)}, expected the function's name")
    parameters = function.get("parameters")
    return Tool(
        name=name,
        description=str(function.get("description") or ""),
        parameters=parameters if isinstance(parameters, dict) else {},
        strict=parse_flag(function.get("strict")),
    )


def render_function(tool: Tool) -> dict[str, Any]:
    """Render the definition of a tool."""
    fields = without_empty({"description": tool.description or None, "strict": tool.strict})
    return {"name": tool.name, **fields, "parameters": tool.parameters or {"type": "object", "properties": {}}}


def custom_names(request: ChatRequest) -> frozenset[str]:
    """Return the names of the caller's tools that take plain text."""
    tools = request.raw.get("tools") if request.dialect == NAME and request.tools else None
    return frozenset(
        tool["custom"]["name"] for tool in tools or () if tool.get("type") == "custom" and tool.get("custom")
    )


# --- signatures that Gemini puts on calls of tools --------------------------------------------------------------------


SIGNATURE_FIELD = "extra_content"


def render_signature(signature: str) -> dict[str, Any]:
    """Render the field of a call that holds its signature, if it has one."""
    return {SIGNATURE_FIELD: {"google": {"thought_signature": signature}}} if signature else {}


def parse_signature(extra_content: object) -> str:
    """Read the signature in that field. Empty: there is none."""
    match extra_content:
        case {"google": {"thought_signature": str(signature)}}:
            return signature
        case _:
            return ""


def without(fields: frozenset[str], messages: list[Any]) -> list[Any]:
    """Remove fields from messages and from their calls."""
    return [
        _without(fields, message)
        if isinstance(message, dict) and ("tool_calls" in message or not fields.isdisjoint(message))
        else message
        for message in messages
    ]


def _without(fields: frozenset[str], said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    said = {name: value for name, value in said.items() if name not in fields}
    if isinstance(calls := said.get("tool_calls"), list):
        said["tool_calls"] = [_without(fields, call) for call in calls]
    return said


def with_signatures(messages: list[Any]) -> list[Any]:
    """Put a mark on calls of other models, which have no signature. Gemini 3 refuses calls without one."""
    return [_signed(message) for message in messages]


def _signed(message: Any) -> Any:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) for call in calls):
        return message
    if any(parse_signature(call.get(SIGNATURE_FIELD)) for call in calls):  # Gemini signs the first of several
        return message
    return {**message, "tool_calls": [{**calls[0], **render_signature(SKIP_SIGNATURE)}, *calls[1:]]}


# --- settings ---------------------------------------------------------------------------------------------------------


def parse_schema(fields: Mapping[str, Any] | None) -> JsonSchema | None:
    """Read the schema of a response format of type `json_schema`."""
    match fields:
        case {"schema": dict(document), **more}:
            return JsonSchema(
                document=document,
                name=str(more.get("name") or "answer"),
                description=str(more.get("description") or ""),
                strict=parse_flag(more.get("strict")),
            )
        case _:
            return None


def parse_flag(value: object) -> bool | None:
    """Return True or False, or None for anything else."""
    return value if isinstance(value, bool) else None


def render_schema(schema: JsonSchema) -> dict[str, Any]:
    """Render the schema of a response format of type `json_schema`."""
    fields = without_empty({"description": schema.description or None, "strict": schema.strict})
    return {"name": schema.name, **fields, "schema": schema.document}


# --- answers ----------------------------------------------------------------------------------------------------------


def render_logprobs(logprobs: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Render log-probabilities."""
    return [
        {**_logprob(token), "top_logprobs": [_logprob(alternative) for alternative in token.top]} for token in logprobs
    ]


def _logprob(token: Alternative) -> dict[str, Any]:
    encoded = token.token.encode("utf-8", "surrogatepass")
    return {"token": token.token, "logprob": token.logprob, "bytes": list(encoded)}


def parse_logprobs(tokens: object) -> tuple[TokenLogprob, ...]:
    """Read a list of log-probabilities. Malformed ones are left out."""
    found: list[TokenLogprob] = []
    for each in _list(tokens):
        match each:
            case {"token": str(token), "logprob": float() | int() as logprob, **more}:
                top = parse_logprobs(more.get("top_logprobs"))
                alternatives = tuple(Alternative(token=other.token, logprob=other.logprob) for other in top)
                found.append(TokenLogprob(token=token, logprob=logprob, top=alternatives))
    return tuple(found)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def parse_citations(annotations: object) -> tuple[Citation, ...]:
    """Read each `url_citation` in a list, of either dialect. Other annotations are left out."""
    cited = [each for each in objects_of(annotations) if each.get("type") == "url_citation"]
    return tuple(_citation(each.get("url_citation") or each) for each in cited)


def _citation(fields: Mapping[str, Any]) -> Citation:
    return Citation(
        url=str(fields.get("url") or ""),
        title=str(fields.get("title") or ""),
        start=int(fields.get("start_index") or 0),
        end=int(fields.get("end_index") or 0),
    )


def render_citation(citation: Citation) -> dict[str, Any]:
    """Render the fields of a `url_citation`."""
    return {
        "url": citation.url,
        "title": citation.title,
        "start_index": citation.start,
        "end_index": citation.end,
    }


def render_usage(usage: Usage) -> dict[str, Any]:
    """Render usage. Totals include cached and reasoning tokens. `estimated`: the provider did not count."""
    rendered: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return {**rendered, "estimated": True} if usage.estimated else rendered


def drop_logprobs(answer: dict[str, Any]) -> None:
    """Remove the log-probabilities from a provider's answer. The field is `null` if nobody asked.

    Source: https://platform.openai.com/docs/api-reference/chat/object.
    """
    for choice in objects_of(answer.get("choices")):
        if "logprobs" in choice:
            choice["logprobs"] = None


def thinking_chunk(text: str) -> dict[str, Any]:
    """Render a thought as part of a message's content. Source: https://docs.mistral.ai/api/#tag/chat."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
