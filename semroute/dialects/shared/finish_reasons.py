"""Reads why an answer ended, in the words of all servers. They often use each other's."""

from __future__ import annotations

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
