"""Reads whole answers and errors of Converse. Streamed answers share some of it.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.shared.error_bodies import broken_off
from semroute.dialects.shared.finish_and_token_counts import Count, read_counts
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.json_errors import UNREADABLE
from semroute.messages import FinishReason, Part, Text, ToolCall, Usage

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_FAILED = {"malformed_model_output", "malformed_tool_use"}
"""Finish reasons of failed answers. Another call may succeed."""


class _Message(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


class _Output(msgspec.Struct):
    message: _Message | None = None


class Tier(msgspec.Struct):
    """The service tier."""

    type: str | None = None


class _Answer(msgspec.Struct):
    output: _Output | None = None
    stopReason: str | None = None
    usage: Any = None
    serviceTier: Tier | None = None


decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode


def as_text(part: Part) -> Part:
    """Turn a call of the answer tool into text: its arguments are the answer."""
    return Text(text=part.arguments) if isinstance(part, ToolCall) and part.name == ANSWER_TOOL else part


def finish_reason_of(reason: str, raw: bytes) -> FinishReason:
    """Return why an answer ended. Raises `BadAnswerError` if the model broke it off."""
    if reason in _FAILED:
        raise broken_off(f"the model broke the answer off: {reason}", raw)
    return _FINISH_REASONS.get(reason, "stop")


def tier_of(tier: Tier | None) -> str:
    """Return the name of the service tier. Empty: there is none."""
    return (tier and tier.type) or ""


# --- usage ------------------------------------------------------------------------------------------------------------


class _Written(msgspec.Struct):
    inputTokens: Count = 0
    ttl: str = ""


class _Usage(msgspec.Struct):
    inputTokens: Count | None = None
    """Without tokens that were read from the cache or written to it."""
    outputTokens: Count | None = None
    """Includes thinking."""
    cacheReadInputTokens: Count | None = None
    cacheWriteInputTokens: Count | None = None
    cacheDetails: list[_Written] | None = None
    """The tokens written to the cache, by how long they are kept."""


def usage_of(said: object) -> Usage | None:
    """Return the usage of an answer.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html.
    """
    usage = read_counts(said, _Usage)
    if usage is None or (usage.inputTokens is None and usage.outputTokens is None):
        return None
    cached_tokens, cache_write_tokens = usage.cacheReadInputTokens or 0, usage.cacheWriteInputTokens or 0
    an_hour = sum(written.inputTokens for written in usage.cacheDetails or () if written.ttl == "1h")
    return Usage(
        input_tokens=(usage.inputTokens or 0) + cached_tokens + cache_write_tokens,
        output_tokens=usage.outputTokens or 0,
        cached_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=min(cache_write_tokens, an_hour),
    )


# --- errors -----------------------------------------------------------------------------------------------------------


_STATUSES = {
    "ThrottlingException": 429,
    "TooManyRequestsException": 429,
    "ServiceQuotaExceededException": 429,
    "ModelNotReadyException": 429,
    "ModelTimeoutException": 408,
    "ModelErrorException": 500,
    "ModelStreamErrorException": 500,
    "InternalServerException": 500,
    "InternalFailure": 500,
    "ServiceUnavailableException": 503,
    "ServiceUnavailable": 503,
    "ResourceNotFoundException": 404,
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "IncompleteSignature": 403,
    "ExpiredTokenException": 403,
    "MissingAuthenticationTokenException": 403,
}
"""The statuses that AWS's errors mean. They come with other statuses, or without one inside a stream."""


class _Failure(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")
    code: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


def kind_of(body: bytes) -> str:
    """Return the type of an error in its body. Empty: the body names none."""
    try:
        failure = _decode_failure(body)
    except UNREADABLE:
        return ""
    return failure.type or failure.code or ""


def meant_by(kind: str) -> int | None:
    """Return the status for a type such as `ThrottlingException:http://…` or `com.amazon#throttlingException`."""
    name = kind.partition(":")[0].rpartition("#")[2]
    return _STATUSES.get(name[:1].upper() + name[1:])
