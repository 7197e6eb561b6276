"""Writes the `response` object. Source: https://platform.openai.com/docs/api-reference/responses/object."""

from __future__ import annotations

import time
from typing import Any

from semroute.dialects.openai.client_answer import at_own_field, error_body
from semroute.dialects.openai.content import render_function, render_logprobs, render_schema
from semroute.dialects.responses.content import NAME, render_reasoning, render_text
from semroute.dialects.responses.tools import Toolbox, render_call, render_tool_choice, toolbox_of
from semroute.dialects.shared.error_kinds import Trouble, error_in_stream, error_kind
from semroute.dialects.shared.refusal_errors import OPENAI, own_fields
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    FinishReason,
    Params,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_object(request: ChatRequest, completion: Completion, usage: Usage) -> dict[str, Any]:
    """Render a whole answer."""
    body = empty_response(request, completion.model)
    output = output_items(request, completion)
    return closed(body, output, completion.finish_reason, usage, completion.service_tier)


def empty_response(request: ChatRequest, model: str) -> dict[str, Any]:
    """Render an answer that has just begun. It repeats the settings of the request."""
    params = request.params
    return {
        "id": f"resp_{request.id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.raw.get("instructions"),
        "max_output_tokens": params.max_tokens,
        "metadata": request.metadata,
        "model": model,
        "output": [],
        "parallel_tool_calls": params.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": params.effort, "summary": None},
        "service_tier": params.service_tier or "default",
        "store": False,
        "temperature": 1.0 if params.temperature is None else params.temperature,
        "text": {"format": _text_format(params)},
        "tool_choice": render_tool_choice(request.tool_choice) if request.tool_choice else "auto",
        "tools": _tools(request),
        "top_logprobs": params.top_logprobs or 0,
        "top_p": 1.0 if params.top_p is None else params.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": params.user or None,
    }


def closed(
    body: dict[str, Any], output: list[dict[str, Any]], finish_reason: FinishReason, usage: Usage, tier: str
) -> dict[str, Any]:
    """Complete the body of an answer that has ended."""
    incomplete = _INCOMPLETE.get(finish_reason)
    return {
        **body,
        "status": "incomplete" if incomplete else "completed",
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": output,
        "service_tier": tier or body.get("service_tier"),
        "usage": render_usage(usage),
    }


def failed(
    body: dict[str, Any], output: list[dict[str, Any]], error: dict[str, Any], usage: Usage | None
) -> dict[str, Any]:
    """Complete the body of an answer that broke off."""
    return {
        **body,
        "status": "failed",
        "error": {"code": error["code"], "message": error["message"]},
        "output": output or body.get("output") or [],
        "usage": render_usage(usage) if usage is not None else None,
    }


def render_usage(usage: Usage) -> dict[str, Any]:
    """Render usage. Totals include cached and reasoning tokens."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def output_items(request: ChatRequest, completion: Completion) -> list[dict[str, Any]]:
    """Render thoughts, messages and calls, in order. Texts in a row become one message."""
    items: list[dict[str, Any]] = []
    toolbox: Toolbox | None = None
    logprobs = render_logprobs(completion.logprobs)
    for part in completion.parts:
        number = len(items)
        match part:
            case Text() | Refusal():
                if not items or items[-1]["type"] != "message":
                    items.append(message_item(request, number))
                items[-1]["content"].append(content_part(part, logprobs))
                logprobs = []  # the first text holds those of the whole answer
            case Thinking():
                items.append(render_reasoning(part, f"rs_{request.id}_{number}"))
            case ToolCall():
                toolbox = toolbox or toolbox_of(request)
                items.append(render_call(number, request.id, part, toolbox.origin(part.name), "completed"))
            case _:
                pass
    return items


def content_part(part: Part, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Render a text or a refusal of a message."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    text = part if isinstance(part, Text) else Text(text="")
    return {**render_text(text), "logprobs": logprobs}


def message_item(request: ChatRequest, number: int, status: str = "completed") -> dict[str, Any]:
    """Render a message without content."""
    id_ = f"msg_{request.id}_{number}"
    return {"type": "message", "id": id_, "status": status, "role": "assistant", "content": []}


def _tools(request: ChatRequest) -> list[Any]:
    """Render the tools as the caller declared them, with all fields."""
    declared = request.raw.get("tools") if request.dialect == NAME else None
    if isinstance(declared, list):
        return [{"strict": None, **tool} if tool.get("type") == "function" else tool for tool in declared]
    return [{"type": "function", **render_function(tool), "strict": tool.strict} for tool in request.tools]


def _text_format(params: Params) -> dict[str, Any]:
    if params.json_schema is not None:
        return {"type": "json_schema", "description": None, "strict": None, **render_schema(params.json_schema)}
    return {"type": "json_object" if params.json_output else "text"}


# --- errors inside a stream -------------------------------------------------------------------------------------------


_CODES: dict[Trouble, str] = {
    "too_long": "context_length_exceeded",
    "quota": "insufficient_quota",
    "rate_limit": "rate_limit_exceeded",
    "overloaded": "server_is_overloaded",
    "timeout": "server_error",
    "server": "server_error",
}
_BAD_REQUEST = "invalid_prompt"
"""The code of all other errors, which are the request's fault. Codex tries again after every code that it does not
know."""


def streamed_error(error: SemrouteError, status: int) -> dict[str, Any]:
    """Render the fields of an error. A provider's own error in OpenAI's form is passed on."""
    ours, own = error_body(error, status, "input")["error"], _own_error(error_in_stream(error))
    code = _CODES.get(error_kind(error, status), _BAD_REQUEST)
    return at_own_field({**ours, "code": code, **own_fields(own, error, OPENAI)}, "input")


def _own_error(body: Any) -> dict[str, Any] | None:
    """Return the error in an event of OpenAI's form, from its top or from `error`. None: it has another form."""
    match body:
        case {"error": {"code": str(), "message": str()} as error}:
            return {name: error[name] for name in ("type", "code", "message", "param") if name in error}
        case {"type": "error", "code": str(code), "message": str(message)}:
            return {"code": code, "message": message, "param": body.get("param")}
        case _:
            return None
