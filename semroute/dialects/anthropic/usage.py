"""What Anthropic says of the tokens of an answer.

Sources: https://platform.claude.com/docs/en/api/messages, https://platform.claude.com/docs/en/build-with-claude/prompt-caching.
"""

from __future__ import annotations

import msgspec

from semroute.dialects.shared.token_counts import Count
from semroute.messages import Usage, total


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
