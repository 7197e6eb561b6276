"""Reads a `response`, whole or at the end of a stream. Fields that are not read stay in `raw`.

Source: https://platform.openai.com/docs/api-reference/responses/object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.openai.content import parse_citations, parse_logprobs
from semroute.dialects.responses.content import parse_reasoning
from semroute.dialects.responses.tools import KINDS, Toolbox, parse_call
from semroute.dialects.shared.finish_and_token_counts import Count, InputDetails, OutputDetails, read_counts
from semroute.messages import (
    FinishReason,
    Opaque,
    Part,
    Refusal,
    Text,
    TokenLogprob,
    Usage,
)

_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class _Usage(msgspec.Struct):
    input_tokens: Count = 0
    input_tokens_details: InputDetails | None = None
    output_tokens: Count = 0
    output_tokens_details: OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class ResponsesAnswer(msgspec.Struct):
    """A `response`."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    incomplete_details: _Incomplete | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None


decode_answer = msgspec.json.Decoder(ResponsesAnswer, strict=False).decode


def parts_of(output: list[dict[str, Any]]) -> tuple[tuple[Part, ...], tuple[TokenLogprob, ...]]:
    """Return the parts and the log-probabilities of a whole answer."""
    parts: list[Part] = []
    logprobs: list[TokenLogprob] = []
    calls = 0
    for item in output:
        match item:
            case {"type": "message", "content": list(content)}:
                for block in content:
                    parts += _said(block)
                    logprobs += parse_logprobs(block.get("logprobs") if isinstance(block, dict) else None)
            case {"type": str(kind)} if kind in KINDS and (call := parse_call(item, Toolbox({}))) is not None:
                parts.append(msgspec.structs.replace(call, index=calls))
                calls += 1
            case {"type": "reasoning"}:
                parts.append(parse_reasoning(item))
            case {"type": str(kind)}:
                parts.append(Opaque(kind=kind))
    return tuple(parts), tuple(logprobs)


def _said(block: object) -> tuple[Part, ...]:
    match block:
        case {"type": "output_text", "text": str(text), **more}:
            return (Text(text=text, citations=parse_citations(more.get("annotations"))),)
        case {"type": "refusal", "refusal": str(text)}:
            return (Refusal(text=text),)
        case _:
            return ()


def finish_reason_of(answer: ResponsesAnswer, has_calls: bool) -> FinishReason:
    """Return why an answer ended."""
    incomplete = answer.incomplete_details
    if answer.status == "incomplete" and incomplete is not None:
        return _INCOMPLETE.get(incomplete.reason or "", "length")
    return "tool_calls" if has_calls else "stop"


def usage_of(said: object) -> Usage | None:
    """Return the usage of an answer. None: the answer does not say, or it cannot be read."""
    usage = read_counts(said, _Usage)
    if usage is None:
        return None
    read = usage.input_tokens_details or InputDetails()
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=read.cached_tokens or 0,
        cache_write_tokens=read.written,
        cache_write_1h_tokens=read.written_1h,
        reasoning_tokens=(usage.output_tokens_details or OutputDetails()).reasoning_tokens or 0,
    )
