"""What servers send is read tolerantly, and callers are told it as their vendor itself would tell it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.sse import Event
from semroute.messages import Chunk, Refusal, Text, Thinking, ToolCall, Usage
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

HI = [{"role": "user", "content": "Hi"}]
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
COUNTED = Usage(input_tokens=10, output_tokens=5)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def read(provider: str, events: Iterable[dict[str, Any]]) -> tuple[list[Chunk], bool]:
    """The chunks of a stream, and whether it has ended."""
    parser = PROVIDERS[provider].stream_parser()
    chunks = [
        parser.event(Event(data=json.dumps(event).encode(), name=str(event.get("type") or event.get("name") or "")))
        for event in events
    ]
    return [chunk for chunk in chunks if chunk is not None], parser.finished


def told(provider: str, events: Iterable[dict[str, Any]], client: str = "openai", **body: Any) -> list[dict[str, Any]]:
    """What a client is told of a stream, event by event, without `[DONE]`."""
    request = CLIENTS[client].parse_request({"messages": HI, "stream": True, **body}, "1")
    renderer = CLIENTS[client].stream(request, DECISION)
    chunks, _ = read(provider, events)
    data = b"".join([*(renderer.chunk(chunk) for chunk in chunks), renderer.end(RECORD)])
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]


ASKED: dict[str, Any] = {"stream_options": {"include_usage": True}}

# --- usage of Chat Completions ----------------------------------------------------------------------------------------

LATE = {
    "a choice without a reason": {**HEAD, "choices": [{"index": 0, "delta": {}}], "usage": USAGE},
    "a choice with the reason null": chunk({"content": ""}, usage=USAGE),
    "no choices": {**HEAD, "choices": [], "usage": USAGE},
    "no list of choices": {**HEAD, "choices": None, "usage": USAGE},
}


@pytest.mark.parametrize("late", LATE)
def test_usage_after_the_end_opens_no_choice_again(late: str) -> None:
    events = [chunk({"role": "assistant", "content": "All done."}), chunk({}, "stop"), LATE[late]]
    assert read("openai", events)[1]
    shown = told("openai", events, **ASKED)
    assert shown[-1]["choices"] == []
    assert shown[-1]["usage"] == USAGE
    assert [each["choices"][0]["finish_reason"] for each in shown[:-1]] == [None, "stop"]
    assert told("openai", events, "anthropic", max_tokens=9)[-1]["type"] == "message_stop"


def test_of_several_choices_each_ends_for_itself() -> None:
    one = {**HEAD, "choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]}
    assert not read("openai", [one, chunk({}, "stop")])[1]
    assert read(
        "openai", [one, chunk({}, "stop"), {**HEAD, "choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}]
    )[1]


TOTALS = [
    chunk({"role": "assistant", "content": "a"}, usage={**USAGE, "completion_tokens": 1}),
    chunk({"content": "b"}, usage={**USAGE, "completion_tokens": 2}),
    chunk({}, "stop", usage=USAGE),
]


@pytest.mark.parametrize("last", [[], [{**HEAD, "choices": [], "usage": {**USAGE, "cost": 0.5}}]])
def test_running_totals_are_told_once_and_last(last: list[dict[str, Any]]) -> None:
    """vLLM and SGLang send them with `continuous_usage_stats`, and other servers unasked."""
    shown = told("openai", [*TOTALS, *last], **ASKED)
    assert [each.get("usage") for each in shown[:-1]] == [None] * 3
    assert (shown[-1]["choices"], shown[-1]["usage"]) == ([], (last or TOTALS)[-1]["usage"])
    assert all("usage" not in each for each in told("openai", [*TOTALS, *last]))
    assert read("openai", TOTALS)[0][-1].usage == COUNTED


def test_who_asks_for_running_totals_gets_them() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    shown = told("openai", TOTALS, stream_options=options)
    assert [each["usage"]["completion_tokens"] for each in shown] == [1, 2, 5]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("first", [True, False])
def test_usage_that_was_not_asked_for_is_not_there(separators: tuple[str, str], first: bool) -> None:
    """A client such as Mistral's refuses the `null` that OpenAI writes when usage was asked for."""
    event = {"usage": None, **chunk({"content": 'say ,"usage":null}'})}
    event = event if first else {**chunk({"content": 'say ,"usage":null}'}), "usage": None}
    raw = json.dumps(event, separators=separators).encode()
    piece = PROVIDERS["openai"].stream_parser().event(Event(data=raw))
    assert piece is not None
    for asked in (True, False):
        request = CLIENTS["openai"].parse_request({"messages": HI, "stream": True, **(ASKED if asked else {})}, "1")
        shown = json.loads(CLIENTS["openai"].stream(request, DECISION).chunk(piece).removeprefix(b"data: "))
        assert ("usage" in shown) == asked
        assert shown["choices"] == event["choices"]


def test_what_azures_filter_says_after_the_end_is_passed_on() -> None:
    filtered = {
        **HEAD,
        "choices": [
            {"index": 0, "delta": {}, "finish_reason": None, "content_filter_results": {"hate": {"filtered": False}}}
        ],
    }
    events = [chunk({"content": "a"}), chunk({}, "stop"), chunk({}), filtered]
    assert told("openai", events) == [events[0], events[1], filtered]


@pytest.mark.parametrize("client", ["anthropic", "gemini", "responses"])
def test_geminis_running_totals_reach_other_clients_once(client: str) -> None:
    def piece(text: str, said: int, finish: str | None = None) -> dict[str, Any]:
        usage = {"promptTokenCount": 10, "candidatesTokenCount": said, "totalTokenCount": 10 + said}
        candidate = {
            "content": {"role": "model", "parts": [{"text": text}]},
            **({"finishReason": finish} if finish else {}),
        }
        return {"candidates": [candidate], "usageMetadata": usage}

    events = [piece("a", 1), piece("b", 3), piece("c", 5, "STOP")]
    assert sum(bool(each.get("usage")) for each in told("gemini", events, **ASKED)) == 1
    if client != "gemini":  # whose own clients know them
        body: dict[str, Any] = {"max_tokens": 9} if client == "anthropic" else {"input": "Hi"}
        last = told("gemini", events, client, **body)[-2 if client == "anthropic" else -1]
        assert (last.get("usage") or last["response"]["usage"])["output_tokens"] == 5


# --- a response that is told only in `done` events --------------------------------------------------------------------

CALL: dict[str, Any] = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "add",
    "arguments": '{"a": 5}',
    "status": "completed",
}
SAID: dict[str, Any] = {
    "type": "message",
    "id": "m_1",
    "role": "assistant",
    "content": [
        {"type": "output_text", "text": "Twelve.", "annotations": [{"type": "url_citation", "url": "https://x"}]}
    ],
}
NO: dict[str, Any] = {
    "type": "message",
    "id": "m_2",
    "role": "assistant",
    "content": [{"type": "refusal", "refusal": "No."}],
}
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
    "encrypted_content": "sealed",
}
OUTPUT: list[dict[str, Any]] = [THOUGHT, SAID, NO, CALL]


def response(kind: str, **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 5}
    whole = {
        "id": "r",
        "object": "response",
        "model": "m",
        "status": kind.removeprefix("response."),
        "output": [],
        "usage": usage,
    }
    return {"type": kind, "response": {**whole, **fields}}


def parts_of(item: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """What the events about each part of an item are called, its text, and what else they say."""
    if item["type"] == "reasoning":
        return [
            ("response.reasoning_summary_text", each["text"], {"summary_index": n, "part": each})
            for n, each in enumerate(item["summary"])
        ]
    if item["type"] == "function_call":
        return [("response.function_call_arguments", item["arguments"], {"arguments": item["arguments"]})]
    [block] = item["content"]
    if "text" in block:
        return [("response.output_text", block["text"], {"content_index": 0, "part": block})]
    return [("response.refusal", block["refusal"], {"content_index": 0, "part": block, "refusal": block["refusal"]})]


def items(*kinds: str) -> list[dict[str, Any]]:
    """The events of these kinds that tell `OUTPUT`."""
    events: list[dict[str, Any]] = []
    for place, item in enumerate(OUTPUT):
        at = {"output_index": place}
        empty = {**item, "content": [], "summary": [], "arguments": "", "encrypted_content": None}
        events.append({"type": "response.output_item.added", "item": empty, **at})
        for name, text, fields in parts_of(item):
            part = "reasoning_summary_part" if "summary_index" in fields else "content_part"
            of_kind = {
                "delta": [
                    *([{"type": f"response.{part}.added", **fields}] if "summary_index" in fields else []),
                    *({"type": f"{name}.delta", **fields, "delta": piece} for piece in (text[:2], text[2:])),
                ],
                "done": [{"type": f"{name}.done", "text": text, **fields}],
                "part": [{"type": f"response.{part}.done", **fields}] if "part" in fields else [],
            }
            events += [{**event, **at} for kind in kinds for event in of_kind.get(kind, [])]
        if "item" in kinds:
            events.append({"type": "response.output_item.done", "item": item, **at})
    return events


@pytest.mark.parametrize("last", [OUTPUT, []], ids=["whole", "bare"])
@pytest.mark.parametrize(
    "kinds",
    [("delta", "done", "part", "item"), ("delta", "item"), ("done", "item"), ("part", "item"), ("item",), ()],
    ids=str,
)
def test_a_response_is_told_once_whichever_events_tell_it(kinds: Sequence[str], last: list[dict[str, Any]]) -> None:
    if not kinds and not last:
        return
    events = [
        response("response.created"),
        *(items(*kinds) if kinds else ()),
        response("response.completed", output=last),
    ]
    chunks, finished = read("responses", events)
    parts = [part for chunk in chunks for part in chunk.parts]
    assert finished
    assert "".join(part.text for part in parts if isinstance(part, Text)) == "Twelve."
    assert "".join(part.text for part in parts if isinstance(part, Refusal)) == "No."
    assert "".join(part.text for part in parts if isinstance(part, Thinking)) == "One.\n\nTwo."
    assert [part.signature for part in parts if isinstance(part, Thinking) and part.signature] == ["rs_1:sealed"]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    assert [(call.id, call.name) for call in calls if call.id] == [("call_1", "add")]
    assert "".join(call.arguments for call in calls) == '{"a": 5}'
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("tool_calls", COUNTED)
    if "delta" not in kinds:
        assert [each.url for part in parts if isinstance(part, Text) for each in part.citations] == ["https://x"]


def test_items_that_a_server_numbers_alike_are_told_once() -> None:
    alike = [
        {**event, "output_index": 0} for event in items("delta") if event.get("item", {}).get("type") != "reasoning"
    ]
    chunks, _ = read("responses", [*alike, response("response.completed", output=OUTPUT)])
    parts = [part for chunk in chunks for part in chunk.parts]
    assert "".join(part.text for part in parts if isinstance(part, Text)) == "Twelve."
    assert "".join(part.text for part in parts if isinstance(part, Thinking)) == "One.\n\nTwo."
    assert sum(bool(part.id) for part in parts if isinstance(part, ToolCall)) == 1


@pytest.mark.parametrize("kinds", [("done",), ("item",), ()], ids=str)
def test_what_only_done_events_tell_reaches_clients_of_other_dialects(kinds: Sequence[str]) -> None:
    events = [*(items(*kinds) if kinds else ()), response("response.completed", output=OUTPUT)]
    shown = told("responses", events)
    deltas = [choice["delta"] for each in shown for choice in each["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Twelve."
    assert (
        "".join(call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or ())
        == '{"a": 5}'
    )
    shown = told("responses", events, "anthropic", max_tokens=9)
    blocks = [each["delta"] for each in shown if each["type"] == "content_block_delta"]
    assert "".join(block.get("text") or "" for block in blocks) == "Twelve.No."
    assert "".join(block.get("partial_json") or "" for block in blocks) == '{"a": 5}'


# --- other places for the whole ---------------------------------------------------------------------------------------


def test_a_message_in_place_of_a_delta_is_read_and_told_as_pieces() -> None:
    message = {
        "role": "assistant",
        "content": "All.",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
    }
    whole = {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    [shown] = told("openai", [whole])
    delta = shown["choices"][0]["delta"]
    assert (delta["content"], delta["tool_calls"][0]["function"]["name"]) == ("All.", "f")
    chunks, _ = read("openai", [chunk({"content": "All."}), whole])  # said before: a summary of it
    assert [part for each in chunks for part in each.parts] == [Text(text="All.")]


def test_arguments_that_come_with_the_start_of_a_block_are_read() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 5}}
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"id": "m", "model": "m", "usage": {"input_tokens": 10.0, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5.0}},
    ]
    chunks, finished = read("anthropic", events)
    assert finished
    assert "".join(part.arguments for each in chunks for part in each.parts if isinstance(part, ToolCall)) == '{"a":5}'
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("tool_calls", COUNTED)


# --- why an answer ends -----------------------------------------------------------------------------------------------

CALLED: dict[str, dict[str, Any]] = {
    "openai": {
        "choices": [
            {
                "message": {"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10.0, "completion_tokens": 5},
    },
    "anthropic": {
        "type": "message",
        "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10.0, "output_tokens": "5"},
    },
    "gemini": {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10.0, "candidatesTokenCount": 5},
    },
    "bedrock": {
        "output": {"message": {"content": [{"toolUse": {"toolUseId": "c", "name": "f", "input": {}}}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 10.0, "outputTokens": 5.0},
    },
    "responses": {
        "output": [{**CALL, "arguments": "{}"}],
        "status": "completed",
        "usage": {"input_tokens": 10.0, "output_tokens": 5.0},
    },
}
SPOKEN: dict[str, dict[str, Any]] = {
    "openai": {
        "choices": [{"message": {"content": "Hi"}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 12.5},
    },
    "anthropic": {
        "type": "message",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": "many"},
    },
    "gemini": {
        "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": -1},
    },
    "bedrock": {"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "tool_use", "usage": "none"},
    "responses": {"output": [SAID], "status": "completed", "usage": {"input_tokens": [1]}},
}


@pytest.mark.parametrize("dialect", CALLED)
@pytest.mark.parametrize("tokens", [-1, 10**9 + 1, 10**30, pytest.param(10**4000, id="4001 digits")])
def test_counts_that_no_call_can_take_are_none(dialect: str, tokens: int) -> None:
    """They would be charged, and neither the log nor the metrics could keep them."""
    said = dict(CALLED[dialect])
    field = "usageMetadata" if dialect == "gemini" else "usage"
    said[field] = dict.fromkeys(said[field], tokens)
    assert PROVIDERS[dialect].parse_completion(json.dumps(said).encode()).usage is None


@pytest.mark.parametrize("dialect", CALLED)
def test_an_answer_ends_as_what_it_holds_says(dialect: str) -> None:
    """Some servers say `stop` after calls. Counts may be written 12.0: JSON Schema takes that for a whole number."""
    provider: ProviderDialect = PROVIDERS[dialect]
    completion = provider.parse_completion(json.dumps(CALLED[dialect]).encode())
    assert (completion.finish_reason, completion.usage) == ("tool_calls", COUNTED)
    completion = provider.parse_completion(json.dumps(SPOKEN[dialect]).encode())
    assert (completion.finish_reason, completion.usage) == ("stop", None)  # counts that cannot be read spoil no answer


def test_callers_of_the_servers_own_dialect_learn_the_same() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events = [chunk({"tool_calls": [call]}), chunk({}, "stop", system_fingerprint="fp")]
    assert told("openai", events)[-1] == chunk({}, "tool_calls", system_fingerprint="fp")
    whole = {"id": "c1", "choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "stop"}], "x": 1}
    asked = CLIENTS["openai"].parse_request({"messages": HI}, "1")
    completion = PROVIDERS["openai"].parse_completion(json.dumps(whole).encode())
    said = json.loads(CLIENTS["openai"].render_completion(completion, RECORD, asked))
    assert (said["choices"][0]["finish_reason"], said["x"]) == ("tool_calls", 1)
    block = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    events = [
        {"type": "message_start", "message": {"id": "m", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {}, "x": 1},
        {"type": "message_stop"},
    ]
    ended = next(one for one in told("anthropic", events, "anthropic", max_tokens=9) if one["type"] == "message_delta")
    assert (ended["delta"], ended["x"]) == ({"stop_reason": "tool_use", "stop_sequence": None}, 1)
    whole = {"id": "m", "model": "m", "content": [block], "stop_reason": "end_turn", "x": 1}
    asked = CLIENTS["anthropic"].parse_request({"messages": HI, "max_tokens": 9}, "1")
    completion = PROVIDERS["anthropic"].parse_completion(json.dumps(whole).encode())
    said = json.loads(CLIENTS["anthropic"].render_completion(completion, RECORD, asked))
    assert (said["stop_reason"], said["x"]) == ("tool_use", 1)


def test_each_of_several_choices_ends_as_it_holds() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    text, calls = {"content": "x"}, {"tool_calls": [call]}
    for first, second in ((text, calls), (calls, text), (calls, calls), (text, text)):
        ends = ["tool_calls" if said is calls else "stop" for said in (first, second)]
        choices = [{"index": place, "delta": said} for place, said in enumerate((first, second))]
        ended = [{"index": place, "delta": {}, "finish_reason": "stop"} for place in range(2)]
        events = [{"id": "c1", "object": "chat.completion.chunk", "choices": each} for each in (choices, ended)]
        last = told("openai", events, n=2)[-1]
        assert [choice["finish_reason"] for choice in last["choices"]] == ends
        whole = {"choices": [{"message": said, "finish_reason": "stop"} for said in (first, second)], "x": 1}
        raw = json.loads(PROVIDERS["openai"].parse_completion(json.dumps(whole).encode()).raw)
        assert [choice["finish_reason"] for choice in raw["choices"]] == ends


def test_a_stream_that_calls_tools_ends_so() -> None:
    call = {"index": 0.0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    events = [chunk({"content": "Let me look."}), chunk({"tool_calls": [call]}), chunk({}, "stop")]
    assert told("openai", events, "anthropic", max_tokens=9)[-2]["delta"]["stop_reason"] == "tool_use"
    assert read("openai", [chunk({"content": "x"}), chunk({}, "tool_calls")])[0][-1].finish_reason == "stop"
    started: list[dict[str, Any]] = [
        {"name": "contentBlockStart", "start": {"toolUse": {"toolUseId": "c", "name": "f"}}},
        {"name": "contentBlockStop"},
        {"name": "messageStop", "stopReason": "end_turn"},
    ]
    assert read("bedrock", started)[0][-1].finish_reason == "tool_calls"


# --- what was written to a cache --------------------------------------------------------------------------------------

WRITTEN: dict[str, dict[str, Any]] = {
    "openai": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {
            "cache_creation_tokens": 9,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 6},
        },
    },
    "responses": {
        "input_tokens": 10,
        "output_tokens": 5,
        "input_tokens_details": {
            "cache_write_tokens": 9,
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": 6},
        },
    },
    "anthropic": {
        "input_tokens": 1,
        "output_tokens": 5,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 6},
    },
    "bedrock": {
        "inputTokens": 1,
        "outputTokens": 5,
        "cacheWriteInputTokens": 9,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 6}],
    },
}


@pytest.mark.parametrize("dialect", WRITTEN)
def test_what_is_kept_for_an_hour_is_counted_apart(dialect: str) -> None:
    answer = {**CALLED[dialect], "usage": WRITTEN[dialect]}
    completion = PROVIDERS[dialect].parse_completion(json.dumps(answer).encode())
    assert completion.usage == Usage(input_tokens=10, output_tokens=5, cache_write_tokens=9, cache_write_1h_tokens=6)
    request = CLIENTS["anthropic"].parse_request({"messages": HI, "max_tokens": 9}, "1")
    if dialect != "anthropic":
        shown = json.loads(CLIENTS["anthropic"].render_completion(completion, RECORD, request))["usage"]
        assert shown["cache_creation"] == {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 6}
