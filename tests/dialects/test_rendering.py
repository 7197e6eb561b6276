"""How answers reach callers: passed through, in pieces that overlap, and with what few models send."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.gemini.client import json_schema
from semroute.dialects.native.client import Native
from semroute.dialects.openai.embeddings import Embeddings
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.shared.thinking import effort_of
from semroute.dialects.sse import Event, EventParser
from semroute.errors import RequestError, SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
    Citation,
    Completion,
    JsonSchema,
    Message,
    Opaque,
    Params,
    Part,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

REQUEST = ChatRequest(id="1", messages=())
EVERYTHING: tuple[Part, ...] = (
    Thinking(text="hm", signature="c2ln", origin="anthropic"),
    Thinking(signature="cmVk", origin="anthropic", redacted=True),
    Thinking(signature="rs_9:ZW5j", origin="responses"),
    Text(text="So", citations=(Citation(title="t", quote="q"), Citation(url="https://x", title="u"))),
    Refusal(text="no"),
    Opaque(kind="audio"),
    ToolCall(id="a", name="f", arguments='{"x":1}', signature="c2ln"),
    ToolCall(id="b", name="g", arguments="", index=1),
)


def completion(*parts: Part, **fields: Any) -> Completion:
    return Completion(parts=parts, finish_reason="stop", usage=Usage(input_tokens=1), model="m", **fields)


def events(dialect: str, *chunks: Chunk, request: ChatRequest = REQUEST) -> list[tuple[str, dict[str, Any]]]:
    renderer = CLIENTS[dialect].stream(request, DECISION)
    wire = b"".join(map(renderer.chunk, chunks)) + renderer.end(RECORD)
    return [(event.name, json.loads(event.data)) for event in EventParser().feed(wire) if event.data != b"[DONE]"]


@pytest.mark.parametrize("dialect", CLIENTS)
def test_an_answer_of_the_same_dialect_is_passed_on(dialect: str) -> None:
    passed = completion(dialect=dialect, raw=b"as it came")
    assert CLIENTS[dialect].render_completion(passed, RECORD, REQUEST) == b"as it came"
    renderer = CLIENTS[dialect].stream(REQUEST, DECISION)
    assert renderer.chunk(Chunk(dialect=dialect, raw=b"piece", event="e" if dialect != "openai" else "")) in (
        b"event: e\ndata: piece\n\n",
        b"data: piece\n\n",
    )
    ends = {"openai": b"data: [DONE]\n\n", "anthropic": b'event: message_stop\ndata: {"type":"message_stop"}\n\n'}
    assert renderer.end(RECORD).endswith(ends.get(dialect, b""))
    body = {"model": "auto", "unknown": 1, "models": ["a"], "strict": True}
    request = ChatRequest(id="1", messages=(), dialect=dialect, raw=body)
    sent = json.loads(PROVIDERS[dialect].render_request(request, Model(id="m", provider="p", name="n")).body)
    assert (sent["unknown"], "models" in sent, "strict" in sent) == (1, False, False)


@pytest.mark.parametrize("dialect", CLIENTS)
def test_whatever_a_model_says_can_be_told(dialect: str) -> None:
    whole = json.loads(
        CLIENTS[dialect].render_completion(
            completion(*EVERYTHING, stop_sequence="END", logprobs=(TokenLogprob(token="So", logprob=-1.0),)),
            RECORD,
            ChatRequest(
                id="1",
                messages=(),
                tool_choice=ToolChoice(mode="tool", name="f"),
                params=Params(json_output=True, json_schema=JsonSchema(document={})),
            ),
        )
    )
    cited = Text(text="", citations=(Citation(url="https://y"),))
    chunks = [Chunk(parts=(part,), model="m") for part in (*EVERYTHING[:4], cited, *EVERYTHING[4:])]
    streamed = events(dialect, *chunks, Chunk(finish_reason="tool_calls"))
    for told in (json.dumps(whole), json.dumps(streamed)):
        assert "So" in told
        assert "no" in told
        assert "https://x" in told
        assert "audio" not in told


def test_thoughts_of_others_carry_where_they_come_from_and_come_back() -> None:
    whole = json.loads(Anthropic().render_completion(completion(*EVERYTHING[:3]), RECORD, REQUEST))
    assert [block.get("signature") or block.get("data") for block in whole["content"]] == [
        "c2ln",
        "cmVk",
        "semroute.responses.rs_9:ZW5j",
    ]
    told = json.loads(CLIENTS["responses"].render_completion(completion(*EVERYTHING[:3]), RECORD, REQUEST))
    assert [item["encrypted_content"] for item in told["output"]] == [
        "semroute.anthropic.c2ln",
        "semroute.anthropic!.cmVk",
        "ZW5j",
    ]
    back = CLIENTS["responses"].parse_request({"input": told["output"]}, "1")
    assert back.messages[0].parts == EVERYTHING[:3]
    turns = [{"role": "assistant", "content": whole["content"]}]
    assert Anthropic().parse_request({"messages": turns}, "1").messages[0].parts == EVERYTHING[:3]
    told = json.loads(CLIENTS["gemini"].render_completion(completion(*EVERYTHING[:3]), RECORD, REQUEST))
    content = told["candidates"][0]["content"]
    signed = [base64.b64decode(part["thoughtSignature"], validate=True) for part in content["parts"]]
    assert signed[2] == b"semroute.responses.rs_9:ZW5j"
    assert CLIENTS["gemini"].parse_request({"contents": [content]}, "1").messages[0].parts == EVERYTHING[:3]


FOREIGN: tuple[Part, ...] = (
    Thinking(text="hm", signature="Zm9y", origin="elsewhere"),
    Thinking(text="ah"),
    ToolCall(id="c", name="f", arguments='{"x":1}'),
)
RESULTS: dict[str, Any] = {
    "anthropic": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "t"}]},
    "responses": {"type": "function_call_output", "call_id": "c", "output": "t"},
    "gemini": {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "t"}}}]},
}


def next_turn(dialect: str, answer: Any) -> dict[str, Any]:
    """What a caller asks next who has been given that answer."""
    result, thinking = RESULTS[dialect], {"type": "enabled", "budget_tokens": 1024}
    if dialect == "anthropic":
        return {"messages": [{"role": "assistant", "content": answer["content"]}, result], "thinking": thinking}
    if dialect == "responses":
        return {"input": [*answer["output"], result]}
    return {"contents": [answer["candidates"][0]["content"], result]}


def sent_on(dialect: str, body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = CLIENTS[dialect].parse_request(body, "1")
    wire = PROVIDERS[dialect].render_request(request, Model(id="m", provider="p", name="gemini-3-flash"))
    return json.loads(wire.body), wire.dropped


@pytest.mark.parametrize("dialect", RESULTS)
def test_a_provider_is_not_sent_the_thoughts_of_another(dialect: str) -> None:
    whole = json.loads(CLIENTS[dialect].render_completion(completion(*FOREIGN), RECORD, REQUEST))
    body = next_turn(dialect, whole)
    sent, notes = sent_on(dialect, body)
    assert notes[0] == "thinking of another provider"
    call, result = sent[next(name for name in ("messages", "input", "contents") if name in sent)][-2:]
    assert result == RESULTS[dialect]
    if dialect == "anthropic":
        assert call["content"] == [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]
        assert notes[1:] == ("reasoning_effort: the thoughts before the last tool call came from another provider",)
        assert "thinking" not in sent
        only_thought = {"role": "assistant", "content": whole["content"][:1]}
        assert sent_on(dialect, {"messages": [only_thought, result]})[0]["messages"] == [result]
    elif dialect == "gemini":
        unsigned, called = call["parts"]
        assert unsigned == {"text": "ah", "thought": True}  # Google passes over these
        assert called["thoughtSignature"] == "skip_thought_signature_validator"
        only_thought = {"role": "model", "parts": whole["candidates"][0]["content"]["parts"][:1]}
        assert sent_on(dialect, {"contents": [only_thought, result]})[0]["contents"] == [result]
    else:
        assert call["type"] == "function_call"
        assert sent_on(dialect, {"input": "Hi"})[1] == ()


@pytest.mark.parametrize("dialect", RESULTS)
def test_a_provider_is_sent_its_own_thoughts_as_they_came(dialect: str) -> None:
    own = Thinking(text="hm", signature="rs_1:c2ln" if dialect == "responses" else "c2ln", origin=dialect)
    call = ToolCall(id="c", name="f", arguments='{"x":1}', signature="c2ln")
    whole = json.loads(CLIENTS[dialect].render_completion(completion(own, call), RECORD, REQUEST))
    body = next_turn(dialect, whole)
    sent, notes = sent_on(dialect, body)
    assert notes == ()
    assert {**sent, **body} == sent


def test_a_thought_without_a_signature_is_marked_in_a_stream_too() -> None:
    streamed = events(
        "anthropic", Chunk(parts=(Thinking(text="h"),)), Chunk(parts=(Thinking(text="m"), Text(text="Hi")))
    )
    deltas = [event["delta"] for name, event in streamed if name == "content_block_delta"]
    assert deltas[:3] == [
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "semroute.unsigned."},
    ]


def test_a_signature_that_only_looks_like_another_providers_is_one_of_geminis() -> None:
    odd = {"contents": [{"role": "model", "parts": [{"text": "", "thoughtSignature": "c2Vtcm91dGUuA"}]}]}
    assert CLIENTS["gemini"].parse_request(odd, "1").messages[0].parts == (
        Thinking(signature="c2Vtcm91dGUuA", origin="gemini"),
    )


def test_parallel_calls_whose_pieces_alternate_come_one_after_another() -> None:
    def piece(index: int, arguments: str, id: str = "", name: str = "") -> Chunk:
        return Chunk(parts=(ToolCall(index=index, arguments=arguments, id=id, name=name),), model="m")

    chunks = [
        piece(0, '{"a"', id="a", name="f"),
        piece(1, '{"b"', id="b", name="g"),
        piece(2, "{", id="c", name="h"),
        piece(0, ":1}"),
        piece(1, ":2}"),
        piece(2, "}"),
    ]
    got = [data for _, data in events("anthropic", *chunks, Chunk(finish_reason="tool_calls"))]
    kinds = [data["type"] for data in got if data["type"].startswith("content_block_s")]
    assert kinds == ["content_block_start", "content_block_stop"] * 3
    arguments = ["", "", ""]
    for data in got:
        if data["type"] == "content_block_delta":
            arguments[data["index"]] += data["delta"]["partial_json"]
    assert arguments == ['{"a":1}', '{"b":2}', "{}"]
    unfinished = [data for _, data in events("anthropic", *chunks[:3])]
    assert [data["type"] for data in unfinished].count("content_block_stop") == 3


def test_a_stream_of_nothing_still_has_its_frame() -> None:
    assert events("anthropic")[0][0] == "message_start"
    assert events("responses")[-1][0] == "response.completed"
    assert events("gemini")[-1][1]["candidates"][0]["finishReason"] == "STOP"
    assert events("openai")[-1][1]["choices"] == []
    assert events("openai", Chunk(parts=(Thinking(signature="s"),)))[-1][1]["choices"] == []
    quiet = ChatRequest(id="1", messages=(), stream_usage=False)
    assert events("openai", Chunk(dialect="openai", raw=b"{}", usage=Usage()), request=quiet) == []
    lone = Chunk(parts=(Thinking(signature="s", origin="gemini"),))
    assert events("responses", lone)[2][1]["item"]["type"] == "reasoning"


def test_a_message_that_the_provider_closed_is_not_closed_twice() -> None:
    renderer = Anthropic().stream(REQUEST, DECISION)
    renderer.chunk(Chunk(dialect="anthropic", raw=b"{}", event="message_stop"))
    assert renderer.end(RECORD) == b""


def test_what_anthropic_seldom_sends_is_read() -> None:
    parser = PROVIDERS["anthropic"].stream_parser()

    def parts(data: dict[str, Any]) -> tuple[Part, ...]:
        chunk = parser.event(Event(data=json.dumps(data).encode()))
        assert chunk is not None
        return chunk.parts

    assert parts({"type": "content_block_delta", "delta": {"partial_json": "{"}}) == ()
    answer = {"type": "tool_use", "id": "x", "name": "semroute_json_answer"}
    assert parts({"type": "content_block_start", "content_block": answer}) == ()
    assert parts({"type": "content_block_delta", "delta": {"partial_json": "{}"}}) == (Text(text="{}"),)
    signed = {"type": "content_block_delta", "delta": {"signature": "s"}}
    assert parts(signed) == (Thinking(signature="s", origin="anthropic"),)
    parts({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    assert parser.finished
    body = {"content": [{**answer, "input": {"a": 1}}], "stop_reason": "tool_use"}
    whole = PROVIDERS["anthropic"].parse_completion(json.dumps(body).encode())
    assert (whole.parts, whole.finish_reason, whole.usage) == ((Text(text='{"a":1}'),), "stop", None)
    assert Anthropic().render_count(3) == b'{"input_tokens":3}'


@pytest.mark.parametrize("dialect", CLIENTS)
@pytest.mark.parametrize("tier", ["default", "priority"])
def test_the_tier_that_served_is_told_in_the_callers_words(dialect: str, tier: str) -> None:
    body = CLIENTS[dialect].render_completion(completion(Text(text="a"), service_tier=tier), RECORD, REQUEST)
    assert PROVIDERS[dialect].parse_completion(body).service_tier == tier
    parser = PROVIDERS[dialect].stream_parser()
    first = Chunk(parts=(Text(text="a"),), service_tier=tier)
    told = events(dialect, first, Chunk(finish_reason="stop", usage=Usage(input_tokens=1)))
    chunks = [parser.event(Event(name=name, data=json.dumps(data).encode())) for name, data in told]
    assert tier in {chunk.service_tier for chunk in chunks if chunk is not None}


def test_a_tier_that_anthropic_does_not_know_is_not_told_its_callers() -> None:
    body = CLIENTS["anthropic"].render_completion(completion(Text(text="a"), service_tier="flex"), RECORD, REQUEST)
    assert "service_tier" not in json.loads(body)["usage"]


@pytest.mark.parametrize("dialect", ["openai", "responses", "gemini"])
def test_log_probabilities_are_streamed(dialect: str) -> None:
    given = (TokenLogprob(token="a", logprob=-0.5),)
    told = events(dialect, Chunk(parts=(Text(text="a"),), logprobs=given), Chunk(finish_reason="stop"))
    parser = PROVIDERS[dialect].stream_parser()
    chunks = [parser.event(Event(name=name, data=json.dumps(data).encode())) for name, data in told]
    assert given in [chunk.logprobs for chunk in chunks if chunk is not None]


def test_usage_that_a_provider_left_out_is_added() -> None:
    raw = b'{"id":"x","choices":[],"odd":1}'
    passed = Completion(parts=(), finish_reason="stop", usage=None, model="m", dialect="openai", raw=raw)
    body = json.loads(CLIENTS["openai"].render_completion(passed, RECORD, REQUEST))
    assert (body["odd"], body["usage"]["prompt_tokens"]) == (1, RECORD.usage.input_tokens)


def test_no_tokens_to_think_means_no_thinking() -> None:
    assert effort_of(Params(thinking_tokens=0, effort="high")) == "none"


def test_embeddings_go_through_whole() -> None:
    client = Embeddings()
    request = client.parse_request({"model": "e", "input": ["a", [1, 2]], "models": ["f"], "dimensions": 3}, "1")
    wire = OpenAIProviderDialect().render_request(request, Model(id="e", provider="p", name="text-e"))
    assert (wire.path, json.loads(wire.body)) == (
        "/embeddings",
        {"model": "text-e", "input": ["a", [1, 2]], "dimensions": 3},
    )
    body = b'{"object":"list","data":[],"usage":{"prompt_tokens":7,"total_tokens":7}}'
    got = OpenAIProviderDialect().parse_completion(body)
    assert (got.usage, client.render_completion(got, RECORD, request)) == (Usage(input_tokens=7), body)
    assert b"m" in client.render_error(SemrouteError("m"), 500)
    assert client.stream(request, DECISION).end(RECORD).endswith(b"data: [DONE]\n\n")
    assert client.parse_request({"model": "e", "input": "a"}, "1").messages[0].text == "a"


def test_the_native_dialect_tells_the_decision_and_the_account() -> None:
    native = Native()
    request = native.parse_request({"prompt": "Hi", "metadata": {"a": 1}}, "1")
    assert (request.messages[0].text, request.metadata, "metadata" in request.raw) == ("Hi", {"a": 1}, False)
    assert native.parse_request({"messages": [{"role": "user", "content": "Hi"}]}, "1").messages == request.messages
    for body, message in (
        ({}, "neither"),
        ({"prompt": "a", "messages": []}, "both"),
        ({"prompt": " "}, "empty"),
        ({"x": 1}, "x"),
    ):
        with pytest.raises(RequestError, match=message):
            native.parse_request(body, "1")
    whole = json.loads(native.render_completion(completion(*EVERYTHING), RECORD, request))
    assert (whole["content"], [call["name"] for call in whole["tool_calls"]]) == ("So", ["f", "g"])
    assert "tool_calls" not in json.loads(native.render_completion(completion(), RECORD, request))
    renderer = native.stream(request, DECISION)
    wire = (
        renderer.chunk(Chunk()) + renderer.chunk(Chunk(parts=EVERYTHING, finish_reason="stop")) + renderer.end(RECORD)
    )
    assert [event.name for event in EventParser().feed(wire)] == ["decision", "delta", "end"]
    assert b'"param":"p"' in renderer.error(RequestError("m", param="p"), 400)
    assert (
        native.render_error(SemrouteError("m"), 500)
        == b'{"error":{"code":"semroute_error","message":"m","retryable":false}}'
    )
    assert b'"id":"1"' in native.render_decision(DECISION)


def test_odd_requests_are_rendered_too() -> None:
    nothing = (Message(role="assistant", parts=(Opaque(kind="a"),)), Message(role="user", parts=(Text(text="Hi"),)))
    for dialect in ("anthropic", "gemini"):
        wire = PROVIDERS[dialect].render_request(
            ChatRequest(id="1", messages=nothing), Model(id="m", provider="p", name="gemini-3")
        )
        assert wire.dropped == ("a",)
    malformed = (Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments="{"),)),)
    wire = PROVIDERS["anthropic"].render_request(
        ChatRequest(id="1", messages=malformed), Model(id="m", provider="p", name="c")
    )
    assert json.loads(wire.body)["messages"][1]["content"][0]["input"] == {"arguments": "{"}
    none = Params(thinking_tokens=5, effort=None)
    features: Any = ("reasoning",)
    for params, level in ((none, "low"), (Params(effort="none"), "low"), (Params(effort="low"), "low")):
        wire = PROVIDERS["gemini"].render_request(
            ChatRequest(id="1", messages=nothing, params=params),
            Model(id="m", provider="p", name="gemini-3-pro", features=features),
        )
        assert json.loads(wire.body)["generationConfig"]["thinkingConfig"] == {"thinkingLevel": level}
    parsed = CLIENTS["gemini"].parse_request(
        {"contents": [{"parts": [{"functionResponse": {"id": "z", "name": "f", "response": {"output": "x"}}}]}]}, "1"
    )
    assert parsed.messages[0].parts == (ToolResult(id="z", text="x"),)
    said = CLIENTS["responses"].parse_request(
        {"input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]}, "1"
    )
    assert said.messages[0].parts == (Refusal(text="no"),)
    user = Anthropic().parse_request(
        {"messages": [{"role": "user", "content": "a"}], "metadata": {"user_id": "u", "x": 1}}, "1"
    )
    sent = json.loads(PROVIDERS["anthropic"].render_request(user, Model(id="m", provider="p", name="c")).body)
    assert sent["metadata"] == {"user_id": "u"}
    plain = ChatRequest(
        id="1", messages=(), dialect="openai", raw={"messages": [], "response_format": {"type": "text"}}
    )
    for name in ("deepseek", "mistral"):
        body = OpenAIProviderDialect(PRESETS[name]).render_request(plain, Model(id="m", provider="p", name="c")).body
        assert json.loads(body)["response_format"] == {"type": "text"}
    assert json_schema({"enum": ["a"]}) == {"enum": ["a"]}
    named: dict[str, Any] = {
        "nullable": {"type": "STRING", "min_length": "3"},
        "any_of": {"type": "INTEGER", "nullable": True},
    }
    assert json_schema(
        {
            "type": "OBJECT",
            "properties": named,
            "property_ordering": ["any_of", "nullable"],
            "any_of": [{"type": "ARRAY", "items": {"type": "NUMBER"}, "max_items": 2}],
        }
    ) == {
        "type": "object",
        "properties": {"nullable": {"type": "string", "minLength": 3}, "any_of": {"type": ["integer", "null"]}},
        "anyOf": [{"type": "array", "items": {"type": "number"}, "maxItems": 2}],
    }
    no_usage = json.dumps({"output": [], "status": "completed"}).encode()
    assert PROVIDERS["responses"].parse_completion(no_usage).usage is None
    assert CLIENTS["openai"].parse_request({"messages": [{"role": "assistant"}]}, "1").messages[0].parts == ()
    assert CLIENTS["responses"].parse_request({"input": "Hi"}, "1").messages[0].text == "Hi"


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (Chunk(parts=(Text(text="a"),)), 37),
        (Chunk(parts=(Text(text="a"),), usage=Usage(output_tokens=5)), 37),
        (Chunk(parts=(Text(text="a"),), usage=Usage(input_tokens=11, output_tokens=5, reasoning_tokens=2)), 11),
        (Chunk(parts=(Text(text="a"),), usage=Usage(input_tokens=11, cached_tokens=4, output_tokens=5)), 7),
    ],
    ids=["not counted yet", "only output", "counted", "partly cached"],
)
def test_a_message_starts_with_its_input_and_without_output(first: Chunk, told: int) -> None:
    estimated = msgspec.structs.replace(DECISION.estimate, input_tokens=37)
    renderer = Anthropic().stream(REQUEST, msgspec.structs.replace(DECISION, estimate=estimated))
    last = Chunk(finish_reason="stop", usage=Usage(input_tokens=11, output_tokens=5))
    written = renderer.chunk(first) + renderer.chunk(last) + renderer.end(RECORD)
    parser = EventParser()
    read = [json.loads(event.data) for event in (*parser.feed(written), *parser.close())]
    start = read[0]["message"]["usage"]
    assert (start["input_tokens"], start["output_tokens"]) == (told, 0)
    assert "output_tokens_details" not in start
    delta = next(event for event in read if event["type"] == "message_delta")
    assert (delta["usage"]["input_tokens"], delta["usage"]["output_tokens"]) == (11, 5)
