"""Reads whole answers of a provider. Streamed answers share some of it. Fields that are not read stay in `raw`.

Sources: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from semroute.dialects.anthropic.content import NAME, parse_citation
from semroute.dialects.anthropic.models import family_of
from semroute.dialects.shared.finish_and_token_counts import Count, as_said, finish_reason_of
from semroute.dialects.shared.json_output import ANSWER_TOOL
from semroute.dialects.shared.thinking import seal
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
"""Some servers end answers with tool calls by `end_turn`. Callers get `tool_use` instead."""
FIRST_TO_KEEP = 5
"""From this generation on, some models cannot read thinking blocks of other models."""
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_OWN_WORDS: dict[FinishReason, str] = {
    "stop": ENDED,
    "length": "max_tokens",
    "tool_calls": CALLS,
    "content_filter": "refusal",
}


class StopDetails(msgspec.Struct):
    """Says why the model declined.

    Source: https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback.
    """

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


class AnthropicAnswer(msgspec.Struct):
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


decode_answer = msgspec.json.Decoder(AnthropicAnswer, strict=False).decode


def parts_of(blocks: list[Block], thinker: str) -> tuple[Part, ...]:
    """Return the parts of a whole answer."""
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
    """Return the parts of one block. `index` is the number of tool calls before it."""
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


def ended_by(word: str | None, *, calls: bool) -> tuple[FinishReason, str | None]:
    """Return why an answer ended, and Anthropic's own word for it. Other servers have other words.

    Raises `BadAnswerError` if the provider broke the answer off.
    """
    known = FINISH_REASONS.get(word or ENDED)
    reason = as_said(known or finish_reason_of(word or ""), calls=calls)
    keeps = word and known is not None and not (word == ENDED and calls)
    return reason, word if keeps else _OWN_WORDS[reason]


def json_text(value: object) -> str:
    """Return a tool's arguments as JSON text. None becomes an empty object."""
    return msgspec.json.encode({} if value is None else value).decode()


def refusal_of(details: StopDetails | None) -> tuple[Part, ...]:
    """Return the explanation of a refusal, if there is one."""
    return (Refusal(text=details.explanation),) if details is not None and details.explanation else ()


# --- thoughts ---------------------------------------------------------------------------------------------------------


def thinker_of(model: str | None) -> str:
    """Return the family to mark a model's thoughts with. Empty: its generation is older than `FIRST_TO_KEEP`."""
    family = family_of(model or "")
    return family if family and int(family.split("-")[1]) >= FIRST_TO_KEEP else ""


def marked(raw: bytes, parts: tuple[Part, ...]) -> bytes:
    """Mark the signatures in a provider's body with the model's family: a later request may go to another model."""
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
    """The tokens written to the cache, by how long they are kept."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Iteration(msgspec.Struct):
    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None


class Counts(msgspec.Struct):
    """The fields of `usage` that are read."""

    input_tokens: Count | None = None
    """Without tokens that were read from the cache or written to it."""
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None
    """Includes thinking."""
    output_tokens_details: _Details | None = None
    service_tier: str | None = None
    iterations: list[_Iteration] | None = None
    """The counts of each model call for this answer, such as a summary of the conversation, or a second model after a
    refusal. All are charged. The counts above are those of the last call.

    Source: https://platform.claude.com/docs/en/build-with-claude/compaction-threshold, 2026-10-30.
    """


def newer(old: Counts, new: Counts) -> Counts:
    """Update the counts. They are running totals, and an unchanged count may be missing."""
    values = {name: getattr(new, name) for name in new.__struct_fields__}
    return msgspec.structs.replace(old, **{name: value for name, value in values.items() if value is not None})


def tier_of(usage: Counts | None) -> str:
    """Return the service tier by OpenAI's name."""
    tier = (usage and usage.service_tier) or ""
    return "default" if tier == "standard" else tier


def usage_of(counts: Counts | None) -> Usage | None:
    """Return the usage of an answer: the sum of all model calls."""
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
