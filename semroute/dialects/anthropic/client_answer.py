"""Writes whole answers and errors in Anthropic's form. Streamed answers share some of it.

Source: https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from semroute.dialects.anthropic.content import NAME
from semroute.dialects.shared.body_parsing import object_of
from semroute.dialects.shared.error_kinds import Trouble, error_in_stream, error_kind
from semroute.dialects.shared.refusal_errors import ANTHROPIC, in_vendors_words, own_fields
from semroute.dialects.shared.thinking import seal, signed_id
from semroute.errors import SemrouteError
from semroute.messages import (
    Citation,
    FinishReason,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

_TIERS = {"default": "standard", "priority": "priority", "batch": "batch"}
_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def render_blocks(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Render the content blocks of a whole answer."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Text(text=text, citations=citations):
                cited = {"citations": [render_citation(citation) for citation in citations]} if citations else {}
                blocks.append({"type": "text", "text": text, **cited})
            case Refusal(text=text):
                blocks.append({"type": "text", "text": text})
            case Thinking():
                blocks.append(thinking_block(part))
            case ToolCall(name=name, arguments=arguments):
                blocks.append({"type": "tool_use", "id": signed_id(part), "name": name, "input": object_of(arguments)})
            case _:
                pass
    return blocks


def thinking_block(part: Thinking) -> dict[str, Any]:
    """Render a thought as a content block."""
    signature = seal(part, NAME)
    if part.redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def render_citation(citation: Citation) -> dict[str, Any]:
    """Render a citation: as a web search result if it has a URL, else as a place in a document."""
    if citation.url:
        return {
            "type": "web_search_result_location",
            "url": citation.url,
            "title": citation.title,
            "cited_text": citation.quote,
            "encrypted_index": "",
        }
    return {
        "type": "char_location",
        "cited_text": citation.quote,
        "document_index": 0,
        "document_title": citation.title or None,
        "start_char_index": 0,
        "end_char_index": len(citation.quote),
        "file_id": None,
    }


def stop_reason(finish_reason: FinishReason, stop_sequence: str | None) -> str:
    """Return Anthropic's name of a finish reason."""
    return "stop_sequence" if stop_sequence is not None else _STOP_REASONS[finish_reason]


def stop_details(finish_reason: FinishReason | None, refused: str) -> dict[str, Any]:
    """Render `stop_details`, which say why the model declined. Empty if it did not decline.

    Source: https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback, 2026-11-30.
    """
    if finish_reason != "content_filter":
        return {}
    return {"stop_details": {"type": "refusal", "category": None, "explanation": refused or None}}


def render_usage(usage: Usage, tier: str = "") -> dict[str, Any]:
    """Render Anthropic's usage. Its `input_tokens` leave out tokens that were read from the cache or written to it."""
    fresh_tokens = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    rendered: dict[str, Any] = {
        "input_tokens": max(0, fresh_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.cache_write_1h_tokens:
        rendered["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        }
    if usage.reasoning_tokens:
        rendered["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if tier in _TIERS:
        rendered["service_tier"] = _TIERS[tier]
    return rendered


# --- errors -----------------------------------------------------------------------------------------------------------


_ERROR_TYPES: dict[Trouble, str] = {
    "key": "authentication_error",
    "quota": "billing_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "rate_limit": "rate_limit_error",
    "timeout": "timeout_error",
    "overloaded": "overloaded_error",
    "server": "api_error",
}
"""Anthropic's error types. All other errors are the request's fault, `invalid_request_error`. Source:
https://platform.claude.com/docs/en/api/errors, November 2026."""


def error_body(
    error: SemrouteError, status: int, request_id: str, own: Mapping[str, Any] = MappingProxyType({})
) -> bytes:
    """Render an error. `own` holds fields of the provider's own error, which replace ours."""
    kind = _ERROR_TYPES.get(error_kind(error, status), "invalid_request_error")
    message = in_vendors_words(error, ANTHROPIC, _dotted)[1]
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message, **own}}
    return msgspec.json.encode({**body, "request_id": request_id} if request_id else body)


def _dotted(path: str) -> str:
    """A field's path as Anthropic writes it: `messages.0.content`."""
    return path.replace("[", ".").replace("]", "")


def streamed_error(request_id: str, error: SemrouteError, status: int) -> bytes:
    """Render the data of an error event. Fields of a provider's own error in Anthropic's form are passed on."""
    own = own_fields(own_error(error_in_stream(error)), error, ANTHROPIC)
    return error_body(error, status, request_id, own)


def own_error(body: Any) -> dict[str, Any] | None:
    """Return the `error` of a body in Anthropic's form. None: the body has another form."""
    match body:
        case {"type": "error", "error": {"code": _}}:
            return None  # the form of OpenAI's Responses
        case {"type": "error", "error": {"type": str(), "message": str()}}:
            error: dict[str, Any] = body["error"]
            return error
        case _:
            return None
