"""Writes streamed answers in the form of Chat Completions.

Source: https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.dialects import sse
from semroute.dialects.openai.client_answer import custom_call, render_annotations, streamed_error_body
from semroute.dialects.openai.content import (
    NAME,
    custom_names,
    render_logprobs,
    render_signature,
    render_usage,
)
from semroute.errors import SemrouteError
from semroute.messages import ChatRequest, Chunk, Part, Refusal, Text, Thinking, ToolCall, Usage
from semroute.record import Record

_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])')


class _Head(msgspec.Struct):
    """The fields that all events of an answer share."""

    created: int | None = None


class OpenAIStream:
    """Writes `chat.completion.chunk` events, and `[DONE]` at the end.

    Only callers who ask for usage get it, and only once, in a separate event at the end, as OpenAI does. Some servers
    send running totals with every event, which clients would add up.
    """

    keep_alive = sse.KEEP_ALIVE

    def __init__(self, request: ChatRequest) -> None:
        self._id = f"chatcmpl-{request.id}"
        self._created = int(time.time())
        self._with_usage = request.stream_usage
        self._usage: Usage | None = None
        self._totals = _wants_totals(request.raw)
        self._several = (request.params.n or 1) > 1
        self._ended = False
        self._last = b""
        """The provider's own event with the usage of the whole answer. Empty: there was none."""
        self._model = ""
        self._tier = ""
        self._started = False
        self._passed = b""
        """The last of the provider's own events that were passed on."""
        self._custom = custom_names(request) if request.tools else frozenset()
        self._texts: dict[int, ToolCall] = {}
        """Unfinished calls of tools that take plain text. They are sent when they are whole, because their form
        differs."""

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk. A provider's event in this dialect is passed on unchanged."""
        self._model = chunk.model or self._model
        self._tier = chunk.service_tier or self._tier
        self._usage = chunk.usage or self._usage
        is_late = self._ended and not self._several and not chunk.parts and chunk.finish_reason is None
        self._ended = self._ended or chunk.finish_reason is not None
        if chunk.dialect == NAME:
            return self._pass(chunk, is_late=is_late)
        if chunk.usage is not None:
            self._last = b""
        delta = _render_delta(self._without_texts(chunk) if self._custom else chunk.parts)
        if self._texts and chunk.finish_reason is not None:
            delta.setdefault("tool_calls", []).extend(self._told_texts())
        if self._passed and (delta or chunk.usage is not None):
            self._go_on()
        if not delta and chunk.finish_reason is None:
            return b""
        if not self._started:
            self._started = True
            delta = {"role": "assistant", **delta}
        logprobs = {"content": render_logprobs(chunk.logprobs), "refusal": None} if chunk.logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": chunk.finish_reason}
        return self._event([choice])

    def end(self, record: Record) -> bytes:
        """Render the usage, if the caller asked for it, and `[DONE]`."""
        events = b""
        if self._totals and self._usage is not None:
            pass
        elif self._last and self._with_usage:
            events = sse.render(self._last)
        elif self._with_usage:
            events = self._event([], usage=self._usage or record.usage)
        return events + sse.render(b"[DONE]")

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render an error event, on which clients raise. No `[DONE]` follows. The usage so far comes before it.

        Only callers who asked for usage get it here. Those who asked for running totals have it already.
        """
        told = self._with_usage and self._usage is not None and not self._totals
        usage = self._event([], usage=self._usage) if told else b""
        return usage + sse.render(msgspec.json.encode(streamed_error_body(error, status)))

    def _without_texts(self, chunk: Chunk) -> tuple[Part, ...]:
        """Return the parts, without calls of tools that take plain text. Those are kept for later."""
        rest: list[Part] = []
        for part in chunk.parts:
            if not isinstance(part, ToolCall) or not (part.name in self._custom or part.index in self._texts):
                rest.append(part)
                continue
            begun = self._texts.get(part.index, part)
            arguments = begun.arguments + part.arguments if begun is not part else part.arguments
            self._texts[part.index] = msgspec.structs.replace(begun, arguments=arguments)
        return tuple(rest)

    def _told_texts(self) -> list[dict[str, Any]]:
        calls, self._texts = self._texts, {}
        return [{"index": index, **custom_call(call)} for index, call in sorted(calls.items())]

    def _go_on(self) -> None:
        """Prepare for another model, which goes on after the provider's own events with their id and time."""
        began = msgspec.json.decode(self._passed, type=_Head)
        self._created = began.created or self._created
        self._started, self._totals, self._passed = True, False, b""

    def _pass(self, chunk: Chunk, *, is_late: bool) -> bytes:
        """Pass on the provider's event. Leave out empty ones after the end, except those of Azure's content filter."""
        self._id, self._passed = chunk.id or self._id, chunk.raw
        if self._totals:
            return sse.render(chunk.raw)
        if chunk.usage is not None:
            event = msgspec.json.decode(chunk.raw)
            if event.get("usage"):  # Groq tells it in a field of its own
                self._last = chunk.raw if event.get("choices") == [] else msgspec.json.encode({**event, "choices": []})
            if is_late or not event.get("choices"):
                return b""
            event.pop("usage", None)
            return sse.render(msgspec.json.encode(event))
        if is_late and b"content_filter" not in chunk.raw:
            return b""
        return sse.render(chunk.raw if self._with_usage or b'"usage"' not in chunk.raw else _without_usage(chunk.raw))

    def _event(self, choices: list[dict[str, Any]], *, usage: Usage | None = None) -> bytes:
        event: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if self._tier:
            event["service_tier"] = self._tier
        if usage is not None:
            event["usage"] = render_usage(usage)
        return sse.render(msgspec.json.encode(event))


def _render_delta(parts: tuple[Part, ...]) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    for part in parts:
        match part:
            case Text(text=text):
                delta["content"] = delta.get("content", "") + text
                if part.citations:
                    delta["annotations"] = delta.get("annotations", []) + render_annotations((part,))
            case Refusal(text=text):
                delta["refusal"] = delta.get("refusal", "") + text
            case Thinking(text=text) if text:
                delta["reasoning_content"] = delta.get("reasoning_content", "") + text
            case ToolCall():
                delta.setdefault("tool_calls", []).append(_call_piece(part))
            case _:
                pass
    return delta


def _call_piece(part: ToolCall) -> dict[str, Any]:
    function = {"name": part.name} if part.name else {}
    call = {"id": part.id, "type": "function"} if part.id else {}
    signature = render_signature(part.signature)
    return {"index": part.index, **call, "function": {**function, "arguments": part.arguments}, **signature}


def _wants_totals(raw: Mapping[str, Any]) -> bool:
    """Whether a caller asks for running totals. The option is one of vLLM and SGLang."""
    match raw:
        case {"stream_options": {"continuous_usage_stats": True, "include_usage": True}}:
            return True
        case _:
            return False


def _without_usage(raw: bytes) -> bytes:
    """Remove the usage from an event. OpenAI writes `null` there if usage was asked for, and semroute always asks."""
    raw = _NO_USAGE.sub(b"", raw)
    if b'"usage"' not in raw:
        return raw
    event = msgspec.json.decode(raw)
    return msgspec.json.encode({name: value for name, value in event.items() if name != "usage"})
