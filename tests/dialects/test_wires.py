"""What the wires of late 2026 add, and how each model is told what it takes."""

# ruff: noqa: E501 - tables of cases are read as tables

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import msgspec
import pytest

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.dialects.anthropic import models as anthropic_models
from semroute.dialects.gemini import models as gemini_models
from semroute.dialects.openai import models as openai_models
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.shared.model_abilities import Line, nearest
from semroute.dialects.shared.thinking import split_id
from semroute.dialects.sse import Event
from semroute.messages import ChatRequest, Chunk, Message, Refusal, Text, Thinking, ToolCall
from tests.dialects.test_rendering import REQUEST, completion, events
from tests.dialects.test_round_trips import CLIENTS, PROVIDERS, RECORD
from tests.dialects.wires import COMMAND, PAGE, RECEIVERS, page

MISTRAL = OpenAIProviderDialect(PRESETS["mistral"])
TABLES = (
    *anthropic_models.LINES,
    *gemini_models.LINES,
    *(line for lines in openai_models.SERVERS.values() for line in lines),
)


def test_the_page_of_wires_says_what_is_sent() -> None:
    assert PAGE.read_text("utf-8") == page(), f"docs/pages/wires.md is stale: {COMMAND}"


@pytest.mark.parametrize("line", TABLES, ids=lambda line: line.pattern)
def test_each_line_of_a_table_says_where_it_was_read_and_when(line: Line[Any]) -> None:
    assert line.source.startswith("https://")
    assert date.fromisoformat(line.seen) <= date(2026, 11, 30)
    re.compile(line.pattern)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("claude-opus-5-5", "opus-5-5"),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "sonnet-4-5"),
        ("claude-opus-5-20260724", "opus-5"),
        ("anthropic/claude-fable-5-1", "fable-5-1"),
        ("claude-3-5-sonnet-20240620", ""),
        ("glm-5", ""),
    ],
)
def test_the_family_of_a_claude_is_one_on_all_platforms(name: str, family: str) -> None:
    assert anthropic_models.family_of(name) == family


@pytest.mark.parametrize(
    ("name", "maker", "reads"),
    [
        ("claude-opus-5-5", "opus-5-5", True),
        ("us.anthropic.claude-opus-5-5-v1:0", "opus-5-5", True),
        ("claude-opus-5-5", "opus-5", False),
        ("claude-opus-5", "opus-5-5", False),
        ("claude-fable-5-1", "opus-5-5", True),
        ("claude-opus-5-5", "fable-5-1", False),
        ("claude-opus-4-8", "opus-5", True),
        ("claude-opus-5-5", "", True),
    ],
)
def test_a_claude_reads_the_thoughts_of_some_others(name: str, maker: str, reads: bool) -> None:
    assert anthropic_models.reads_thoughts(name, maker) is reads


def test_the_nearest_effort_is_the_next_lower_one() -> None:
    assert [nearest(each, ("low", "high")) for each in ("none", "low", "medium", "high", "max")] == [
        "low", "low", "low", "high", "high",
    ]  # fmt: skip
    assert nearest("xhigh", ()) == "xhigh"


# --- a caller's own body ----------------------------------------------------------------------------------------------


def native(name: str, fields: dict[str, Any], **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What Anthropic is sent for a body in its own form, and what is told."""
    body = {"max_tokens": 20000, "messages": [{"role": "user", "content": "Hi"}], **fields}
    given = json.dumps(body)
    request = CLIENTS["anthropic"].parse_request(body, "1")
    features: Any = ("tools", "json", "reasoning")
    wire = PROVIDERS["anthropic"].render_request(request, Model(id="m", provider="p", name=name, features=features))
    assert json.dumps(body) == given, "the caller's own body was changed"
    sent = json.loads(wire.body)
    return {name: sent[name] for name in sent if sent[name] != body.get(name) or name in more}, wire.dropped


@pytest.mark.parametrize(
    ("name", "fields", "changed", "gone", "told"),
    [
        ("claude-opus-5-5", {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
         {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}}, (), "thinking.budget_tokens 2000: sent as effort low"),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
         {"output_config": {"effort": "high"}}, (), "reasoning_effort max: sent as high, as thinking is turned off"),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {}}}},
         {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}}}, ("thinking",), "reasoning_effort none: the model always thinks, sent as low"),
        ("claude-haiku-4-5-20251001", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
         {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ("output_config",), ""),
        ("claude-haiku-4-5-20251001", {"output_config": {"effort": "low"}}, {}, ("output_config",), "reasoning_effort low"),
        ("claude-opus-4-6", {"output_config": {"effort": "xhigh"}}, {"output_config": {"effort": "high"}}, (), "reasoning_effort xhigh: sent as high"),
        ("claude-sonnet-5-5", {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
         {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, (), "tool_choice: the model cannot be forced"),
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "tool_choice": {"type": "any"}},
         {"tool_choice": {"type": "auto"}}, (), "tool_choice: a model that thinks cannot be forced"),
        ("claude-opus-5", {"temperature": 0.3, "top_k": 3}, {}, ("temperature", "top_k"), "temperature"),
        ("claude-opus-5", {"temperature": 1}, {}, ("temperature",), ""),
        ("claude-sonnet-4-5", {"temperature": 0.3}, {}, (), ""),
        ("glm-5", {"thinking": {"type": "disabled"}, "temperature": 0.3, "tool_choice": {"type": "any"}}, {}, (), ""),
    ],
)  # fmt: skip
def test_a_body_for_another_claude_is_sent_as_this_one_takes_it(
    name: str, fields: dict[str, Any], changed: dict[str, Any], gone: tuple[str, ...], told: str
) -> None:
    sent, notes = native(name, fields)
    assert {key: value for key, value in sent.items() if key not in ("model", "stream")} == changed
    assert not set(gone) & sent.keys()
    assert (told in notes) if told else not notes


def test_a_last_turn_of_the_assistant_is_followed_by_the_users_where_it_is_refused() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "{"}]
    for name, count in (
        ("claude-sonnet-4-5", 0),
        ("claude-sonnet-4-6", 0),
        ("claude-opus-4-6", 3),
        ("claude-haiku-5-5", 3),
    ):
        sent, notes = native(name, {"messages": turns})
        assert len(sent.get("messages", ())) == count
        assert len(notes) == (count > 0)


# --- answers ----------------------------------------------------------------------------------------------------------

USAGE = {"input_tokens": 23000, "output_tokens": 1000}
DECLINED: dict[str, Any] = {
    "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [], "stop_reason": "refusal", "usage": USAGE,
    "stop_details": {"type": "refusal", "category": "cyber", "explanation": "It could enable cyber harm."},
}  # fmt: skip


def piece(dialect: ProviderDialect, *data: dict[str, Any]) -> list[Chunk]:
    parser = dialect.stream_parser()
    found = [parser.event(Event(data=json.dumps(each).encode(), name=str(each.get("type", "")))) for each in data]
    return [chunk for chunk in found if chunk is not None]


def test_a_refusal_says_why_in_every_dialect() -> None:
    read = PROVIDERS["anthropic"].parse_completion(json.dumps(DECLINED).encode())
    assert (read.parts, read.finish_reason) == ((Refusal(text="It could enable cyber harm."),), "content_filter")
    message = json.loads(CLIENTS["openai"].render_completion(read, RECORD, REQUEST))["choices"][0]
    assert (message["message"]["refusal"], message["finish_reason"]) == (
        "It could enable cyber harm.",
        "content_filter",
    )
    passed = json.loads(CLIENTS["anthropic"].render_completion(read, RECORD, REQUEST))
    assert passed["stop_details"] == DECLINED["stop_details"]
    streamed = piece(
        PROVIDERS["anthropic"],
        {
            "type": "message_delta",
            "delta": {name: DECLINED[name] for name in ("stop_reason", "stop_details")},
            "usage": USAGE,
        },
    )
    assert streamed[0].parts == read.parts


def test_another_providers_refusal_has_stop_details_for_callers_of_anthropic() -> None:
    declined = msgspec.structs.replace(completion(Refusal(text="No.")), finish_reason="content_filter")
    whole = json.loads(CLIENTS["anthropic"].render_completion(declined, RECORD, REQUEST))
    details = {"type": "refusal", "category": None, "explanation": "No."}
    assert (whole["stop_reason"], whole["stop_details"]) == ("refusal", details)
    streamed = events("anthropic", Chunk(parts=(Refusal(text="No."),)), Chunk(finish_reason="content_filter"))
    assert streamed[-2][1]["delta"]["stop_details"] == details
    plain = events("anthropic", Chunk(parts=(Text(text="Hi"),)), Chunk(finish_reason="stop"))
    assert "stop_details" not in plain[-2][1]["delta"]
    assert "stop_details" not in json.loads(
        CLIENTS["anthropic"].render_completion(completion(Text(text="Hi")), RECORD, REQUEST)
    )


def test_every_time_that_a_model_was_asked_is_counted() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500, "cache_read_input_tokens": 10},
        {"type": "message", **USAGE, "cache_creation": {"ephemeral_1h_input_tokens": 7}},
    ]
    body = {**DECLINED, "content": [{"type": "text", "text": "Hi"}], "usage": {**USAGE, "iterations": iterations}}
    usage = PROVIDERS["anthropic"].parse_completion(json.dumps(body).encode()).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (203017, 4500)
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (10, 7, 7)
    body["usage"] = {**USAGE, "iterations": [{"type": "message", **USAGE}]}
    once = PROVIDERS["anthropic"].parse_completion(json.dumps(body).encode()).usage
    assert once is not None
    assert (once.input_tokens, once.output_tokens) == (23000, 1000)


def test_only_the_newest_thoughts_are_marked_and_the_rest_of_a_body_stays() -> None:
    for name, signature in (("claude-opus-5-5", "semroute.anthropic:opus-5-5.c2ln"), ("claude-sonnet-4-6", "c2ln")):
        blocks = [
            {"type": "thinking", "thinking": "c2ln", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ"},
        ]
        raw = json.dumps({**DECLINED, "model": name, "content": blocks}).encode()
        passed = json.loads(PROVIDERS["anthropic"].parse_completion(raw).raw)
        assert passed["content"][0] == {**blocks[0], "signature": signature}
        assert passed == {**json.loads(raw), "content": passed["content"]}


def test_thoughts_among_what_mistral_says_are_told_apart_and_go_back() -> None:
    chunks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
        {"type": "text", "text": "Four"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "sure?"}]},
        {"type": "text", "text": "."},
    ]
    choice = {"index": 0, "message": {"role": "assistant", "content": chunks}, "finish_reason": "stop"}
    read = MISTRAL.parse_completion(json.dumps({"choices": [choice], "model": "mistral-large-4"}).encode())
    assert read.parts == (Thinking(text="hm"), Text(text="Four"), Thinking(text="sure?"), Text(text="."))
    message = json.loads(CLIENTS["openai"].render_completion(read, RECORD, REQUEST))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Four.", "hmsure?")
    streamed = piece(
        MISTRAL,
        *({"id": "1", "choices": [{"index": 0, "delta": {"content": said}}]} for said in ("", chunks[:1], "Four")),
    )
    shown = events("openai", *streamed)
    deltas = [data["choices"][0]["delta"] for _, data in shown if data.get("choices")]
    assert [delta.get("reasoning_content") for delta in deltas if "reasoning_content" in delta] == ["hm"]
    assert all(isinstance(delta.get("content", ""), str) for delta in deltas)
    turn = {"role": "assistant", "content": "Four.", "reasoning_content": "hm"}
    request = CLIENTS["openai"].parse_request({"messages": [{"role": "user", "content": "2+2"}, turn]}, "1")
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    cases: list[tuple[tuple[str, ...], Any]] = [
        (("reasoning",), [thought, {"type": "text", "text": "Four."}]),
        (("tools",), "Four."),
    ]
    for features, content in cases:
        given: Any = features
        wire = MISTRAL.render_request(request, Model(id="m", provider="p", name="mistral-large-4", features=given))
        assert json.loads(wire.body)["messages"][1]["content"] == content


def test_compaction_and_padding_pass_through_to_callers_of_responses_and_trouble_no_others() -> None:
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "e"}
    wire = (
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.compaction.compacting", "item_id": "cmp_1", "output_index": 0, "sequence_number": 2},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hi", "obfuscation": "x1y2"},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item], "usage": {"input_tokens": 3, "output_tokens": 1, "compute_units": 7}}},
    )  # fmt: skip
    chunks = piece(PROVIDERS["responses"], *wire)
    assert [json.loads(chunk.raw) for chunk in chunks] == list(wire)
    passed = events("responses", *chunks)
    assert [data for _, data in passed] == list(wire)
    assert (
        "".join(
            data["choices"][0]["delta"].get("content", "") for _, data in events("openai", *chunks) if data["choices"]
        )
        == "Hi"
    )


def test_what_both_of_openais_dialects_know_travels_from_one_to_the_other() -> None:
    shared = {
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
        "prompt_cache_retention": "24h",
    }
    chat = CLIENTS["openai"].parse_request(
        {"messages": [{"role": "user", "content": "Hi"}], **shared, "verbosity": "low"}, "1"
    )
    responses = CLIENTS["responses"].parse_request({"input": "Hi", **shared, "text": {"verbosity": "low"}}, "1")
    for receiver, request in (("GPT-6.1 Sol, `responses`", chat), ("GPT-6 Luna, `openai`", responses)):
        dialect, name = RECEIVERS[receiver]
        wire = dialect.render_request(request, Model(id="m", provider="p", name=name))
        body = json.loads(wire.body)
        assert {key: body[key] for key in shared} == shared
        assert (body.get("verbosity") or body["text"]["verbosity"]) == "low"
        assert wire.dropped == ()
    old = Model(id="m", provider="p", name="gpt-5.1")
    assert PROVIDERS["responses"].render_request(chat, old).dropped == ("prompt_cache_options",)


def test_a_signature_beside_a_text_goes_back_to_the_text() -> None:
    streamed = piece(
        PROVIDERS["gemini"],
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP"}]},
    )
    parts = [part for chunk in streamed for part in chunk.parts]
    turns = (
        Message(role="user", parts=(Text(text="a"),)),
        Message(role="assistant", parts=tuple(parts)),
        Message(role="user", parts=(Text(text="b"),)),
    )
    for said in (turns, (turns[0], Message(role="assistant", parts=tuple(reversed(parts))), turns[2])):
        model = Model(id="m", provider="p", name="gemini-3.8-flash")
        wire = PROVIDERS["gemini"].render_request(ChatRequest(id="1", messages=said), model)
        assert json.loads(wire.body)["contents"][1]["parts"] == [{"text": "Hi", "thoughtSignature": "c2ln"}]


@pytest.mark.parametrize("dialect", ["anthropic", "responses"])
def test_of_calls_at_once_gemini_gets_one_signature_back(dialect: str) -> None:
    calls = (ToolCall(id="a", name="f", signature="c2+/", arguments="{}"), ToolCall(id="b", name="g", index=1))
    chunks = (*(Chunk(parts=(call,)) for call in calls), Chunk(finish_reason="tool_calls"))
    told = [data for _, data in events(dialect, *chunks)]
    said: list[Any] = [
        data.get("content_block") or data.get("item")
        for data in told
        if data["type"].endswith(("block_start", "item.done"))
    ]
    assert [each["type"] for each in said] == [{"anthropic": "tool_use", "responses": "function_call"}[dialect]] * 2
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", said[0].get("call_id") or said[0]["id"])
    body: dict[str, Any] = {"input": [{"role": "user", "content": "Hi"}, *said]}
    if dialect == "anthropic":
        body = {
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": said}],
        }
    request = CLIENTS[dialect].parse_request(body, "1")
    wire = PROVIDERS["gemini"].render_request(request, Model(id="m", provider="p", name="gemini-3.8-flash"))
    sent = json.loads(wire.body)["contents"][1]["parts"]
    shown = [(part["functionCall"]["name"], part["functionCall"]["id"], part.get("thoughtSignature")) for part in sent]
    assert shown == [("f", "a", "c2+/"), ("g", "b", None)]


@pytest.mark.parametrize("id_", ["call_1", "a_semroute_", "a_semroute_?", "a_semroute_A", "_semroute_", ""])
def test_an_id_that_only_looks_signed_stays_as_it_is(id_: str) -> None:
    plain, signature = split_id(id_)
    assert (plain, signature) == (id_, "") or not signature


@pytest.mark.parametrize(
    ("server", "name", "fields", "sent", "told"),
    [
        ("openai", "gpt-5", {"reasoning_effort": "none"}, {"reasoning_effort": "minimal"}, ("reasoning_effort none: sent as minimal",)),
        ("openai", "o3", {"reasoning_effort": "max", "temperature": 0}, {"reasoning_effort": "high"}, ("reasoning_effort max: sent as high", "temperature")),
        ("openai", "gpt-5.2", {"temperature": 0.3}, {"temperature": 0.3}, ()),
        ("openai", "gpt-5.2", {"temperature": 0.3, "reasoning_effort": "low"}, {"reasoning_effort": "low"}, ("temperature",)),
        ("openai", "gpt-6-luna", {"temperature": 0.3, "reasoning_effort": "none"}, {"temperature": 0.3, "reasoning_effort": "none"}, ()),
        ("openai", "gpt-6-luna", {"temperature": 1, "top_p": 1}, {}, ()),
        ("azure", "gpt-6-luna", {"service_tier": "ultrafast"}, {}, ("service_tier ultrafast",)),
        ("openai", "gpt-4.1", {"temperature": 0.3, "reasoning_effort": "low"}, {"temperature": 0.3, "reasoning_effort": "low"}, ()),
        ("groq", "openai/gpt-oss-120b", {"service_tier": "ultrafast"}, {}, ("service_tier ultrafast",)),
        ("groq", "openai/gpt-oss-120b", {"service_tier": "flex"}, {"service_tier": "flex"}, ()),
        ("xai", "grok-4", {"reasoning_effort": "low", "stop": ["x"]}, {}, ("reasoning_effort", "stop")),
        ("mistral", "mistral-small-latest", {"reasoning_effort": "low"}, {"reasoning_effort": "none"}, ("reasoning_effort low: sent as none",)),
        ("deepseek", "deepseek-flash", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
        ("vllm", "gpt-6-luna", {"temperature": 0.3, "reasoning_effort": "max"}, {"temperature": 0.3, "reasoning_effort": "max"}, ()),
    ],
)  # fmt: skip
def test_each_model_of_chat_completions_is_sent_what_it_takes(
    server: Any, name: str, fields: dict[str, Any], sent: dict[str, Any], told: tuple[str, ...]
) -> None:
    base = {"messages": [{"role": "user", "content": "Hi"}]}
    features: Any = ("tools", "reasoning")
    model = Model(id="m", provider="p", name=name, features=features)
    wire = OpenAIProviderDialect(PRESETS[server]).render_request(
        CLIENTS["openai"].parse_request({**base, **fields}, "1"), model
    )
    body = json.loads(wire.body)
    assert {key: value for key, value in body.items() if key not in ("model", "messages", "stream")} == sent
    assert wire.dropped == told


def test_an_unknown_model_is_told_what_was_asked() -> None:
    request: ChatRequest = CLIENTS["openai"].parse_request(
        {"messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": "ultra", "temperature": 0.1}, "1"
    )
    body = json.loads(PROVIDERS["openai"].render_request(request, Model(id="m", provider="p", name="gpt-x")).body)
    assert (body["reasoning_effort"], body["temperature"]) == ("ultra", 0.1)
