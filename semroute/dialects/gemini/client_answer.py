"""Writes whole answers and errors in Gemini's form. Streamed answers share some of it.

Source: https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from typing import Any

from semroute.dialects.gemini.content import render_signature
from semroute.dialects.shared.body_parsing import object_of
from semroute.dialects.shared.error_kinds import Trouble, error_kind
from semroute.dialects.shared.refusal_errors import GEMINI, in_vendors_words
from semroute.errors import RequestError, SemrouteError
from semroute.messages import (
    Citation,
    Completion,
    FinishReason,
    Part,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    Usage,
)

_FINISH_REASONS: dict[FinishReason, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}


def answer(completion: Completion, usage: Usage, request_id: str) -> dict[str, Any]:
    """Render a whole answer."""
    candidate = render_candidate(completion.parts, completion.finish_reason, completion.logprobs)
    return render_piece(candidate, usage, completion.service_tier, completion.model, request_id)


def render_piece(
    candidate: dict[str, Any], usage: Usage | None, tier: str, model: str, request_id: str
) -> dict[str, Any]:
    """Render an answer, or an event with a piece of one."""
    served = {"serviceTier": _TIERS[tier]} if tier in _TIERS else {}
    counted = {"usageMetadata": {**_usage(usage), **served}} if usage is not None else {}
    return {"candidates": [candidate], **counted, "modelVersion": model, "responseId": request_id}


def render_candidate(
    parts: tuple[Part, ...], finish_reason: FinishReason | None, logprobs: tuple[TokenLogprob, ...] = ()
) -> dict[str, Any]:
    """Render a candidate: the content, and why it ended."""
    rendered = [shown for part in parts if (shown := _part(part)) is not None]
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": rendered}, "index": 0}
    if finish_reason is not None:
        candidate["finishReason"] = _FINISH_REASONS[finish_reason]
    cited = [_cited(citation) for part in parts if isinstance(part, Text) for citation in part.citations]
    if cited:
        candidate["citationMetadata"] = {"citationSources": cited}
    if logprobs:
        candidate["logprobsResult"] = _logprobs(logprobs)
    return candidate


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text=text) | Refusal(text=text):
            return {"text": text} if text else None
        case Thinking(text=text):
            signature = render_signature(part)
            thought = {"thought": True} if text else {}
            return {"text": text, **thought, **({"thoughtSignature": signature} if signature else {})}
        case ToolCall(id=id_, name=name, arguments=arguments, signature=signature):
            call = {"id": id_, "name": name, "args": object_of(arguments)}
            return {"functionCall": call, **({"thoughtSignature": signature} if signature else {})}
        case _:
            return None


def _cited(citation: Citation) -> dict[str, Any]:
    return {"startIndex": citation.start, "endIndex": citation.end, "uri": citation.url, "title": citation.title}


def _usage(usage: Usage) -> dict[str, int]:
    """Render Gemini's usage. The prompt's tokens include cached ones. The candidates' tokens leave out thinking."""
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }


def _logprobs(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    return {
        "chosenCandidates": [{"token": each.token, "logProbability": each.logprob} for each in logprobs],
        "topCandidates": [
            {"candidates": [{"token": other.token, "logProbability": other.logprob} for other in each.top]}
            for each in logprobs
        ],
    }


# --- errors -----------------------------------------------------------------------------------------------------------


STATUSES: dict[Trouble, tuple[int, str]] = {
    "key": (401, "UNAUTHENTICATED"),
    "permission": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "quota": (429, "RESOURCE_EXHAUSTED"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "server": (500, "INTERNAL"),
    "overloaded": (503, "UNAVAILABLE"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
}
"""Google's codes and statuses of errors. All other errors are the request's fault. Source:
https://ai.google.dev/gemini-api/docs/troubleshooting, November 2026."""
BAD_REQUEST = (400, "INVALID_ARGUMENT")


_RPC = "type.googleapis.com/google.rpc"
"""Details of errors. Source: https://cloud.google.com/apis/design/errors#error_details."""


def error_body(error: SemrouteError, status: int) -> dict[str, Any]:
    """Render an error in Google's form."""
    message = in_vendors_words(error, GEMINI)[1]
    details: list[dict[str, Any]] = [{"@type": f"{_RPC}.ErrorInfo", "reason": error.code, "domain": "semroute"}]
    if isinstance(error, RequestError) and error.param:
        violation = {"field": error.param, "description": message.removeprefix(f"{error.param}: ")}
        details.append({"@type": f"{_RPC}.BadRequest", "fieldViolations": [violation]})
    _, name = STATUSES.get(error_kind(error, status), BAD_REQUEST)
    return {"error": {"code": status, "message": message, "status": name, "details": details}}


def own_error(body: Any) -> dict[str, Any] | None:
    """Return the `error` of a body in Google's form. None: the body has another form."""
    match body:
        case {"error": {"code": int(), "message": str(), "status": str()}}:
            error: dict[str, Any] = body["error"]
            return error
        case _:
            return None
