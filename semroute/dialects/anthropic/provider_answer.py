"""What is read of a whole answer, and what streamed answers share with it. The rest of an answer stays in `raw`.

Sources: https://platform.claude.com/docs/en/api/messages, https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from semroute.dialects.anthropic.content import NAME, parse_citation
from semroute.dialects.anthropic.models import family_of
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.shared.thinking import seal
from semroute.dialects.shared.token_counts import Count
from semroute.messages import (
    Citation,
    FinishReason,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
    total,
)

ENDED, CALLS = "end_turn", "tool_use"
"""Some servers end an answer that calls tools as one that does not. Callers are told that it calls tools."""
FIRST_TO_KEEP = 5
"""From this generation on, some models read no other model's thinking blocks."""
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class StopDetails(msgspec.Struct):
    """Why the model declined. Source: https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback."""

    category: str | None = None
    explanation: str | None = None


class Block(msgspec.Struct):
    """A content block."""

    type: str = ""
    text: str | None = None
    citations: list[dict[str, Any]] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class Answer(msgspec.Struct):
    """A whole body, or the message that a stream starts with."""

    id: str | None = None
    type: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Any = None
    error: Any = None


decode_answer = msgspec.json.Decoder(Answer, strict=False).decode


def parts_of(blocks: list[Block], thinker: str) -> tuple[Part, ...]:
    """The parts of a whole answer."""
    parts: list[Part] = []
    calls = 0
    for block in blocks:
        if block.type == "tool_use" and block.name == ANSWER_TOOL:
            parts.append(Text(text=json_text(block.input)))
            continue
        found = block_parts(block, calls, thinker)
        calls += sum(isinstance(part, ToolCall) for part in found)
        parts += found
    return tuple(parts)


def block_parts(block: Block, index: int, thinker: str) -> tuple[Part, ...]:
    """The parts of one block. `index`: how many tool calls came before it."""
    match block.type:
        case "text":
            citations: tuple[Citation, ...] = tuple(parse_citation(each) for each in block.citations or ())
            return (Text(text=block.text, citations=citations),) if block.text else ()
        case "thinking":
            signature = block.signature or ""
            thought = Thinking(text=block.thinking or "", signature=signature, origin=NAME, model=thinker)
            return (thought,) if thought.text or thought.signature else ()
        case "redacted_thinking":
            return (Thinking(signature=block.data or "", origin=NAME, model=thinker, redacted=True),)
        case "tool_use":
            return (ToolCall(id=block.id or "", name=block.name or "", arguments=json_text(block.input), index=index),)
        case kind:
            return (Opaque(kind=kind),)


def json_text(value: object) -> str:
    """A tool's arguments as JSON text; None gives an empty object."""
    return msgspec.json.encode({} if value is None else value).decode()


def refusal_of(details: StopDetails | None) -> tuple[Part, ...]:
    """Why the model declined, where it says so in words."""
    return (Refusal(text=details.explanation),) if details is not None and details.explanation else ()


# --- thoughts ---------------------------------------------------------------------------------------------------------


def thinker_of(model: str | None) -> str:
    """The kind of model whose thoughts are marked as its own: those of the generations that read no others'."""
    family = family_of(model or "")
    return family if family and int(family.split("-")[1]) >= FIRST_TO_KEEP else ""


def marked(raw: bytes, parts: tuple[Part, ...]) -> bytes:
    """A provider's body whose signatures say which model's they are: a later request may go to another one."""
    for part in parts:
        if isinstance(part, Thinking) and part.model and part.signature:
            raw = _sealed(raw, part)
    return raw


def _sealed(raw: bytes, thought: Thinking) -> bytes:
    written = rb'("(?:signature|data)"\s*:\s*)' + re.escape(msgspec.json.encode(thought.signature))
    sealed = msgspec.json.encode(seal(thought, NAME))
    return re.sub(written, lambda match: match[1] + sealed, raw, count=1)


# --- usage ------------------------------------------------------------------------------------------------------------


class _Details(msgspec.Struct):
    thinking_tokens: Count | None = None


class _CacheCreation(msgspec.Struct):
    """`cache_creation_input_tokens` by how long they are kept."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Iteration(msgspec.Struct):
    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None


class Counts(msgspec.Struct):
    """`usage`, as far as it is read."""

    input_tokens: Count | None = None
    """Neither read from the cache nor written to it."""
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None
    """Includes thinking."""
    output_tokens_details: _Details | None = None
    service_tier: str | None = None
    iterations: list[_Iteration] | None = None
    """Each time that a model was asked for this answer: to summarize the conversation, to answer, and another one where
    the first declined. All are charged, and the counts above are those of the last.

    Source: https://platform.claude.com/docs/en/build-with-claude/compaction-threshold, 2026-10-30.
    """


def newer(old: Counts, new: Counts) -> Counts:
    """Both together. Counts are running totals, and each may be left out where it has not changed."""
    values = {name: getattr(new, name) for name in new.__struct_fields__}
    return msgspec.structs.replace(old, **{name: value for name, value in values.items() if value is not None})


def tier_of(usage: Counts | None) -> str:
    """The service tier, in OpenAI's words."""
    tier = (usage and usage.service_tier) or ""
    return "default" if tier == "standard" else tier


def usage_of(counts: Counts | None) -> Usage | None:
    """The tokens of an answer: of all times that a model was asked for it."""
    if counts is None or (counts.input_tokens is None and counts.output_tokens is None):
        return None
    asked = [_one(each) for each in counts.iterations or () if isinstance(each, _Iteration)]
    usage = total(asked) if len(asked) > 1 else _one(counts)
    details = counts.output_tokens_details
    return msgspec.structs.replace(usage, reasoning_tokens=(details and details.thinking_tokens) or 0)


def _one(counts: Counts | _Iteration) -> Usage:
    split = counts.cache_creation or _CacheCreation()
    an_hour = split.ephemeral_1h_input_tokens or 0
    cached_tokens = counts.cache_read_input_tokens or 0
    cache_write_tokens = max(counts.cache_creation_input_tokens or 0, (split.ephemeral_5m_input_tokens or 0) + an_hour)
    return Usage(
        input_tokens=(counts.input_tokens or 0) + cached_tokens + cache_write_tokens,
        output_tokens=counts.output_tokens or 0,
        cached_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=an_hour,
    )
