"""Streams as single vendors and servers send them, told to callers of each dialect.

Each stream says the same in its vendor's own way. Every caller has to learn the same from it: the text, the thoughts,
the calls, why the answer ended, and the usage once.
"""
# ruff: noqa: E501 - an event is one line, as a server sends it

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from semroute.dialects.ollama.client import Ollama
from semroute.dialects.sse import Event, EventParser
from semroute.errors import ProviderError
from semroute.execution.faults import name_of
from semroute.messages import Chunk, FinishReason, Text, Thinking, ToolCall, Usage
from semroute.providers.bad_answers import classify_bad_answer
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

HEAD: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
COUNTED = Usage(input_tokens=10, output_tokens=5)
SUM = [("add", {"a": 5, "b": 7})]
BOTH = [("add", {"a": 5, "b": 7}), ("clock", {})]


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """What a server sends, and what is meant."""

    events: list[dict[str, Any]]
    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, dict[str, Any]]] = []
    ends: FinishReason = "stop"
    usage: Usage | None = COUNTED
    source: str = ""
    """The vendor's package whose types name these fields, or a report that quotes such a stream, all read on 2026-11-30.

    "public code": tests of clients quote such a stream, or their code reads it. "not confirmed": nobody here has read of
    it. Empty: it is a variation of the others.
    """


def piece(delta: dict[str, Any], finish: str | None = None, choice: dict[str, Any] | None = None, **more: Any) -> Any:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **(choice or {})}], **more}


def call(arguments: Any = None, **fields: Any) -> Any:
    """A piece of a call. `name` goes where it belongs."""
    function = {"name": fields.pop("name")} if "name" in fields else {}
    return piece({"tool_calls": [{**fields, "function": {**function, "arguments": arguments}}]})


def last(**more: Any) -> Any:
    return {**HEAD, "choices": [], "usage": USED, **more}


HALVES = ('{"a": 5,', ' "b": 7}')
WHOLE = '{"a": 5, "b": 7}'

STREAMS: dict[str, Stream] = {
    "openrouter": Stream(
        events=[
            piece({"role": "assistant", "content": "", "reasoning": "One.", "reasoning_details": [{"type": "reasoning.text", "text": "One."}]}, provider="X"),
            piece({"role": "assistant", "content": "Twelve."}, provider="X", choice={"native_finish_reason": None}),
            piece({"role": "assistant", "content": ""}, "stop", choice={"native_finish_reason": "STOP"}),
            {**piece({"role": "assistant", "content": ""}), "usage": {**USED, "cost": 0.1, "is_byok": False}},
        ],
        text="Twelve.",
        thoughts="One.",
        source="https://github.com/OpenRouterTeam/python-sdk: 1.3.84",
    ),
    "groq": Stream(
        events=[
            piece({"role": "assistant", "content": ""}, x_groq={"id": "req_1"}),
            piece({"content": "Twelve."}),
            piece({}, "stop", x_groq={"id": "req_1", "usage": {**USED, "queue_time": 0.1}}),
        ],
        text="Twelve.",
        source="https://github.com/groq/groq-python: 1.7.0",
    ),
    "moonshot": Stream(
        events=[
            piece({"role": "assistant", "content": ""}),
            piece({"reasoning_content": "One."}),
            piece({"content": "Twelve."}),
            piece({}, "stop", choice={"usage": USED}),
        ],
        text="Twelve.",
        thoughts="One.",
        source="public code",
    ),
    "deepseek": Stream(
        events=[
            piece({"role": "assistant", "content": None, "reasoning_content": ""}, usage=None),
            piece({"content": None, "reasoning_content": "One."}, usage=None),
            piece({"content": "Twelve.", "reasoning_content": None}, usage=None),
            piece({"content": "", "reasoning_content": None}, "stop", usage={**USED, "prompt_cache_hit_tokens": 0}),
        ],
        text="Twelve.",
        thoughts="One.",
        source="public code",
    ),
    "mistral": Stream(
        events=[
            piece({"role": "assistant", "content": ""}),
            piece({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "One."}]}]}),
            piece({"content": [{"type": "text", "text": "Twelve."}, {"type": "reference", "reference_ids": [1]}]}),
            piece({"content": ""}, "stop", usage=USED),
        ],
        text="Twelve.",
        thoughts="One.",
        source="https://github.com/mistralai/client-python: 3.7.0",
    ),
    "mistral, calls": Stream(
        events=[
            piece({"role": "assistant", "content": ""}),
            piece({"content": "", "tool_calls": [{"id": "D681PevKs", "function": {"name": "add", "arguments": WHOLE}, "index": 0}]}, "tool_calls", usage=USED),
        ],
        calls=SUM,
        ends="tool_calls",
        source="https://github.com/mistralai/client-python: 3.7.0",
    ),
    "mistral, window full": Stream(
        events=[piece({"content": "Twel"}), piece({"content": ""}, "model_length", usage=USED)],
        text="Twel",
        ends="length",
        source="https://github.com/mistralai/client-python: 3.7.0",
    ),
    "cerebras": Stream(
        events=[
            piece({"role": "assistant"}),
            piece({"reasoning": "One."}),
            piece({"content": "Twelve."}),
            piece({}, "stop", usage=USED, time_info={"queue_time": 0.1}),
        ],
        text="Twelve.",
        thoughts="One.",
        source="https://github.com/Cerebras/cerebras-cloud-sdk-python: 1.91.0",
    ),
    "together": Stream(
        events=[
            piece({"role": "assistant", "content": "Twelve.", "token_id": 1, "tool_calls": []}, choice={"text": "Twelve.", "logprobs": -0.25, "seed": 1}),
            piece({"role": "assistant", "content": ""}, "eos", choice={"text": "", "logprobs": None}, usage=USED),
            last(),
        ],
        text="Twelve.",
        source="https://github.com/togethercomputer/together-py: 3.1.1",
    ),
    "together, log-probabilities in lists": Stream(
        events=[
            piece({"content": "Twelve."}, choice={"logprobs": {"tokens": ["Twelve."], "token_logprobs": [-0.25], "content": 1}}),
            piece({}, "eos", usage=USED),
        ],
        text="Twelve.",
        source="https://github.com/togethercomputer/together-py: 3.1.1",
    ),
    "fireworks": Stream(
        events=[
            piece({"role": "assistant"}),
            piece({"content": "Twelve."}, choice={"token_ids": None}),
            piece({}, "stop", usage=USED, perf_metrics=None),
        ],
        text="Twelve.",
        source="not confirmed",
    ),
    "qwen": Stream(
        events=[
            piece({"content": None, "role": "assistant", "reasoning_content": ""}, usage=None),
            piece({"content": None, "reasoning_content": "One."}, usage=None),
            piece({"content": "Twelve.", "reasoning_content": None}, usage=None),
            piece({"content": ""}, "stop", usage=None),
            last(),
        ],
        text="Twelve.",
        thoughts="One.",
        source="not confirmed",
    ),
    "qwen, calls": Stream(
        events=[
            call("", index=0, id="call_1", type="function", name="add"),
            call(HALVES[0], index=0, id="", type="function", name=""),
            call(HALVES[1], index=0, id="", type="function", name=None),
            piece({"content": ""}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
        source="public code",
    ),
    "zhipu": Stream(
        events=[
            piece({"role": "assistant", "reasoning_content": "One."}),
            piece({"role": "assistant", "content": "Twelve."}),
            piece({"role": "assistant", "content": ""}, "stop", usage=USED),
        ],
        text="Twelve.",
        thoughts="One.",
        source="the package zai-sdk 0.2.3",
    ),
    "zhipu, filtered": Stream(
        events=[piece({"content": "Twel"}), piece({"content": ""}, "sensitive", usage=USED)],
        text="Twel",
        ends="content_filter",
        source="public code",
    ),
    "zhipu, window full": Stream(
        events=[piece({"content": "Twel"}), piece({"content": ""}, "model_context_window_exceeded", usage=USED)],
        text="Twel",
        ends="length",
        source="public code",
    ),
    "xai": Stream(
        events=[
            piece({"role": "assistant", "reasoning_content": "One."}, usage={**USED, "completion_tokens": 1}),
            piece({"content": "Twelve.", "role": "assistant"}, usage={**USED, "completion_tokens": 4}),
            piece({"content": "", "role": "assistant"}, "stop", usage=USED),
            {**last(), "usage": {**USED, "num_sources_used": 0}},
        ],
        text="Twelve.",
        thoughts="One.",
        source="not confirmed",
    ),
    "sglang": Stream(
        events=[
            piece({"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}, usage=None),
            piece({"role": None, "content": "Twelve.", "reasoning_content": None, "tool_calls": None}, choice={"matched_stop": None}),
            piece({"role": None, "content": None, "tool_calls": None}, "stop", choice={"matched_stop": 151645}),
            last(),
        ],
        text="Twelve.",
        source="public code",
    ),
    "llama.cpp": Stream(
        events=[
            piece({"role": "assistant", "content": None}),
            piece({"reasoning_content": "One."}),
            piece({"content": "Twelve."}),
            piece({}, "stop", timings={"prompt_n": 10, "predicted_n": 5}),
            last(timings={"prompt_n": 10, "predicted_n": 5}),
        ],
        text="Twelve.",
        thoughts="One.",
        source="public code",
    ),
    "lm studio": Stream(
        events=[
            piece({"role": "assistant", "reasoning": "One."}, system_fingerprint="m"),
            piece({"content": "Twelve."}, system_fingerprint="m", choice={"logprobs": None}),
            piece({}, "stop", system_fingerprint="m", stats={}),
            last(),
        ],
        text="Twelve.",
        thoughts="One.",
        source="not confirmed",
    ),
    "tgi, calls as an object": Stream(
        events=[
            piece({"role": "assistant", "tool_calls": {"index": 0, "id": "", "type": "function", "function": {"name": "add", "arguments": HALVES[0]}}}),
            piece({"role": "assistant", "tool_calls": {"index": 0, "id": "", "type": "function", "function": {"name": None, "arguments": HALVES[1]}}}),
            piece({"role": "assistant", "content": ""}, "eos_token"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
        source="not confirmed",
    ),
    "azure": Stream(
        events=[
            {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]},
            piece({"content": "", "refusal": None, "role": "assistant"}, choice={"content_filter_results": {}, "logprobs": None}),
            piece({"content": "Twelve."}, choice={"content_filter_results": {"hate": {"filtered": False}}}),
            piece({}, "stop", choice={"content_filter_results": {}}),
            last(),
        ],
        text="Twelve.",
        source="public code",
    ),
    "azure, filtered on the way": Stream(
        events=[
            piece({"content": "Twel"}),
            piece({}, "content_filter", choice={"content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}),
            last(),
        ],
        text="Twel",
        ends="content_filter",
        source="public code",
    ),
    "ollama": Stream(
        events=[
            piece({"role": "assistant", "content": "", "reasoning": "One."}),
            piece({"role": "assistant", "content": "Twelve."}),
            piece({"role": "assistant", "content": ""}, "stop"),
            last(),
        ],
        text="Twelve.",
        thoughts="One.",
        source="not confirmed",
    ),
    "ollama, two calls with one number": Stream(
        events=[
            piece({"role": "assistant", "content": "", "tool_calls": [{"id": "call_a", "index": 0, "type": "function", "function": {"name": "add", "arguments": WHOLE}}]}),
            piece({"role": "assistant", "content": "", "tool_calls": [{"id": "call_b", "index": 0, "type": "function", "function": {"name": "clock", "arguments": "{}"}}]}),
            piece({"role": "assistant", "content": ""}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
        source="https://github.com/ollama/ollama/issues/15457",
    ),
    "two calls with one number in one piece": Stream(
        events=[
            piece({"tool_calls": [
                {"id": "call_a", "index": 0, "type": "function", "function": {"name": "add", "arguments": WHOLE}},
                {"id": "call_b", "index": 0, "type": "function", "function": {"name": "clock", "arguments": "{}"}},
            ]}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
        source="https://github.com/ollama/ollama/issues/15457",
    ),
    "calls without a number": Stream(
        events=[
            call("", id="call_a", type="function", name="add"),
            call(HALVES[0]),
            call(HALVES[1]),
            call("", id="call_b", type="function", name="clock"),
            call("{}"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
        source="https://github.com/open-webui/open-webui/pull/27190",
    ),
    "mixed calls without a number, told apart by their ids": Stream(
        events=[
            call("", id="call_a", type="function", name="add"),
            call("", id="call_b", type="function", name="clock"),
            call(HALVES[0], id="call_a"),
            call("{}", id="call_b"),
            call(HALVES[1], id="call_a"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
        source="https://github.com/SamSaffron/term-llm/pull/314",
    ),
    "calls without ids": Stream(
        events=[
            call(WHOLE, index=0, type="function", name="add"),
            call("{}", index=1, type="function", name="clock"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
    ),
    "calls without ids or numbers": Stream(
        events=[
            call(WHOLE, name="add"),
            call("{}", name="clock"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=BOTH,
        ends="tool_calls",
    ),
    "the name and the id in each piece": Stream(
        events=[
            call("", index=0, id="call_a", type="function", name="add"),
            call(HALVES[0], index=0, id="call_a", type="function", name="add"),
            call(HALVES[1], index=0, id="call_a", type="function", name="add"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
        source="https://github.com/SillyTavern/SillyTavern/pull/5948",
    ),
    "the name in each piece, the id in none": Stream(
        events=[
            call(HALVES[0], index=0, type="function", name="add"),
            call(HALVES[1], index=0, type="function", name="add"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
        source="https://github.com/NousResearch/hermes-agent/pull/11984",
    ),
    "another id in each piece": Stream(
        events=[
            call("", index=0, id="call_a", type="function", name="add"),
            call(HALVES[0], index=0, id="call_b", type="function"),
            call(HALVES[1], index=0, id="call_c", type="function"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
    ),
    "arguments as an object": Stream(
        events=[
            call({"a": 5, "b": 7}, index=0, id="call_a", type="function", name="add"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
    ),
    "calls numbered from one": Stream(
        events=[
            piece({"content": "Twelve."}),
            call(WHOLE, index=1, id="call_a", type="function", name="add"),
            call("{}", index=2, id="call_b", type="function", name="clock"),
            piece({}, "tool_calls"),
            last(),
        ],
        text="Twelve.",
        calls=BOTH,
        ends="tool_calls",
    ),
    "the id after the name": Stream(
        events=[
            call("", index=0, type="function", name="add"),
            call(WHOLE, index=0, id="call_a", type="function"),
            piece({}, "tool_calls"),
            last(),
        ],
        calls=SUM,
        ends="tool_calls",
    ),
    "an empty finish reason in each piece": Stream(
        events=[piece({"content": "Twelve."}, ""), piece({"content": ""}, "stop"), last()],
        text="Twelve.",
    ),
    "a whole message at the end": Stream(
        events=[
            piece({"content": "Twelve."}, choice={"message": {"role": "assistant", "content": "Twelve."}}),
            piece({"content": ""}, "stop", choice={"message": {"role": "assistant", "content": "Twelve."}}, usage=USED),
        ],
        text="Twelve.",
        source="https://github.com/perplexityai/perplexity-py: 0.46.1",
    ),
}  # fmt: skip

ASKED: dict[str, dict[str, Any]] = {
    "openai": {"messages": [{"role": "user", "content": "Hi"}], "stream": True, "stream_options": {"include_usage": True}},
    "responses": {"input": "Hi", "stream": True, "reasoning": {"summary": "auto"}},
    "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "gemini": {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
}  # fmt: skip


def chunks_of(stream: Stream) -> list[Chunk]:
    """What is read of a stream."""
    parser = PROVIDERS["openai"].stream_parser()
    chunks = [parser.event(Event(data=json.dumps(event).encode())) for event in stream.events]
    assert parser.finished
    return [chunk for chunk in chunks if chunk is not None]


def shown(client: str, chunks: list[Chunk]) -> bytes:
    """What a caller of a dialect is sent."""
    request = CLIENTS[client].parse_request(ASKED[client], "1")
    renderer = CLIENTS[client].stream(request, DECISION)
    return b"".join([*(renderer.chunk(chunk) for chunk in chunks), renderer.end(RECORD)])


def events_of(data: bytes) -> list[Event]:
    events = EventParser().feed(data)
    return [event for event in events if event.data != b"[DONE]"]


class Learned:
    """What a caller learns from chunks."""

    def __init__(self, chunks: list[Chunk]) -> None:
        parts = [part for chunk in chunks for part in chunk.parts]
        self.text = "".join(part.text for part in parts if isinstance(part, Text))
        self.thoughts = "".join(part.text for part in parts if isinstance(part, Thinking))
        self.calls: dict[int, list[ToolCall]] = {}
        for part in parts:
            if isinstance(part, ToolCall):
                self.calls.setdefault(part.index, []).append(part)
        self.ends = [chunk.finish_reason for chunk in chunks if chunk.finish_reason is not None]
        self.usages = [chunk.usage for chunk in chunks if chunk.usage is not None]

    @property
    def called(self) -> list[tuple[str, Any]]:
        """Names and arguments put together as strict clients do it: name and id are joined from all pieces."""
        return [
            ("".join(part.name for part in parts), json.loads("".join(part.arguments for part in parts)))
            for _, parts in sorted(self.calls.items())
        ]

    @property
    def ids(self) -> list[str]:
        return ["".join(part.id for part in parts) for _, parts in sorted(self.calls.items())]


each = pytest.mark.parametrize("name", STREAMS)


@each
@pytest.mark.parametrize("client", ["openai", "responses", "anthropic", "gemini"])
def test_every_caller_learns_what_a_server_says(name: str, client: str) -> None:
    stream = STREAMS[name]
    sent = events_of(shown(client, chunks_of(stream)))
    parser = PROVIDERS[client].stream_parser()
    learned = Learned([chunk for event in sent if (chunk := parser.event(event)) is not None])
    assert parser.finished
    assert (learned.text, learned.thoughts, learned.called) == (stream.text, stream.thoughts, stream.calls)
    assert learned.ends[-1] == stream.ends
    assert learned.usages[-1] == stream.usage
    assert len(set(learned.ids)) == len(stream.calls)
    assert all(learned.ids)


@each
def test_callers_of_ollama_learn_it_too(name: str) -> None:
    stream = STREAMS[name]
    request = Ollama().parse_request(
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "think": True}, "1"
    )
    renderer = Ollama().stream(request, DECISION)
    data = b"".join([*(renderer.chunk(chunk) for chunk in chunks_of(stream)), renderer.end(RECORD)])
    lines = [json.loads(line) for line in data.splitlines()]
    said = [line["message"] for line in lines]
    assert "".join(one["content"] for one in said) == stream.text
    assert "".join(one.get("thinking", "") for one in said) == stream.thoughts
    calls = [one["function"] for message in said for one in message.get("tool_calls") or ()]
    assert [(one["name"], one["arguments"]) for one in calls] == stream.calls
    assert (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == (10, 5)


@each
def test_callers_of_openai_get_events_as_openai_writes_them(name: str) -> None:
    """Libraries join the id and the name of all pieces of a call, and find the call by its number."""
    sent = [json.loads(event.data) for event in events_of(shown("openai", chunks_of(STREAMS[name])))]
    assert sum(bool(event.get("usage")) for event in sent) == 1
    assert sent[-1]["choices"] == []
    begun: set[int] = set()
    for event in sent:
        for choice in event["choices"]:
            assert choice["finish_reason"] in (None, "stop", "length", "tool_calls", "content_filter")
            assert "usage" not in choice
            calls = choice["delta"].get("tool_calls") or []
            assert isinstance(calls, list)
            for one in calls:
                assert isinstance(one["function"].get("arguments") or "", str)
                again = one["index"] in begun
                assert bool(one.get("id")) != again
                assert bool(one["function"].get("name")) != again
                begun.add(one["index"])


# --- what breaks off on the way ---------------------------------------------------------------------------------------

BREAKS = {
    "openrouter, its vendor failed": (
        piece({"content": ""}, "error", provider="X", error={"code": "server_error", "message": "Provider disconnected"}),
        "server_error",
    ),
    "openrouter, its vendor has no room": (
        {**HEAD, "provider": "X", "error": {"code": 429, "message": "Rate limit exceeded"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
        "rate_limited",
    ),
    "groq": ({**HEAD, "choices": [], "x_groq": {"id": "req_1", "error": "llama-3.3-70b-versatile is currently over capacity."}}, "overloaded"),
    "groq, a call that nobody can read": (
        {"error": {"message": "Failed to call a function. See 'failed_generation' for more details.", "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "<function=add", "status_code": 400}},
        "unsupported",
    ),
    "zhipu": (piece({"content": ""}, "network_error"), "bad_answer"),
    "deepseek": (piece({"content": ""}, "insufficient_system_resource", usage=USED), "bad_answer"),
    "in capitals": (piece({"content": ""}, "ERROR"), "bad_answer"),
    "sglang": (piece({"content": None}, "abort", choice={"matched_stop": None}), "bad_answer"),
    "vllm": ({"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}, "server_error"),
    "llama.cpp": ({"error": {"code": 500, "message": "context size has been exceeded", "type": "server_error"}}, "context_length"),
    "tgi": ({"error": "Request failed during generation: Server error: CUDA out of memory", "error_type": "generation"}, "server_error"),
    "ollama": ({"error": {"message": "an error was encountered while running the model", "type": "api_error", "code": None}}, "server_error"),
    "azure": ({"error": {"message": "The server had an error while processing your request. Sorry about that!", "type": "server_error", "param": None, "code": None}}, "server_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_an_answer_that_a_server_breaks_off_is_a_fault_with_a_name(name: str) -> None:
    broken, fault = BREAKS[name]
    parser = PROVIDERS["openai"].stream_parser()
    parser.event(Event(data=json.dumps(piece({"content": "Twel"})).encode()))
    with pytest.raises(ProviderError) as caught:
        parser.event(Event(data=json.dumps(broken).encode()))
    assert name_of(classify_bad_answer(caught.value)) == fault


# --- whole answers ----------------------------------------------------------------------------------------------------

ODD: dict[str, dict[str, Any]] = {
    "no id": {"type": "function", "function": {"name": "add", "arguments": WHOLE}},
    "an empty id": {"id": "", "type": "function", "function": {"name": "add", "arguments": WHOLE}},
    "no type": {"id": "call_a", "function": {"name": "add", "arguments": WHOLE}},
    "an object": {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": {"a": 5, "b": 7}}},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("in_list", [True, False])
def test_a_call_in_another_form_is_told_as_openai_writes_it(odd: str, in_list: bool) -> None:
    calls: Any = [ODD[odd]] if in_list else ODD[odd]
    answer = {"id": "c1", "choices": [{"index": 0, "message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    completion = PROVIDERS["openai"].parse_completion(json.dumps(answer).encode())
    asked = CLIENTS["openai"].parse_request({"messages": [{"role": "user", "content": "Hi"}]}, "1")
    [choice] = json.loads(CLIENTS["openai"].render_completion(completion, RECORD, asked))["choices"]
    [told] = choice["message"]["tool_calls"]
    assert told["id"].startswith("call_")
    assert told["type"] == "function"
    assert json.loads(told["function"]["arguments"]) == {"a": 5, "b": 7}


def test_two_calls_with_one_id_get_two() -> None:
    calls = [{"id": "call_0", "type": "function", "function": {"name": name, "arguments": ""}} for name in ("f", "g")]
    answer = {"id": "c1", "choices": [{"index": 0, "message": {"tool_calls": calls}, "finish_reason": "stop"}]}
    completion = PROVIDERS["openai"].parse_completion(json.dumps(answer).encode())
    told = [part for part in completion.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.arguments) for call in told] == [("f", "{}"), ("g", "{}")]
    assert len({call.id for call in told}) == 2
    assert completion.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("eos", "stop"), ("MAX_TOKENS", "length"), ("sensitive", "content_filter"), ("length", "length")],
)
def test_a_servers_own_word_for_the_end_is_told_as_openais(word: str, meant: FinishReason) -> None:
    answer = {"id": "c1", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": word}], "usage": USED}
    completion = PROVIDERS["openai"].parse_completion(json.dumps(answer).encode())
    asked = CLIENTS["openai"].parse_request({"messages": [{"role": "user", "content": "Hi"}]}, "1")
    told = json.loads(CLIENTS["openai"].render_completion(completion, RECORD, asked))
    assert (told["choices"][0]["finish_reason"], told["usage"]["total_tokens"]) == (meant, 15)


def test_of_several_choices_none_is_lost() -> None:
    """What cannot be told anew is passed on as it came."""
    choices = [{"index": n, "message": {"content": str(n)}, "finish_reason": "eos"} for n in range(2)]
    completion = PROVIDERS["openai"].parse_completion(json.dumps({"id": "c1", "choices": choices}).encode())
    assert json.loads(completion.raw)["choices"] == choices
    parser = PROVIDERS["openai"].stream_parser()
    for choice in ({"index": n, "delta": {"content": str(n)}, "finish_reason": "eos"} for n in (1, 0)):
        chunk = parser.event(Event(data=json.dumps({**HEAD, "choices": [choice]}).encode()))
        assert chunk is not None
        assert json.loads(chunk.raw)["choices"] == [choice]


def test_many_pieces_of_one_call_take_time_by_their_number_alone() -> None:
    """Each piece repeats the name, and any of them could begin another call."""
    parser = PROVIDERS["openai"].stream_parser()
    begin = call('{"a": [', index=0, id="call_a", type="function", name="add")
    again = json.dumps(call("{},", index=0, id="call_a", type="function", name="add")).encode()
    parser.event(Event(data=json.dumps(begin).encode()))
    for _ in range(2000):
        chunk = parser.event(Event(data=again))
        assert chunk is not None
        assert chunk.parts == (ToolCall(arguments="{},"),)


def test_fragments_of_a_name_are_joined_where_calls_are_told_whole() -> None:
    """That Gemini's models write names so over Chat Completions is not confirmed."""
    events = [
        call("", index=0, id="call_a", type="function", name="a"),
        call("", index=0, name="dd"),
        call(WHOLE, index=0),
        piece({}, "tool_calls"),
    ]
    chunks = chunks_of(Stream(events=events))
    assert [json.loads(chunk.raw) for chunk in chunks] == events  # OpenAI's clients join them
    parser = PROVIDERS["gemini"].stream_parser()
    learned = Learned([chunk for event in events_of(shown("gemini", chunks)) if (chunk := parser.event(event))])
    assert learned.called == SUM


# --- servers that speak Anthropic's dialect ---------------------------------------------------------------------------

START: dict[str, Any] = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 10, "output_tokens": 0}}}  # fmt: skip
STOP = {"type": "message_stop"}


def block(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def ended(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def closing(reason: str | None, **usage: int) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": 5, **usage},
    }


TEXT = [block(0, type="text", text=""), delta(0, type="text_delta", text="Twelve."), ended(0)]
ADD = block(0, type="tool_use", id="a", name="add", input={})
CLOCK = block(1, type="tool_use", id="b", name="clock", input={})

SPEAKERS: dict[str, Stream] = {
    "minimax, the input is counted at the end": Stream(
        events=[
            {**START, "message": {**START["message"], "usage": {"input_tokens": 0, "output_tokens": 0}}},
            *TEXT,
            closing("end_turn", input_tokens=10),
            STOP,
        ],
        text="Twelve.",
        source="not confirmed",
    ),
    "moonshot, nothing is counted at the start": Stream(
        events=[
            {**START, "message": {**START["message"], "usage": None}},
            *TEXT,
            closing("end_turn", input_tokens=10),
            STOP,
        ],
        text="Twelve.",
        source="not confirmed",
    ),
    "the words of Chat Completions": Stream(
        events=[START, *TEXT, closing("length"), STOP],
        text="Twelve.",
        ends="length",
    ),
    "zhipu, filtered": Stream(
        events=[START, *TEXT, closing("sensitive"), STOP],
        text="Twelve.",
        ends="content_filter",
        source="not confirmed",
    ),
    "calls that are told as a plain end": Stream(
        events=[START, ADD, delta(0, type="input_json_delta", partial_json=WHOLE), ended(0), closing("stop"), STOP],
        calls=SUM,
        ends="tool_calls",
    ),
    "blocks that do not end": Stream(
        events=[START, ADD, delta(0, type="input_json_delta", partial_json=WHOLE), CLOCK, closing("tool_use"), STOP],
        calls=BOTH,
        ends="tool_calls",
    ),
    "calls by turns": Stream(
        events=[
            START,
            ADD,
            CLOCK,
            delta(0, type="input_json_delta", partial_json=HALVES[0]),
            delta(1, type="input_json_delta", partial_json="{}"),
            delta(0, type="input_json_delta", partial_json=HALVES[1]),
            ended(0),
            ended(1),
            closing("tool_use"),
            STOP,
        ],
        calls=BOTH,
        ends="tool_calls",
    ),
    "all blocks with one index": Stream(
        events=[
            START,
            {**CLOCK, "index": 0},
            ADD,
            delta(0, type="input_json_delta", partial_json=WHOLE),
            closing("tool_use"),
            STOP,
        ],
        calls=[*reversed(BOTH)],
        ends="tool_calls",
    ),
    "no reason for the end": Stream(
        events=[START, CLOCK, ended(1), closing(None), STOP],
        calls=[("clock", {})],
        ends="tool_calls",
    ),
}


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("client", ["openai", "responses", "gemini"])
def test_every_caller_learns_what_a_server_says_in_anthropics_dialect(name: str, client: str) -> None:
    stream = SPEAKERS[name]
    parser = PROVIDERS["anthropic"].stream_parser()
    events = [Event(data=json.dumps(event).encode(), name=event["type"]) for event in stream.events]
    chunks = [chunk for event in events if (chunk := parser.event(event)) is not None]
    assert parser.finished
    reader = PROVIDERS[client].stream_parser()
    learned = Learned([chunk for event in events_of(shown(client, chunks)) if (chunk := reader.event(event))])
    assert (learned.text, learned.called, learned.ends[-1]) == (stream.text, stream.calls, stream.ends)
    assert learned.usages[-1] == stream.usage


@pytest.mark.parametrize(("word", "own"), [("length", "max_tokens"), ("stop", "end_turn"), ("sensitive", "refusal")])
def test_callers_of_anthropic_get_its_own_words_for_the_end(word: str, own: str) -> None:
    parser = PROVIDERS["anthropic"].stream_parser()
    chunk = parser.event(Event(data=json.dumps(closing(word)).encode(), name="message_delta"))
    assert chunk is not None
    assert json.loads(chunk.raw)["delta"]["stop_reason"] == own
    answer = {"id": "m", "type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": word}
    completion = PROVIDERS["anthropic"].parse_completion(json.dumps(answer).encode())
    assert json.loads(completion.raw)["stop_reason"] == own


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "gemini"])
@pytest.mark.parametrize("data", [b"[DONE]", b" [DONE]\r", b"DONE", b"", b" "])
def test_an_event_that_says_nothing_breaks_no_stream(dialect: str, data: bytes) -> None:
    """Proxies end every dialect by `[DONE]`, and Gemini sometimes by `DONE`. Some keep connections alive by empty events.

    Sources: https://github.com/zed-industries/zed/pull/61627, https://github.com/googleapis/java-genai/issues/1084.
    """
    assert PROVIDERS[dialect].stream_parser().event(Event(data=data)) is None


# --- servers that speak the other dialects ----------------------------------------------------------------------------


def learned_of(dialect: str, events: list[dict[str, Any]], names: list[str] | None = None) -> Learned:
    parser = PROVIDERS[dialect].stream_parser()
    named = names or [str(event.get("type") or "") for event in events]
    read = [Event(data=json.dumps(event).encode(), name=name) for event, name in zip(events, named, strict=True)]
    chunks = [chunk for event in read if (chunk := parser.event(event)) is not None]
    assert parser.finished
    return Learned(chunks)


@pytest.mark.parametrize("by_turns", [True, False])
def test_calls_of_a_response_are_told_apart_by_their_ids_where_all_have_one_index(by_turns: bool) -> None:
    def item(state: str, id_: str, name: str, arguments: str) -> dict[str, Any]:
        said = {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": name, "arguments": arguments}
        return {"type": f"response.output_item.{state}", "output_index": 0, "item": said}

    def arguments(id_: str, text: str) -> dict[str, Any]:
        kind = "response.function_call_arguments.delta"
        return {"type": kind, "output_index": 0, "item_id": f"fc_{id_}", "delta": text}

    begin = [item("added", "a", "add", ""), item("added", "b", "clock", "")]
    pieces = [arguments("a", HALVES[0]), arguments("b", "{}"), arguments("a", HALVES[1])]
    ends = [item("done", "a", "add", WHOLE), item("done", "b", "clock", "{}")]
    parted = [begin[0], pieces[0], pieces[2], ends[0], begin[1], pieces[1], ends[1]]
    usage = {"input_tokens": 10, "output_tokens": 5}
    response = {"id": "r", "status": "completed", "output": [end["item"] for end in ends], "usage": usage}
    completed = {"type": "response.completed", "response": response}
    learned = learned_of("responses", [*((*begin, *pieces, *ends) if by_turns else parted), completed])
    assert (learned.called, learned.ids, learned.ends) == (BOTH, ["a", "b"], ["tool_calls"])


def test_calls_by_turns_of_converse_are_told_apart_by_their_blocks() -> None:
    def begin(index: int, id_: str, name: str) -> tuple[str, dict[str, Any]]:
        return "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": id_, "name": name}}}

    def arguments(index: int, text: str) -> tuple[str, dict[str, Any]]:
        return "contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": text}}}

    events: list[tuple[str, dict[str, Any]]] = [
        *(begin(0, "a", "add"), begin(1, "b", "clock"), arguments(0, HALVES[0]), arguments(0, HALVES[1])),
        *(("contentBlockStop", {"contentBlockIndex": 1}), ("contentBlockStop", {"contentBlockIndex": 0})),
        ("messageStop", {"stopReason": "tool_use"}),
    ]
    learned = learned_of("bedrock", [event for _, event in events], [name for name, _ in events])
    assert (learned.called, learned.ids) == (BOTH, ["a", "b"])


def test_events_of_gemini_without_an_answer_break_no_stream() -> None:
    events: list[dict[str, Any]] = [
        {},
        {"responseId": "r", "modelVersion": "m"},
        {"candidates": [], "responseId": "r"},
        {"candidates": [{"content": {"parts": [{"text": "Twelve."}]}, "finishReason": "STOP"}]},
    ]
    assert learned_of("gemini", events).text == "Twelve."


def test_of_several_candidates_the_first_is_told() -> None:
    events = [
        {"candidates": [{"index": 0, "content": {"parts": [{"text": "Twel"}]}}]},
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "Ten."}]}, "finishReason": "STOP"}]},
        {"candidates": [{"index": 0, "content": {"parts": [{"text": "ve."}]}, "finishReason": "STOP"}]},
    ]
    learned = learned_of("gemini", events)
    assert (learned.text, learned.ends) == ("Twelve.", ["stop"])
    whole = {"candidates": [events[1]["candidates"][0], {"index": 2, "content": {"parts": [{"text": "No."}]}}]}
    assert PROVIDERS["gemini"].parse_completion(json.dumps(whole).encode()).text == "Ten."


@pytest.mark.parametrize("alive", [{"type": "ping"}, {}, {"object": "ping", "choices": None}])
def test_what_a_proxy_sends_to_keep_a_stream_alive_reaches_no_caller(alive: dict[str, Any]) -> None:
    parser = PROVIDERS["openai"].stream_parser()
    assert parser.event(Event(data=json.dumps(alive).encode())) is None
