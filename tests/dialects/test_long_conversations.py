"""A long conversation takes steps in proportion to its length, so no caller or model can cost the square of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from semroute.config.schema.models import Model
from semroute.dialects.ollama.client import Ollama
from semroute.messages import ChatRequest, Chunk, Message, Part, Text, Thinking, ToolCall, ToolResult
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

SHORT, LONG = 100, 400
MODEL = Model(id="m", provider="p", name="m")
Make = Callable[[int], tuple[Message, ...]]


def steps(work: Callable[[], object]) -> int:
    """Count the lines that some work runs, each as often as it runs."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def said(role: Any, *parts: Part) -> Message:
    return Message(role=role, parts=parts)


def call(number: int, name: str = "f") -> ToolCall:
    return ToolCall(id=f"call_{number}", name=name, arguments="{}")


def result(number: int) -> ToolResult:
    return ToolResult(id=f"call_{number}", text="done")


CONVERSATIONS: dict[str, Make] = {
    "messages": lambda n: tuple(said("user", Text(text="a")) for _ in range(n)),
    "parts": lambda n: (said("user", *(Text(text="a") for _ in range(n))),),
    "system": lambda n: (said("system", *(Text(text="a") for _ in range(n))), said("user", Text(text="a"))),
    "calls": lambda n: (
        said("user", Text(text="a")),
        said("assistant", *map(call, range(n))),
        said("tool", *map(result, range(n))),
    ),
    "tools": lambda n: (
        said("user", Text(text="a")),
        said("assistant", *(call(number, f"f{number}") for number in range(n))),
        said("tool", *map(result, range(n))),
    ),
    "turns": lambda n: (
        said("user", Text(text="a")),
        *(each for number in range(n) for each in (said("assistant", call(number)), said("tool", result(number)))),
    ),
    "answers": lambda n: (
        said("user", Text(text="a")),
        *(said("assistant", Text(text="b"), call(number)) for number in range(n)),
        said("tool", *map(result, range(n))),
    ),
    "thoughts": lambda n: (
        said("user", Text(text="a")),
        *(said("assistant", Thinking(text="b", signature="c2ln"), Text(text="b")) for _ in range(n)),
    ),
}


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("dialect", CLIENTS)
def test_a_callers_conversation_is_read_in_proportion_to_its_length(dialect: str, kind: str) -> None:
    def taken(length: int) -> int:
        request = ChatRequest(id="1", messages=CONVERSATIONS[kind](length))
        body = json.loads(PROVIDERS[dialect].render_request(request, MODEL).body)
        return steps(lambda: CLIENTS[dialect].parse_request(body, "1"))

    assert_linear(taken)


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_conversation_is_written_in_proportion_to_its_length(dialect: str, kind: str) -> None:
    def taken(length: int) -> int:
        request = ChatRequest(id="1", messages=CONVERSATIONS[kind](length))
        return steps(lambda: PROVIDERS[dialect].render_request(request, MODEL))

    assert_linear(taken)


ANSWERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "openai": lambda n: {
        "choices": [
            {
                "message": {
                    "tool_calls": [{"id": f"c{i}", "function": {"name": "f", "arguments": "{}"}} for i in range(n)]
                },
                "finish_reason": "tool_calls",
            }
        ]
    },
    "anthropic": lambda n: {
        "type": "message",
        "content": [{"type": "tool_use", "id": f"c{i}", "name": "f", "input": {}} for i in range(n)],
        "stop_reason": "tool_use",
    },
    "bedrock": lambda n: {
        "output": {
            "message": {"content": [{"toolUse": {"toolUseId": f"c{i}", "name": "f", "input": {}}} for i in range(n)]}
        },
        "stopReason": "tool_use",
    },
    "gemini": lambda n: {
        "candidates": [
            {"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}] * n}, "finishReason": "STOP"}
        ]
    },
    "responses": lambda n: {
        "status": "completed",
        "output": [{"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}"} for i in range(n)],
    },
}


@pytest.mark.parametrize("dialect", PROVIDERS)
def test_a_models_calls_are_read_in_proportion_to_their_number(dialect: str) -> None:
    def taken(length: int) -> int:
        body = json.dumps(ANSWERS[dialect](length)).encode()
        return steps(lambda: PROVIDERS[dialect].parse_completion(body))

    answer = PROVIDERS[dialect].parse_completion(json.dumps(ANSWERS[dialect](3)).encode())
    assert [part.index for part in answer.parts if isinstance(part, ToolCall)] == [0, 1, 2]
    assert_linear(taken)


@pytest.mark.parametrize("kind", ["many calls at once", "many pieces beside a long call"])
@pytest.mark.parametrize("dialect", CLIENTS)
def test_streamed_calls_are_written_in_proportion_to_their_number(dialect: str, kind: str) -> None:
    """Measured in processor time: joining bytes, and reading JSON, are steps of any length."""

    def taken(length: int) -> float:
        renderer = CLIENTS[dialect].stream(ChatRequest(id="1", messages=(), stream=True), DECISION)
        begun = ToolCall(id="a", name="f", arguments='{"a": "' + "a" * 50 * length, index=0)
        if kind == "many calls at once":
            rest = [
                Chunk(parts=tuple(ToolCall(id=f"c{i}", name="f", arguments="{}", index=i) for i in range(1, length)))
            ]
        else:
            rest = [Chunk(parts=(ToolCall(id="c", name="f", arguments="1", index=1),)) for _ in range(length)]
        before = time.process_time()
        for chunk in (Chunk(parts=(begun,)), *rest):
            renderer.chunk(chunk)
        renderer.end(RECORD)
        return time.process_time() - before

    short = min(taken(300) for _ in range(5))
    assert min(taken(3000) for _ in range(3)) < 30 * short


def test_results_without_ids_are_matched_in_proportion_to_their_number() -> None:
    def taken(length: int) -> int:
        calls = [{"function": {"name": f"f{number}", "arguments": {}}} for number in range(length)]
        results = [{"role": "tool", "tool_name": f"f{number}", "content": "a"} for number in range(length)]
        body = {"model": "m", "messages": [{"role": "assistant", "tool_calls": calls}, *results]}
        return steps(lambda: Ollama().parse_request(body, "1"))

    assert_linear(taken)


def assert_linear(taken: Callable[[int], int]) -> None:
    taken(1)  # what is made once
    assert taken(LONG) < 1.5 * LONG / SHORT * taken(SHORT)
