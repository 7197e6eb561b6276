"""Writes whole answers in Ollama's form. Streamed answers share some of it. Source: https://docs.ollama.com/api."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from semroute.dialects.ollama.content import render_call, render_logprobs, texts_of_parts
from semroute.messages import (
    ChatRequest,
    Completion,
    FinishReason,
    ToolCall,
    Usage,
)
from semroute.record import Record

NS_PER_MS = 1_000_000

Said = Callable[[str, str, list[dict[str, Any]]], dict[str, Any]]
"""Renders the content of an answer, from its text, its thoughts and its tool calls."""


def said_in_chat(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Render content as in answers of `/api/chat`."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    return {
        "message": message | ({"thinking": thinking} if thinking else {}) | ({"tool_calls": calls} if calls else {})
    }


def said_in_text(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Render content as in answers of `/api/generate`."""
    return {"response": text} | ({"thinking": thinking} if thinking else {})


def answer(said: Said, completion: Completion, record: Record, request: ChatRequest) -> dict[str, Any]:
    """Render a whole answer."""
    text, thinking = texts_of_parts(completion.parts)
    calls = [part for part in completion.parts if isinstance(part, ToolCall)]
    head: dict[str, Any] = {"model": completion.model, "created_at": now()}
    head |= said(text, thinking, [render_call(call) for call in calls])
    if completion.logprobs:
        head["logprobs"] = render_logprobs(completion.logprobs)
    return head | account_of(completion.finish_reason, completion.usage or record.usage, record)


def loaded(model: str, said: Said, *, unload: bool) -> dict[str, Any]:
    """Render the answer to a request that loads or unloads a model."""
    reason = "unload" if unload else "load"
    return {"model": model, "created_at": now(), **said("", "", []), "done": True, "done_reason": reason}


def account_of(reason: FinishReason, usage: Usage, record: Record) -> dict[str, Any]:
    """Render how the answer ended, its token counts and its durations. Clients divide by durations, so none is 0."""
    first_ms = record.first_token_ms or 0.0
    return {
        "done": True,
        "done_reason": "stop" if reason == "tool_calls" else reason,
        "total_duration": nanoseconds(record.latency_ms),
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": nanoseconds(first_ms),
        "eval_count": usage.output_tokens,
        "eval_duration": nanoseconds(record.latency_ms - first_ms),
    }


def nanoseconds(milliseconds: float) -> int:
    """Return a duration in nanoseconds, at least 1."""
    return max(1, round(milliseconds * NS_PER_MS))


def now() -> str:
    """Return the time of an answer, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
