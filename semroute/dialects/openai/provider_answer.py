"""Reads whole answers of a provider. Streamed answers share some of it. Fields that are not read stay in `raw`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from semroute.config.presets import Preset
from semroute.dialects.gemini.content import call_id
from semroute.dialects.openai.content import parse_citations, parse_logprobs, parse_signature
from semroute.dialects.shared.custom_tools import arguments_for
from semroute.dialects.shared.finish_and_token_counts import Count, InputDetails, OutputDetails, as_said, read_counts
from semroute.messages import (
    FinishReason,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    Usage,
)

OWN_WORDS = frozenset({"stop", "length", "tool_calls", "function_call", "content_filter"})
"""The finish reasons of OpenAI itself, which its clients know."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON text. Some servers send the object itself."""


class _Custom(msgspec.Struct):
    name: str = ""
    input: str = ""


class CallSaid(msgspec.Struct):
    """A call of a tool, or a piece of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None
    """A call of a tool that takes plain text."""
    extra_content: Any = None
    """Google's own servers put the signature of a call here."""


class _ContentPart(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | list[_ContentPart] | None = None
    """Thoughts of Mistral's models, which are part of the content. Source: the package mistralai
    3.7.0, `ThinkChunk`, 2026-11-30."""


class ChatSaid(msgspec.Struct):
    """A `message`, or a `delta` of one."""

    content: str | list[_ContentPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallSaid] | CallSaid | None = None
    """A list. Some servers send one call without a list."""
    function_call: _Function | None = None
    """The form of `tool_calls` until 2023."""
    audio: Any = None
    annotations: Any = None


class ChatChoice(msgspec.Struct):
    """One choice of an answer."""

    message: ChatSaid | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None
    """DeepSeek's name for the cached tokens."""


class GroqSaid(msgspec.Struct):
    """What only Groq says. Source: the package groq 1.7.0, `XGroq`, 2026-11-30."""

    usage: Any = None
    """The usage of a stream, also if nobody asked for it."""
    error: Any = None


class ChatAnswer(msgspec.Struct):
    """A whole body."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[ChatChoice] | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None


decode_answer = msgspec.json.Decoder(ChatAnswer, strict=False).decode


def parts_of(said: ChatSaid) -> tuple[Part, ...]:
    """Return the parts of a message or delta, in order."""
    parts: list[Part] = []
    if thought := said.reasoning_content or said.reasoning:
        parts.append(Thinking(text=thought))
    content = said.content
    if isinstance(content, list):
        parts += _contents(content)
    elif said.annotations is not None:
        parts += _texts(said)
    elif content:  # the most common case in a stream
        parts.append(Text(text=content))
    if said.refusal:
        parts.append(Refusal(text=said.refusal))
    if said.tool_calls:
        parts += [_tool_call(call, position) for position, call in enumerate(calls_of(said))]
    elif said.function_call is not None:
        parts.append(_tool_call(CallSaid(function=said.function_call), 0))
    if said.audio:
        parts.append(Opaque(kind="audio"))
    return tuple(parts)


def _contents(content: list[_ContentPart]) -> Iterator[Part]:
    """Yield texts and thoughts, in order."""
    for part in content:
        if part.thinking:
            inner = part.thinking if isinstance(part.thinking, list) else [_ContentPart(text=part.thinking)]
            yield Thinking(text="".join(each.text or "" for each in inner))
        elif part.text:
            yield Text(text=part.text)


def _texts(said: ChatSaid) -> tuple[Text, ...]:
    """Return one text with its citations, or nothing if there are neither."""
    text = said.content if isinstance(said.content, str) else ""
    citations = parse_citations(said.annotations)
    return (Text(text=text, citations=citations),) if text or citations else ()


def whole_parts_of(said: ChatSaid, answer: str) -> tuple[tuple[Part, ...], bool]:
    """Return the parts of a whole message, and whether OpenAI's clients could not read the message itself.

    A call without an id of its own gets one that is made from `answer`, the id of the answer.
    """
    parts, taken = parts_of(said), set[str]()
    odd = isinstance(said.content, list) or isinstance(said.tool_calls, CallSaid)
    if not said.tool_calls:
        return parts, odd
    fixed: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            id_ = part.id if part.id and part.id not in taken else call_id(part.name, answer, part.index)
            part = msgspec.structs.replace(part, id=id_, arguments=part.arguments or "{}")
            taken.add(id_)
        fixed.append(part)
    odd = odd or tuple(fixed) != parts or not all([_has_own_form(call) for call in calls_of(said)])
    return tuple(fixed), odd


def _has_own_form(call: CallSaid) -> bool:
    return call.type is not None and tells_arguments_as_text(call)


def logprobs_of(said: Any) -> tuple[TokenLogprob, ...]:
    """Return the log-probabilities of a choice. Those in another form than OpenAI's, as of Together, are left out."""
    return parse_logprobs(said.get("content")) if isinstance(said, dict) else ()


def calls_of(said: ChatSaid) -> list[CallSaid]:
    """Return the calls of a message or delta, without those in the form until 2023."""
    calls = said.tool_calls
    return [calls] if isinstance(calls, CallSaid) else calls or []


def tells_arguments_as_text(call: CallSaid) -> bool:
    """Whether a call has its arguments as JSON text, as OpenAI's clients expect."""
    return call.function is None or not isinstance(call.function.arguments, dict)


def _tool_call(call: CallSaid, position: int) -> ToolCall:
    function = call.function or _Function()
    if call.custom is not None:
        function = _Function(name=call.custom.name, arguments=arguments_for(call.custom.input))
    arguments = function.arguments or ""
    return ToolCall(
        id=call.id or "",
        name=function.name or "",
        arguments=arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode(),
        index=position if call.index is None else call.index,
        signature=parse_signature(call.extra_content),
    )


def usage_of(said: object, preset: Preset) -> Usage | None:
    """Return the usage of an answer. None: the answer does not say, or it cannot be read."""
    if said is None:  # the most common case in a stream
        return None
    usage = read_counts(said, _Usage)
    if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
        return None
    read, thought = usage.prompt_tokens_details, usage.completion_tokens_details
    reasoning_tokens = (thought.reasoning_tokens or 0) if thought is not None else 0
    output_tokens = usage.completion_tokens or 0
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=output_tokens + reasoning_tokens if preset.reasoning_apart else output_tokens,
        cached_tokens=(usage.prompt_cache_hit_tokens if read is None else read.cached_tokens) or 0,
        cache_write_tokens=0 if read is None else read.written,
        cache_write_1h_tokens=0 if read is None else read.written_1h,
        reasoning_tokens=reasoning_tokens,
    )


def ended_by(said: FinishReason, data: bytes, *, calls: bool, index: int = 0) -> tuple[FinishReason, bytes]:
    """Correct the finish reason of a choice by what it holds. Return it, and the server's own data with it."""
    reason = as_said(said, calls=calls)
    if reason == said:
        return said, data
    answer = msgspec.json.decode(data)
    for place, choice in enumerate(answer["choices"]):
        if choice.get("index", 0 if "delta" in choice else place) == index:
            choice["finish_reason"] = reason
    return reason, msgspec.json.encode(answer)
