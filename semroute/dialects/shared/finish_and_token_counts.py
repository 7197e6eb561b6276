"""Reads fields of answers that servers write in many ways: why the answer ended, and how many tokens it took."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from semroute.errors import BadAnswerError
from semroute.messages import FinishReason

_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
}
"""A word that is not here means `stop`, such as `eos` of Together and TGI, or `end_turn` of Anthropic.

Mistral says `model_length` and Together `eos`, by the types of their packages mistralai 3.7.0 and together 3.1.1.
Bedrock's words are those of botocore 1.44.8. Zhipu says `sensitive` and `model_context_window_exceeded`, by the code of
its clients. All were read on 2026-11-30.
"""
_BROKEN_OFF = frozenset({"error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled"})
"""Words of a server that could not finish: Zhipu's `network_error`, DeepSeek's `insufficient_system_resource`, and
`abort` of vLLM and SGLang. The first two were read in the code of clients on 2026-11-30. `abort` is not confirmed."""


def finish_reason_of(word: str) -> FinishReason:
    """Return why an answer ended. Raises `BadAnswerError` if the provider broke it off."""
    if word.lower() in _BROKEN_OFF:
        raise BadAnswerError(f"the provider broke the answer off with finish_reason {word!r}")
    return _FINISH_REASONS.get(word.lower(), "stop")


def as_said(reason: FinishReason, *, calls: bool) -> FinishReason:
    """Correct the finish reason. Some servers say `stop` after tool calls, or `tool_calls` without any."""
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if calls else "stop"
    return reason


# --- tokens -----------------------------------------------------------------------------------------------------------

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
    """Read a server's token counts. Servers write whole numbers, but also `12.0` or `"12"`.

    None: they cannot be read, which does not make the answer a bad one.
    """
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None
