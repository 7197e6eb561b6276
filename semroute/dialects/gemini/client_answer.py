"""Answers in Gemini's form, whole and streamed. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects import sse
from semroute.dialects.gemini.content import NAME, render_signature
from semroute.dialects.shared.body_parsing import object_of
from semroute.dialects.shared.error_kinds import Trouble, told_inside, trouble_of
from semroute.dialects.shared.refusal_errors import GEMINI, told
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
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
from semroute.record import Record

_FINISH_REASONS: dict[FinishReason, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_STATUSES: dict[Trouble, tuple[int, str]] = {
    "key": (401, "UNAUTHENTICATED"),
    "permission": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "quota": (429, "RESOURCE_EXHAUSTED"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "server": (500, "INTERNAL"),
    "overloaded": (503, "UNAVAILABLE"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
}
"""Google's numbers and names; what is absent is the request's fault. Source:
https://ai.google.dev/gemini-api/docs/troubleshooting, November 2026."""
_BAD_REQUEST = (400, "INVALID_ARGUMENT")
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}


def answer(completion: Completion, usage: Usage, request_id: str) -> dict[str, Any]:
    """A whole answer."""
    candidate = _candidate(completion.parts, completion.finish_reason, completion.logprobs)
    return _answer(candidate, usage, completion.service_tier, completion.model, request_id)


def _answer(candidate: dict[str, Any], usage: Usage | None, tier: str, model: str, request_id: str) -> dict[str, Any]:
    served = {"serviceTier": _TIERS[tier]} if tier in _TIERS else {}
    counted = {"usageMetadata": {**_usage(usage), **served}} if usage is not None else {}
    return {"candidates": [candidate], **counted, "modelVersion": model, "responseId": request_id}


def _candidate(
    parts: tuple[Part, ...], finish_reason: FinishReason | None, logprobs: tuple[TokenLogprob, ...] = ()
) -> dict[str, Any]:
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
    """Gemini's usage: the prompt's tokens include the cached ones; the candidates' leave the thoughts out."""
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


class GeminiStream:
    """An answer an event, each with the next piece. A tool call is sent whole, when it is."""

    def __init__(self, request: ChatRequest) -> None:
        self._id = request.id
        self._model = self._tier = ""
        self._calls: dict[int, ToolCall] = {}
        self._usage: Usage | None = None
        self._finish_reason: FinishReason | None = None
        self._native = False

    @property
    def keep_alive(self) -> bytes:
        """The beginning of the next event, as long as one must come.

        Google's libraries take comments for JSON, and the older ones for JavaScript also trip over blank lines
        (google-genai 3.6.1; @google/genai 1.30.0, @google/generative-ai 0.24.1). White space inside of an event passes.
        """
        return sse.OPENING if self._finish_reason is None else b""

    def chunk(self, chunk: Chunk) -> bytes:
        """The provider's own event where it speaks this dialect, else one in its form."""
        self._model = chunk.model or self._model
        self._tier = chunk.service_tier or self._tier
        self._usage = chunk.usage or self._usage
        self._finish_reason = chunk.finish_reason or self._finish_reason
        if chunk.dialect == NAME:
            self._native = True
            self._id = chunk.id or self._id
            return sse.render(chunk.raw)
        if chunk.parts or chunk.finish_reason is not None:
            self._native = False  # another model goes on, and says here why it ended
        for part in chunk.parts:
            if isinstance(part, ToolCall):
                before = self._calls.get(part.index, part)
                arguments = before.arguments + part.arguments if part.index in self._calls else part.arguments
                self._calls[part.index] = msgspec.structs.replace(before, arguments=arguments)
        said = tuple(part for part in chunk.parts if not isinstance(part, ToolCall))
        candidate = _candidate(said, None, chunk.logprobs)
        return self._event(candidate) if candidate["content"]["parts"] or "citationMetadata" in candidate else b""

    def end(self, record: Record) -> bytes:
        """The calls, why it ended, and usage; nothing where the provider sent them."""
        if self._native:
            return b""
        calls = tuple(call for _, call in sorted(self._calls.items()))
        return self._event(_candidate(calls, self._finish_reason or "stop"), self._usage or record.usage)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """An error in place of an answer, and once more without `data:`, as Google itself sends it.

        Google's older libraries for JavaScript raise on the second alone, other people's libraries on the first.
        """
        number, _ = _STATUSES.get(trouble_of(error, status), _BAD_REQUEST)
        ours = error_body(error, status)["error"] | {"code": number}
        told = msgspec.json.encode({"error": _own_error(told_inside(error)) or ours})
        return sse.render(told) + told

    def _event(self, candidate: dict[str, Any], usage: Usage | None = None) -> bytes:
        return sse.render(msgspec.json.encode(_answer(candidate, usage, self._tier, self._model, self._id)))


def error_body(error: SemrouteError, status: int) -> dict[str, Any]:
    """An error in Google's form."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code, "domain": "semroute"}]
    _, name = _STATUSES.get(trouble_of(error, status), _BAD_REQUEST)
    return {"error": {"code": status, "message": told(error, GEMINI)[1], "status": name, "details": details}}


def _own_error(body: Any) -> dict[str, Any] | None:
    """The `error` of a body in Google's form; None: it has another form."""
    match body:
        case {"error": {"code": int(), "message": str(), "status": str()}}:
            error: dict[str, Any] = body["error"]
            return error
        case _:
            return None
