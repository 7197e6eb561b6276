"""Counts of tokens as servers write them: whole numbers, also as `12.0` or `"12"`."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

MAX_TOKENS = 10**9
"""No call takes more: what is said to take more was miscounted, and could neither be charged nor kept."""
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
Counts = TypeVar("Counts", bound=msgspec.Struct)


class _Kept(msgspec.Struct):
    ephemeral_1h_input_tokens: Count | None = None


class InputDetails(msgspec.Struct):
    """What OpenAI's two dialects say of input tokens, with the names that LiteLLM gives what Anthropic tells.

    Source: https://docs.litellm.ai/docs/completion/prompt_caching.
    """

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_creation_token_details: _Kept | None = None

    @property
    def written(self) -> int:
        """Written to the cache."""
        return self.cache_write_tokens or self.cache_creation_tokens or 0

    @property
    def written_1h(self) -> int:
        """Those that are kept for an hour."""
        kept = self.cache_creation_token_details
        return 0 if kept is None else min(self.written, kept.ephemeral_1h_input_tokens or 0)


class OutputDetails(msgspec.Struct):
    """What OpenAI's two dialects say of output tokens."""

    reasoning_tokens: Count | None = None


def read_counts(value: object, kind: type[Counts]) -> Counts | None:
    """What a server says of its tokens; None where that cannot be read, as the answer is sound all the same."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None
