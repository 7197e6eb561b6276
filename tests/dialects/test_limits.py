"""What a receiver does not take is sent as it does, and comes back as the caller wrote it."""

# ruff: noqa: E501 - tables of cases are read as tables

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ProviderDialect, WireRequest
from semroute.dialects.shared.field_limits import DIALECTS, SERVERS
from semroute.dialects.shared.fitting import Restorer
from semroute.messages import ChatRequest, Chunk, Completion, Image, Message, Params, Text, Tool, ToolCall
from tests.dialects.test_round_trips import CLIENTS, MODELS
from tests.dialects.test_round_trips import PROVIDERS as PLAIN_PROVIDERS

PROVIDERS: dict[str, ProviderDialect] = {
    **PLAIN_PROVIDERS,
    "openai": OpenAIProviderDialect(PRESETS["openai"]),
    "mistral": OpenAIProviderDialect(PRESETS["mistral"]),
}
NAMES = {
    "openai": r"[a-zA-Z0-9_-]{1,64}",
    "mistral": r"[a-zA-Z0-9_-]{1,64}",
    "responses": r"[a-zA-Z0-9_-]{1,64}",
    "anthropic": r"[a-zA-Z0-9_-]{1,128}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
}
IDS = {
    "openai": r"(?s).{1,40}",
    "mistral": r"[a-zA-Z0-9]{9}",
    "responses": r"(?s).{1,64}",
    "anthropic": r"[a-zA-Z0-9_-]+",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
}
LONG = "mcp__warehouse__" + "list_all_shipments_" * 8
ODD_NAMES = (LONG, f"{LONG}2", "files.read:all", "files/read all", "1st", "über", "")
EVERY = pytest.mark.parametrize("receiver", PROVIDERS)


OTHERS = {name: OpenAIProviderDialect(PRESETS[name]) for name in ("cerebras", "deepseek", "xai")}
"""Servers of OpenAI's dialect with limits of their own."""


def sent(receiver: str, body: Mapping[str, Any], client: str = "openai", **model: Any) -> tuple[Any, WireRequest]:
    """What a receiver is sent for the body of a client's request."""
    request = CLIENTS[client].parse_request(dict(body), "1")
    name = MODELS.get(receiver, "mistral-large")
    features: Any = ("tools", "json", "vision", "reasoning")
    wire = (PROVIDERS | OTHERS)[receiver].render_request(
        request, Model(id="m", provider="p", name=name, features=features, **model)
    )
    return json.loads(wire.body), wire


def found(value: object, *keys: str) -> list[Any]:
    """All values of these keys, at any depth, in order."""
    if isinstance(value, list):
        return [each for item in value for each in found(item, *keys)]
    if not isinstance(value, dict):
        return []
    return [each for key, inner in value.items() for each in ([inner] if key in keys else found(inner, *keys))]


def conversation(*calls: tuple[str, str]) -> dict[str, Any]:
    """A conversation in which each call, by id and name, is answered in a turn of its own."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Look it up."}]
    for number, (id_, name) in enumerate(calls):
        function = {"name": name, "arguments": "{}"}
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": id_, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": id_, "content": f"result {number}"},
        ]
    tools = [{"type": "function", "function": {"name": name}} for name in dict.fromkeys(name for _, name in calls)]
    return {"messages": messages, "tools": tools}


# --- names ------------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_tools_name_is_sent_as_the_receiver_takes_it_and_comes_back(receiver: str, name: str) -> None:
    body = {**conversation(("call_1", name)), "tool_choice": {"type": "function", "function": {"name": name}}}
    document, wire = sent(receiver, body)
    names = {each for each in found(document, "name") if isinstance(each, str)}
    assert len(names) == 1
    alias = names.pop()
    assert re.fullmatch(NAMES[receiver], alias)
    assert wire.dropped == ()
    assert wire.renamed.get(alias, alias) == name
    if alias == name:
        return
    raw = json.dumps({"name": alias, "text": f'I call "{alias}".'}).encode()
    completion = Completion(parts=(ToolCall(name=alias),), finish_reason="tool_calls", usage=None, model="m", raw=raw)
    back = Restorer(wire.renamed).completion(completion)
    assert back.parts == (ToolCall(name=name),)
    assert json.loads(back.raw) == {"name": name, "text": f'I call "{alias}".'}
    chunk = Restorer(wire.renamed).chunk(Chunk(parts=(Text(text="x"), ToolCall(name=alias)), raw=raw))
    assert (chunk.parts, chunk.raw) == ((Text(text="x"), ToolCall(name=name)), back.raw)


@EVERY
def test_names_that_are_alike_stay_apart(receiver: str) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in (*ODD_NAMES, "files_read_all")]
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    document, _ = sent(receiver, body)
    names = found(document, "name")
    assert len(set(names)) == len(ODD_NAMES) + 1
    assert names == found(sent(receiver, body)[0], "name")  # the same each time


CALL: dict[str, Any] = {"name": LONG}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {**conversation(("call_1", LONG)), "functions": [CALL], "function_call": CALL},
    "responses": {
        "input": [
            {"type": "function_call", "call_id": "c", "name": LONG, "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        "tools": [{"type": "function", "name": LONG}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": LONG}]},
    },
    "anthropic": {
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": LONG, "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]},
        ],
        "tools": [{"name": LONG, "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": LONG},
    },
    "gemini": {
        "contents": [
            {"role": "model", "parts": [{"function_call": {"name": LONG, "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": LONG, "response": {}}}]},
        ],
        "tools": [{"function_declarations": [{"name": LONG}]}, {"functionDeclarations": [{"name": LONG}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [LONG]}},
    },
}


@pytest.mark.parametrize("dialect", BODIES)
def test_a_callers_own_body_is_fitted_too_and_stays_as_it_is(dialect: str) -> None:
    before = json.dumps(BODIES[dialect])
    document, wire = sent(dialect, BODIES[dialect], dialect)
    names = [
        each
        for name in found(document, "name", "allowedFunctionNames")
        for each in ([name] if isinstance(name, str) else name)
    ]
    assert len(names) >= 3
    assert len(set(names)) == 1
    assert re.fullmatch(NAMES[dialect], names[0])
    assert wire.renamed == {names[0]: LONG}
    assert json.dumps(BODIES[dialect]) == before


# --- ids --------------------------------------------------------------------------------------------------------------


def ids_of(document: object) -> list[str]:
    return [
        each
        for each in found(document, "id", "tool_call_id", "tool_use_id", "call_id", "toolUseId")
        if isinstance(each, str)
    ]


@pytest.mark.parametrize("receiver", IDS)
@pytest.mark.parametrize("id_", ["functions.alpha:0", "call_" + "x" * 110, "", "tool call|7", "ü" * 50])
def test_a_calls_id_is_the_same_on_the_call_and_on_its_result(receiver: str, id_: str) -> None:
    document, wire = sent(receiver, conversation((id_, "alpha")))
    call, result = ids_of(document)
    assert call == result
    assert re.fullmatch(IDS[receiver], call)
    assert wire.renamed.get(call, call) == id_
    assert wire.dropped == ()


@pytest.mark.parametrize("receiver", ["mistral", "responses", "anthropic", "bedrock"])
def test_an_id_that_comes_again_is_another_one(receiver: str) -> None:
    document, _ = sent(
        receiver, conversation(("call_0", "alpha"), ("call_0", "beta"), ("call_1", "alpha"), ("call_0", "beta"))
    )
    ids = ids_of(document)
    assert ids[0::2] == ids[1::2]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(IDS[receiver], each) for each in ids)


def test_parallel_calls_with_one_id_keep_their_results_in_order() -> None:
    content = [{"type": "tool_use", "id": "c", "name": name, "input": {}} for name in "ab"]
    results = [{"type": "tool_result", "tool_use_id": "c", "content": name} for name in "ab"]
    orphan = {"type": "tool_result", "tool_use_id": "d d", "content": "x"}
    body = {
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [*results, results[0], orphan]},
        ],
    }
    calls = sent("anthropic", body, "anthropic")[0]["messages"]
    first, second = (block["id"] for block in calls[1]["content"])
    assert first != second
    answered = [block["tool_use_id"] for block in calls[2]["content"]]
    assert answered[:3] == [first, second, second]
    assert re.fullmatch("[a-zA-Z0-9_-]+", answered[3])


# --- lengths, counts, ranges ------------------------------------------------------------------------------------------

WHO = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "0" * 36})
HI = [{"role": "user", "content": "Hi"}]
STOPS = [f"stop {number}" for number in range(20)]


@pytest.mark.parametrize(
    ("receiver", "client", "body", "field", "expected", "note"),
    [
        ("openai", "openai", {"user": WHO}, "user", r"[0-9a-f]{64}", "user: sent as its SHA-256"),
        ("openai", "openai", {"prompt_cache_key": WHO}, "prompt_cache_key", r"[0-9a-f]{64}", "prompt_cache_key: sent as its SHA-256"),
        ("openai", "openai", {"safety_identifier": "short"}, "safety_identifier", "short", None),
        ("openai", "anthropic", {"metadata": {"user_id": WHO}}, "user", r"[0-9a-f]{64}", "user: sent as its SHA-256"),
        ("responses", "anthropic", {"metadata": {"user_id": WHO}}, "user", r"[0-9a-f]{64}", "user: sent as its SHA-256"),
        ("anthropic", "openai", {"user": WHO * 3}, "metadata.user_id", r"[0-9a-f]{64}", "user: sent as its SHA-256"),
        ("anthropic", "openai", {"user": WHO}, "metadata.user_id", re.escape(WHO), None),
        ("bedrock", "openai", {"user": "a{b}"}, "requestMetadata.user", r"[0-9a-f]{64}", "user: sent as its SHA-256"),
        ("openai", "openai", {"stop": STOPS}, "stop", STOPS[:4], "stop after the first 4"),
        ("gemini", "openai", {"stop": STOPS}, "generationConfig.stopSequences", STOPS[:5], "stop after the first 5"),
        ("mistral", "openai", {"stop": STOPS}, "stop", STOPS, None),
        ("mistral", "openai", {"temperature": 1.9}, "temperature", 1.5, "temperature 1.9: sent as 1.5"),
        ("openai", "gemini", {"generationConfig": {"temperature": 2.5}}, "temperature", 2, "temperature 2.5: sent as 2"),
        ("anthropic", "anthropic", {"temperature": 1.2}, "temperature", 1, "temperature 1.2: sent as 1"),
        ("responses", "openai", {"max_tokens": 1}, "max_output_tokens", 16, "max_tokens 1: sent as 16"),
        ("openai", "openai", {"top_logprobs": 50, "logprobs": True}, "top_logprobs", 20, "top_logprobs 50: sent as 20"),
        (
            "openai", "openai", {"metadata": {"k" * 99: "v" * 999, "n": 1} | {str(n): "v" for n in range(20)}},
            "metadata", {"k" * 64: "v" * 512, "n": "1"} | {str(n): "v" for n in range(14)}, "metadata: sent in the provider's form",
        ),
        ("openai", "openai", {"metadata": {"n": "1"}}, "metadata", {"n": "1"}, None),
        ("openai", "openai", {"n": 500}, "n", 128, "n 500: sent as 128"),
        ("openai", "openai", {"stop": ["", "END"]}, "stop", ["END"], "stop: an empty text"),
        ("openai", "openai", {"stop": ""}, "stop", None, "stop: an empty text"),
        ("gemini", "openai", {"stop": ["", "END"]}, "generationConfig.stopSequences", ["END"], "stop: an empty text"),
        ("gemini", "openai", {"seed": 2**40}, "generationConfig.seed", 2**31 - 1, "seed 1.09951e+12: sent as 2.14748e+09"),
        ("mistral", "openai", {"seed": -5}, "random_seed", 0, "seed -5: sent as 0"),
        ("xai", "openai", {"stop": STOPS}, "stop", STOPS[:4], "stop after the first 4"),
        ("xai", "openai", {"top_logprobs": 20, "logprobs": True}, "top_logprobs", 8, "top_logprobs 20: sent as 8"),
        ("cerebras", "gemini", {"generationConfig": {"temperature": 2.5}}, "temperature", 2, "temperature 2.5: sent as 2"),
        ("deepseek", "gemini", {"generationConfig": {"temperature": 2.5}}, "temperature", 2, "temperature 2.5: sent as 2"),
    ],
)  # fmt: skip
def test_what_is_too_long_too_many_or_out_of_range_is_sent_as_it_is_taken(
    receiver: str, client: str, body: dict[str, Any], field: str, expected: Any, note: str | None
) -> None:
    base: dict[str, Any] = {"contents": [{"parts": [{"text": "Hi"}]}]} if client == "gemini" else {"messages": HI}
    document, wire = sent(receiver, {**base, **({"max_tokens": 99} if client == "anthropic" else {}), **body}, client)
    for step in field.split("."):
        document = document.get(step)
    assert re.fullmatch(expected, document) if isinstance(expected, str) else document == expected
    assert (*wire.dropped, *wire.adapted) == ((note,) if note else ())


@EVERY
def test_of_two_tools_with_one_name_the_first_is_sent(receiver: str) -> None:
    tools = [{"type": "function", "function": {"name": name, "description": f"{n}"}} for n, name in enumerate("fgf")]
    document, wire = sent(receiver, {"messages": HI, "tools": tools})
    assert found(document, "description") == ["0", "1"]
    assert wire.dropped == ("tools: only the first of two with the same name",)


def test_mistral_gets_turns_in_the_order_that_it_takes() -> None:
    """A caller of Anthropic says a tool's result and more in one turn."""
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "r"}
    turns = [
        *HI,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    document, wire = sent("mistral", {"max_tokens": 9, "messages": turns}, "anthropic")
    assert [turn["role"] for turn in document["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert "messages: a turn of the assistant follows a tool's result" in wire.adapted
    document, wire = sent("mistral", {"messages": [*HI, {"role": "assistant", "content": ""}, *HI]})
    assert document["messages"] == [*HI, *HI]
    document, wire = sent("mistral", {"messages": [*HI, {"role": "assistant", "content": "It is"}]})
    assert document["messages"][-1] == {"role": "assistant", "content": "It is", "prefix": True}
    document, wire = sent("mistral", conversation(("call_1", "f")))
    assert [turn["role"] for turn in document["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(("receiver", "mark"), [("anthropic", "cache_control"), ("bedrock", "cachePoint")])
def test_of_many_marks_for_the_cache_the_last_four_are_sent(receiver: str, mark: str) -> None:
    def texts(letter: str, count: int) -> list[dict[str, Any]]:
        marked = {"cache_control": {"type": "ephemeral"}}
        return [{"type": "text", "text": f"{letter}{number}", **marked} for number in range(count)]

    own = {"type": "tool_use", "id": "c", "name": "f", "input": {"cache_control": "mine"}}
    turns = [{"role": "user", "content": texts("u", 3)}, {"role": "assistant", "content": [own]}, *HI]
    body = {"max_tokens": 9, "system": texts("s", 3), "messages": turns}
    document, wire = sent(receiver, body, "anthropic")
    assert str(document).count(f"'{mark}': {{") == 4
    shown = [
        each for each in ("s0", "s1", "s2", "u0", "u1", "u2") if re.search(rf"'{each}'[^'a-z]*'{mark}'", str(document))
    ]
    assert shown == ["s2", "u0", "u1", "u2"]
    assert found(document, "input") == [{"cache_control": "mine"}]
    assert "cache_control: only the last 4 marks" in wire.dropped
    few, wire = sent(
        receiver, {**body, "system": "s", "messages": [{"role": "user", "content": texts("u", 4)}]}, "anthropic"
    )
    assert (str(few).count(f"'{mark}': {{"), wire.dropped) == (4, ())


def test_claude_on_bedrock_gets_no_white_space_at_the_end() -> None:
    document, wire = sent("bedrock", {"messages": [*HI, {"role": "assistant", "content": "It is \n"}]})
    assert document["messages"][-1]["content"] == [{"text": "It is"}]
    assert wire.adapted == ("white space at the end of the last turn: left out",)


def test_more_tools_than_are_taken_are_left_out_with_a_note() -> None:
    tools = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(200)]
    document, wire = sent("openai", {"messages": HI, "tools": tools})
    assert (len(document["tools"]), wire.dropped) == (128, ("tools after the first 128",))


@pytest.mark.parametrize(
    ("receiver", "field"),
    [
        ("openai", "max_completion_tokens"),
        ("mistral", "max_tokens"),
        ("responses", "max_output_tokens"),
        ("anthropic", "max_tokens"),
        ("gemini", "maxOutputTokens"),
        ("bedrock", "maxTokens"),
    ],
)
def test_a_model_is_asked_for_what_it_gives(receiver: str, field: str) -> None:
    """The caller's limit is a ceiling: 4,000 stay 4,000, and 32,000 are what the model has."""
    for client, name in (("openai", "max_tokens"), ("openai", "max_completion_tokens"), ("anthropic", "max_tokens")):
        for asked, limit in ((32000, 8192), (4000, 4000)):
            document, wire = sent(receiver, {"messages": HI, name: asked}, client, max_output_tokens=8192)
            assert found(document, field) == [limit]
            assert wire.dropped == ()
    own = CLIENTS.get(receiver)
    if receiver == "gemini" and own is not None:
        body = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 32000}}
        assert found(sent("gemini", body, "gemini", max_output_tokens=8192)[0], field) == [8192]


def test_thinking_leaves_room_where_a_model_gives_less() -> None:
    body = {"messages": HI, "max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 31999}}
    assert sent("anthropic", body, "anthropic")[0]["thinking"]["budget_tokens"] == 31999
    document, _ = sent("anthropic", body, "anthropic", max_output_tokens=8192)
    assert (document["max_tokens"], document["thinking"]["budget_tokens"]) == (8192, 4096)
    document, wire = sent("anthropic", body, "anthropic", max_output_tokens=1500)
    assert "thinking" not in document
    assert wire.dropped == ("thinking: max_tokens 1500 leaves no room for it",)


# --- pictures, schemas, turns -----------------------------------------------------------------------------------------

JPEG, PNG = "/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"


@EVERY
@pytest.mark.parametrize(
    ("said", "data", "meant"),
    [
        ("image/jpg", JPEG, "image/jpeg"),
        ("IMAGE/PJPEG", "AAAA", "image/jpeg"),
        ("image/png", JPEG, "image/jpeg"),  # Anthropic looks at the data
        ("image/jpeg", PNG, "image/png"),
        ("application/octet-stream", PNG, "image/png"),
        ("image/webp", "UklGRg", "image/webp"),
    ],
)
def test_a_pictures_type_is_what_it_is(receiver: str, said: str, data: str, meant: str) -> None:
    image = Image(url=f"data:{said};base64,{data}")
    request = ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="What is this?"), image)),))
    name = MODELS.get(receiver, "mistral-large")
    body = (
        PROVIDERS[receiver].render_request(request, Model(id="m", provider="p", name=name, features=("vision",))).body
    )
    shown = meant.removeprefix("image/") if receiver == "bedrock" else meant
    assert f'"{shown}"'.encode() in body or f"data:{meant};base64,{data}".encode() in body
    assert said == meant or said.encode() not in body


def test_a_callers_own_picture_is_named_right_too() -> None:
    source = {"type": "base64", "media_type": "image/jpg", "data": JPEG}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image", "source": source}]}
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "image", "source": source}, result]}]}
    assert found(sent("anthropic", body, "anthropic")[0], "media_type") == ["image/jpeg"] * 2
    for inline, kind in (("inlineData", "mimeType"), ("inline_data", "mime_type")):
        parts = [{inline: {kind: "image/jpg", "data": JPEG}}]
        assert found(sent("gemini", {"contents": [{"parts": parts}]}, "gemini")[0], kind) == ["image/jpeg"]


UNION = {
    "anyOf": [
        {"type": "object", "properties": {"id": {"type": "integer"}, "x": {}}, "required": ["id", "x"]},
        {"$ref": "#/$defs/Named"},
    ],
    "$defs": {"Named": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name", "x"]}},
}


@pytest.mark.parametrize("receiver", ["openai", "responses", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize(
    ("schema", "properties", "required"),
    [
        (UNION, {"id", "x", "name"}, ["x"]),
        ({"allOf": UNION["anyOf"], "$defs": UNION["$defs"]}, {"id", "x", "name"}, ["id", "x", "name"]),
        ({"$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": {"a": {}}}}}, {"a"}, None),
        ({"properties": {"a": {}}}, {"a"}, None),
    ],
)
def test_a_tools_arguments_are_one_object(
    receiver: str, schema: dict[str, Any], properties: set[str], required: list[str] | None
) -> None:
    body = {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}
    document, _ = sent(receiver, body)
    [shown] = found(document, "parameters", "input_schema", "parametersJsonSchema", "json")
    assert (shown["type"], set(shown["properties"]), shown.get("required")) == ("object", properties, required)
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & shown.keys()


def test_a_conversation_begins_with_the_user_and_ends_in_text() -> None:
    body = {"messages": [{"role": "assistant", "content": "Hello."}, *HI, {"role": "assistant", "content": "It is "}]}
    for receiver, turns in (("anthropic", "messages"), ("gemini", "contents"), ("bedrock", "messages")):
        document, wire = sent(receiver, body)
        assert [turn["role"] for turn in document[turns]][:2] == [
            "user",
            "model" if receiver == "gemini" else "assistant",
        ]
        assert wire.dropped == ("a conversation that begins with the assistant",)
    assert sent("anthropic", body)[0]["messages"][-1]["content"] == "It is"


# --- the table itself -------------------------------------------------------------------------------------------------


def test_each_row_says_where_it_was_read_and_when() -> None:
    rows = [row for rows in (*DIALECTS.values(), *SERVERS.values()) for row in rows]
    for row in rows:
        assert (row.source == "not confirmed") == (row.seen == "")
        if row.seen:
            assert row.source.startswith("https://") or row.source == "public code"
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.seen)
    assert set(SERVERS) <= {"", *PRESETS}


def test_what_fits_is_sent_as_it_came() -> None:
    body = {**conversation(("call_1", "alpha")), "user": "u", "stop": ["x"], "max_tokens": 9, "temperature": 1.0}
    document, wire = sent("openai", body, max_output_tokens=10)
    assert (wire.adapted, wire.dropped, wire.renamed) == ((), (), {})
    assert document["messages"] == body["messages"]


def test_params_know_nothing_of_limits() -> None:
    """The limits hold for what is sent: the request itself keeps what the caller asked for."""
    request = CLIENTS["openai"].parse_request({"messages": HI, "max_tokens": 32000, "stop": STOPS}, "1")
    assert request.params == Params(max_tokens=32000, stop=tuple(STOPS))
    assert request.tools == tuple[Tool, ...]()


@pytest.mark.parametrize("receiver", ["openai", "responses", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize(
    ("model", "input_tokens", "sent_limit"),
    [
        ({"context_tokens": 128_000}, 0, 128_000),
        ({"context_tokens": 128_000}, 1000, 126_900),  # a tenth of the estimate is kept free
        ({"context_tokens": 128_000, "max_output_tokens": 64_000}, 1000, 64_000),
        ({"context_tokens": 128_000, "max_output_tokens": 64_000}, 100_000, 18_000),
        ({"context_tokens": 1000, "max_output_tokens": 64_000}, 5000, 64_000),  # too long: the provider judges
        ({}, 1000, 128_000),
    ],
)
def test_a_models_window_lowers_what_is_asked(
    receiver: str, model: dict[str, Any], input_tokens: int, sent_limit: int
) -> None:
    request = CLIENTS["anthropic"].parse_request({"messages": HI, "max_tokens": 128_000}, "1")
    request = msgspec.structs.replace(request, input_tokens=input_tokens)
    chosen = Model(id="m", provider="p", name=MODELS[receiver], **model)
    document = json.loads(PROVIDERS[receiver].render_request(request, chosen).body)
    limits = ("max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "maxTokens")
    assert found(document, *limits) == [sent_limit]


def test_a_long_conversation_of_plain_turns_costs_no_call_a_turn() -> None:
    messages = [{"role": ("user", "assistant")[n % 2], "content": "hello"} for n in range(101)]
    request = ChatRequest(
        id="r",
        messages=(Message(role="user", parts=(Text(text="hello"),)),),
        dialect="openai",
        raw={"model": "m", "messages": messages},
    )
    model = Model(id="m", provider="p", name="m")
    dialect, calls = OpenAIProviderDialect(), 0
    dialect.render_request(request, model)  # what is kept from then on is made once

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        wire = dialect.render_request(request, model)
    finally:
        sys.setprofile(before)
    assert json.loads(wire.body)["messages"] == messages
    assert calls < 50
