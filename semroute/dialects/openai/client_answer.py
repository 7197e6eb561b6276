"""Writes whole answers and errors in the form of Chat Completions. Streamed answers share some of it.

Source: https://platform.openai.com/docs/api-reference/chat/object.
"""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import msgspec

from semroute.dialects.openai.content import render_citation, render_signature
from semroute.dialects.shared import refusal_errors
from semroute.dialects.shared.custom_tools import text_of
from semroute.dialects.shared.error_kinds import Trouble, document, error_in_stream, error_kind
from semroute.errors import ProviderError, RequestError, SemrouteError
from semroute.messages import Part, Refusal, Text, Thinking, ToolCall


def render_message(parts: tuple[Part, ...], custom: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Render the `message` of an answer, without its role. `custom` are the names of tools that take plain text."""
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thinking = "".join(part.text for part in parts if isinstance(part, Thinking))
    refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
    calls = [_whole_call(part, custom) for part in parts if isinstance(part, ToolCall)]
    message: dict[str, Any] = {"content": text or (None if calls or refusal else ""), "refusal": refusal or None}
    if annotations := render_annotations(parts):
        message["annotations"] = annotations
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _whole_call(part: ToolCall, custom: frozenset[str]) -> dict[str, Any]:
    if part.name in custom:
        return custom_call(part)
    function = {"name": part.name, "arguments": part.arguments}
    return {"id": part.id, "type": "function", "function": function, **render_signature(part.signature)}


def custom_call(call: ToolCall) -> dict[str, Any]:
    """Render a call of a tool that takes plain text."""
    custom = {"name": call.name, "input": text_of(call.arguments)}
    return {"id": call.id, "type": "custom", "custom": custom, **render_signature(call.signature)}


def render_annotations(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Render the citations. Their positions count from the start of the joined text."""
    annotations, offset = [], 0
    for part in parts:
        if not isinstance(part, Text):
            continue
        for citation in part.citations:
            end = citation.end or len(part.text)
            moved = msgspec.structs.replace(citation, start=citation.start + offset, end=end + offset)
            annotations.append({"type": "url_citation", "url_citation": render_citation(moved)})
        offset += len(part.text)
    return annotations


# --- errors -----------------------------------------------------------------------------------------------------------


_WORDS: dict[Trouble, tuple[str, str]] = {
    "too_long": ("invalid_request_error", "context_length_exceeded"),
    "policy": ("invalid_request_error", "content_policy_violation"),
    "key": ("authentication_error", ""),
    "permission": ("permission_error", ""),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": ("service_unavailable_error", "server_is_overloaded"),
    "timeout": ("server_error", ""),
    "server": ("server_error", ""),
}
"""OpenAI's `type` and `code` of errors. Empty code: OpenAI has none, so semroute's is sent. All other errors are the
request's fault. Source: https://platform.openai.com/docs/guides/error-codes, November 2026."""


AskedIn = Literal["messages", "input", "prompt"]
"""The field in which an endpoint of OpenAI's takes what is asked."""


def at_own_field(error: dict[str, Any], asked_in: AskedIn) -> dict[str, Any]:
    """An error of OpenAI's, about what the caller asked: it stands in `asked_in`, whatever the provider was sent."""
    param = error.get("param")
    field = re.split(r"[.\[]", param, maxsplit=1)[0] if isinstance(param, str) else asked_in
    return {**error, "param": asked_in} if field != asked_in and field in get_args(AskedIn) else error


def error_body(error: SemrouteError, status: int, asked_in: AskedIn) -> dict[str, Any]:
    """Render an error in OpenAI's form."""
    known, message = refusal_errors.in_vendors_words(error, refusal_errors.OPENAI)
    if known is not None:
        fields = {"type": "invalid_request_error", "param": known.param, "code": known.codes[0]}
        return {"error": at_own_field({"message": message, **fields}, asked_in)}
    kind, code = _WORDS.get(error_kind(error, status), ("invalid_request_error", ""))
    vendors = code and isinstance(error, ProviderError)
    param = error.param if isinstance(error, RequestError) else None
    return {"error": {"message": message, "type": kind, "param": param, "code": code if vendors else error.code}}


def streamed_error_body(error: SemrouteError, status: int) -> dict[str, Any]:
    """Render an error inside a stream of chat. Fields of a provider's own error in OpenAI's form are passed on."""
    ours, own = error_body(error, status, "messages")["error"], own_error(error_in_stream(error))
    return {"error": at_own_field({**ours, **refusal_errors.own_fields(own, error, refusal_errors.OPENAI)}, "messages")}


def own_refusal(error: SemrouteError, asked_in: AskedIn) -> bytes | None:
    """Return the body of a provider's refusal, if it has OpenAI's form and the code that clients look for."""
    body = refusal_errors.refused_body(error)
    own = refusal_errors.own_fields(own_error(document(body)), error, refusal_errors.OPENAI)
    told = at_own_field(own, asked_in)
    return body if told is own and own else msgspec.json.encode({"error": told}) if own else None


def own_error(body: Any) -> dict[str, Any] | None:
    """Return the `error` of a body in OpenAI's form. None: the body has another form."""
    match body:
        case {"type": _} | {"error": {"status": _}}:
            return None  # the form of Anthropic, or of Gemini
        case {"error": {"message": str()}}:
            error: dict[str, Any] = body["error"]
            return error
        case _:
            return None
