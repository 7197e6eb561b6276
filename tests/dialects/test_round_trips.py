"""parse(render(x)) == x, for what each format can hold."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.decision import Decision, Estimate
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.dialects.gemini.client import Gemini
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ClientDialect, ProviderDialect
from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.provider import ResponsesProviderDialect
from semroute.dialects.sse import EventParser
from semroute.messages import (
    ChatRequest,
    Chunk,
    Completion,
    JsonSchema,
    Message,
    Params,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    Usage,
)
from semroute.record import Record
from tests.dialects.strategies import completions, conversations, schemas, tools

CLIENTS: dict[str, ClientDialect] = {
    "openai": OpenAI(),
    "responses": Responses(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}
PROVIDERS: dict[str, ProviderDialect] = {
    "openai": OpenAIProviderDialect(PRESETS["openrouter"]),  # takes cache marks
    "responses": ResponsesProviderDialect(),
    "anthropic": AnthropicProviderDialect(),
    "gemini": GeminiProviderDialect(),
    "bedrock": BedrockProviderDialect(),
}
MODELS = {
    "openai": "gpt-x",
    "responses": "gpt-x",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-flash",
    "bedrock": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
DIALECTS = pytest.mark.parametrize("dialect", CLIENTS)
DECISION = Decision(
    id="1",
    route=None,
    reason="pinned",
    explanation="",
    confidence=1,
    threshold=0,
    margin=1,
    model="m",
    plan=("m",),
    rejected={},
    candidates=(),
    estimate=Estimate(input_tokens=1, output_tokens=1, cost_usd=Decimal(0)),
    config_version="",
)
RECORD = Record(request_id="1", decision=DECISION, attempts=(), outcome="ok", overhead_ms=0)


def model_of(dialect: str) -> Model:
    return Model(id="m", provider="p", name=MODELS[dialect], features=("tools", "json", "vision", "reasoning"))


def through(dialect: str, request: ChatRequest) -> ChatRequest:
    wire = PROVIDERS[dialect].render_request(request, model_of(dialect))
    assert wire.dropped == ()
    return CLIENTS[dialect].parse_request(json.loads(wire.body), "1")


@DIALECTS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_conversation_survives(dialect: str, data: st.DataObject) -> None:
    messages = data.draw(conversations(dialect))
    assert through(dialect, ChatRequest(id="1", messages=messages)).messages == messages


@DIALECTS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_tools_survive(dialect: str, data: st.DataObject) -> None:
    strict = {"responses": st.booleans(), "gemini": st.none()}.get(dialect, st.none() | st.booleans())
    given_tools = data.draw(tools(strict))
    choices: list[ToolChoice | None] = [None]
    if given_tools:
        choices += [ToolChoice(mode="auto"), ToolChoice(mode="none"), ToolChoice(mode="required")]
        choices.append(ToolChoice(mode="tool", name=given_tools[0].name))
    choice = data.draw(st.sampled_from(choices))
    request = ChatRequest(id="1", messages=(said("user", "Hi"),), tools=given_tools, tool_choice=choice)
    parsed = through(dialect, request)
    assert (parsed.tools, parsed.tool_choice) == (given_tools, choice)


HELD: dict[str, set[str]] = {
    "openai": {
        *("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed", "effort"),
        *("json_schema", "logprobs", "parallel_tool_calls", "user", "service_tier"),
    },
    "responses": {
        *("max_tokens", "temperature", "top_p", "json_schema", "effort", "logprobs", "parallel_tool_calls", "user"),
        "service_tier",
    },
    "anthropic": {"max_tokens", "temperature", "top_k", "stop", "json_schema", "user", "parallel_tool_calls"},
    "gemini": {
        *("max_tokens", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "stop", "seed"),
        *("json_schema", "thinking_tokens", "logprobs"),
    },
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.integers(1, 9999),
    "temperature": st.floats(0, 1),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(1, 100),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.floats(-2, 2),
    "stop": st.lists(st.sampled_from(["END", "\n\nHuman", "x"]), min_size=1, max_size=4, unique=True).map(tuple),
    "seed": st.integers(0, 99),
    "effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    "thinking_tokens": st.integers(-1, 9999),
    "json_schema": st.builds(JsonSchema, document=schemas),
    "logprobs": st.just(True),
    "parallel_tool_calls": st.booleans(),
    "user": st.just("u-1"),
    "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
}


@DIALECTS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_settings_survive(dialect: str, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(HELD[dialect]))))
    values = {name: data.draw(VALUES[name], label=name) for name in sorted(chosen)}
    params = Params(**values, json_output="json_schema" in values)
    request = ChatRequest(
        id="1",
        messages=(said("user", "Hi"),),
        params=params,
        tools=data.draw(tools(st.just(False) if dialect == "responses" else st.none(), 1))
        if "parallel_tool_calls" in chosen
        else (),
    )
    if dialect == "responses" and params.max_tokens is not None:  # which takes 16 at least
        params = msgspec.structs.replace(params, max_tokens=params.max_tokens + 16)
        request = msgspec.structs.replace(request, params=params)
    if dialect == "anthropic":
        request = msgspec.structs.replace(
            request, params=msgspec.structs.replace(params, max_tokens=params.max_tokens or 8192)
        )
    if dialect == "gemini" and request.tools:
        return
    assert through(dialect, request).params == request.params


def said(role: Any, text: str) -> Message:
    return Message(role=role, parts=(Text(text=text),))


@DIALECTS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_whole_answer_survives(dialect: str, data: st.DataObject) -> None:
    completion = data.draw(completions(dialect))
    request = ChatRequest(id="1", messages=())
    body = CLIENTS[dialect].render_completion(completion, RECORD, request)
    parsed = PROVIDERS[dialect].parse_completion(body)
    assert plain(dialect, parsed) == plain(dialect, completion)


@DIALECTS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_streamed_answer_survives(dialect: str, data: st.DataObject) -> None:
    completion = data.draw(completions(dialect))
    renderer = CLIENTS[dialect].stream(ChatRequest(id="1", messages=()), DECISION)
    wire = b"".join(renderer.chunk(chunk) for chunk in pieces_of(completion)) + renderer.end(RECORD)
    parser = PROVIDERS[dialect].stream_parser()
    chunks = [chunk for event in EventParser().feed(wire) if (chunk := parser.event(event)) is not None]
    assert parser.finished
    assert plain(dialect, whole(chunks)) == plain(dialect, msgspec.structs.replace(completion, logprobs=()))


def pieces_of(completion: Completion) -> list[Chunk]:
    chunks = [Chunk(model=completion.model)]
    for part in completion.parts:
        match part:
            case Text(text=text, citations=citations):
                halves: list[Part] = [Text(text=text[:3]), Text(text=text[3:], citations=citations)]
            case Thinking(text=text) | Refusal(text=text):
                halves = [type(part)(text=text[:3]), type(part)(text=text[3:])]
            case ToolCall(arguments=arguments):
                start = msgspec.structs.replace(part, arguments=arguments[:4])
                halves = [start, ToolCall(arguments=arguments[4:], index=part.index)]
            case _:
                raise AssertionError(part)
        chunks += [Chunk(parts=(half,), model=completion.model) for half in halves]
    finish = Chunk(finish_reason=completion.finish_reason, model=completion.model)
    return [*chunks, finish, Chunk(usage=completion.usage, model=completion.model)]


def whole(chunks: list[Chunk]) -> Completion:
    """A completion of its chunks."""
    parts: list[Part] = []
    for part in (part for chunk in chunks for part in chunk.parts):
        match parts, part:
            case [*_, Text() as last], Text():
                parts[-1] = Text(text=last.text + part.text, citations=last.citations + part.citations)
            case [*_, Refusal() as last], Refusal():
                parts[-1] = Refusal(text=last.text + part.text)
            case [*_, Thinking() as last], Thinking():
                parts[-1] = msgspec.structs.replace(
                    last,
                    text=last.text + part.text,
                    signature=part.signature or last.signature,
                    origin=part.origin or last.origin,
                )
            case [*_, ToolCall() as last], ToolCall() if last.index == part.index:
                parts[-1] = msgspec.structs.replace(last, arguments=last.arguments + part.arguments)
            case _:
                parts.append(part)
    return Completion(
        parts=tuple(parts),
        finish_reason=next(chunk.finish_reason for chunk in chunks if chunk.finish_reason),
        usage=next((chunk.usage for chunk in reversed(chunks) if chunk.usage), Usage()),
        model=next((chunk.model for chunk in chunks if chunk.model), ""),
    )


def plain(dialect: str, completion: Completion) -> Completion:
    """Without what tells the two sides apart, and is none of the answer: ids, raw bytes, where a thought comes from."""
    parts: list[Part] = []
    for part in completion.parts:
        if isinstance(part, Thinking):
            part = Thinking(text=part.text)
        elif isinstance(part, ToolCall):
            part = msgspec.structs.replace(part, arguments=part.arguments or "{}")
        parts.append(part)
    reason = completion.finish_reason
    if dialect == "gemini" and reason == "tool_calls":
        reason = "stop"
    return msgspec.structs.replace(
        completion, parts=tuple(parts), id="", raw=b"", dialect="", service_tier="", finish_reason=reason
    )
