"""Reads counts of tokens. Servers write whole numbers, but also `12.0` or `"12"`."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

MAX_TOKENS = 10**9
"""More than any call takes. A larger count is a mistake, and could be neither charged nor stored."""
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
Counts = TypeVar("Counts", bound=msgspec.Struct)


class _Kept(msgspec.Struct):
    ephemeral_1h_input_tokens: Count | None = None


class InputDetails(msgspec.Struct):
    """Details of input tokens in OpenAI's two dialects. Some fields are LiteLLM's names for Anthropic's counts.

    Source: https://docs.litellm.ai/docs/completion/prompt_caching.
    """

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_creation_token_details: _Kept | None = None

    @property
    def written(self) -> int:
        """The tokens that were written to the cache."""
        return self.cache_write_tokens or self.cache_creation_tokens or 0

    @property
    def written_1h(self) -> int:
        """The tokens that were written to the cache for an hour."""
        kept = self.cache_creation_token_details
        return 0 if kept is None else min(self.written, kept.ephemeral_1h_input_tokens or 0)


class OutputDetails(msgspec.Struct):
    """Details of output tokens in OpenAI's two dialects."""

    reasoning_tokens: Count | None = None


def read_counts(value: object, kind: type[Counts]) -> Counts | None:
    """Read a server's token counts. None: they cannot be read, which does not make the answer a bad one."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None
