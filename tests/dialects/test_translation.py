"""What a dialect has no counterpart for is noted; what differs is adapted."""
# ruff: noqa: E501 - tables of cases are read as tables

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.config.presets import PLAIN, PRESETS, Preset, PresetName, preset_of
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.embeddings import Embeddings
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.registry import provider_dialect
from semroute.dialects.shared.data_urls import read_data_url, text_of, text_url
from semroute.dialects.shared.thinking import budget_of, effort_of
from semroute.dialects.sse import Event
from semroute.errors import (
    BadAnswerError,
    ContentPolicyError,
    ContextLengthError,
    PlanExhaustedError,
    ProviderAuthError,
    ProviderError,
    ProviderRequestError,
    ProviderServerError,
    RateLimitedError,
    RequestError,
    SemrouteError,
    UnsupportedError,
)
from semroute.messages import (
    ChatRequest,
    Document,
    Image,
    JsonSchema,
    Message,
    Opaque,
    Params,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from semroute.routing.facts import read_facts
from tests.dialects.test_round_trips import CLIENTS, DECISION, MODELS, PROVIDERS

FEATURES: Any = ("tools", "json", "vision", "reasoning")
TOOL = Tool(name="f", parameters={"type": "object", "properties": {"a": {}}}, cache="5m", strict=True)
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def turn(role: Role, *parts: Part, name: str = "") -> Message:
    return Message(role=role, parts=parts, name=name)


HI = (turn("user", Text(text="Hi")),)


def rendered(
    dialect: str, messages: tuple[Message, ...] = HI, *, model: str = "", plain: bool = False, **fields: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = ChatRequest(id="1", messages=messages, **fields)
    features: Any = ("tools",) if plain else FEATURES
    limit = fields.pop("limit", None)
    chosen = Model(id="m", provider="p", name=model or MODELS[dialect], features=features, max_output_tokens=limit)
    wire = PROVIDERS[dialect].render_request(request, chosen)
    return json.loads(wire.body), wire.dropped


EVERYTHING = (
    turn("user", Text(text="Hi", cache="1h"), name="ann"),
    turn(
        "assistant",
        Thinking(text="hm", signature="s", origin="elsewhere"),
        Text(text="ok", cache="5m"),
        Refusal(text="no"),
        Opaque(kind="audio"),
        ToolCall(id="c", name="f", arguments="[1]", signature="c2ln", cache="5m"),
    ),
    turn(
        "tool",
        ToolResult(
            id="c",
            text="t",
            media=(
                Image(url="https://x/y.webp", detail="low"),
                Image(url="data:image/png;base64,AA"),
                Document(url="data:application/pdf;base64,AA"),
                Opaque(kind="search_result"),
            ),
            is_error=True,
            cache="5m",
        ),
    ),
    turn("system", Text(text="late")),
    turn("user", Document(url="https://x/y.pdf", cite=True), Document(url=text_url("text"), cite=True), Text(text="")),
    turn("user", Opaque(kind="video")),
)


def test_everything_at_once_is_sent_or_noted() -> None:
    notes = {dialect: rendered(dialect, EVERYTHING, tools=(TOOL,), unread=("extra",))[1] for dialect in PROVIDERS}
    assert notes == {
        "openai": (
            "extra",
            "cache_control",
            "thinking in the conversation",
            "audio",
            "is_error",
            "search_result",
            "place of a tool result's file: sent as the user's",
            "citations",
            "document by address",
            "video",
        ),
        "responses": (
            "extra",
            "messages.name",
            "cache_control.ttl",
            "thinking of another provider",
            "cache_control",
            "audio",
            "is_error",
            "search_result",
            "citations",
            "video",
        ),
        "anthropic": (
            "extra",
            "messages.name",
            "thinking of another provider",
            "audio",
            "image_url.detail",
            "search_result",
            "place of a system message: sent at the start",
            "video",
            "cache_control: only the last 4 marks",
        ),
        "gemini": (
            "extra",
            "messages.name",
            "cache_control",
            "thinking of another provider",
            "audio",
            "file of a tool result by address",
            "search_result",
            "place of a system message: sent at the start",
            "citations",
            "video",
            "tools.function.strict",
        ),
        "bedrock": (
            "extra",
            "messages.name",
            "thinking of another provider",
            "audio",
            "image_url.detail",
            "image by address",
            "search_result",
            "place of a system message: sent at the start",
            "document by address",
            "video",
            "cache_control: only the last 4 marks",
        ),
    }


def test_a_system_prompt_alone_is_the_users() -> None:
    for dialect, turns in (("anthropic", "messages"), ("gemini", "contents"), ("bedrock", "messages")):
        body, notes = rendered(dialect, (turn("system", Text(text="Say something.")),))
        assert [(said["role"], "Say something." in str(said)) for said in body[turns]] == [("user", True)]
        assert not body.keys() & {"system", "systemInstruction"}
        assert notes == ("a system prompt alone: sent as the user's",)


def test_settings_without_a_counterpart_are_noted() -> None:
    params = Params(
        temperature=1.5, top_p=0.5, top_k=4, frequency_penalty=1, presence_penalty=1, seed=0, n=2, logprobs=True,
        user="u", service_tier="flex", stop=(" ", "a", "b", "c", "d", "e"), parallel_tool_calls=False,
    )  # fmt: skip
    assert rendered("openai", params=params)[1] == ("top_k", "n")
    assert rendered("responses", params=params)[1] == (
        "frequency_penalty", "presence_penalty", "seed", "n", "top_k", "stop",
    )  # fmt: skip
    assert rendered("gemini", params=params)[1] == (
        "user",
        "n",
        "parallel_tool_calls",
        "stop after the first 5",
    )
    assert rendered("anthropic", params=params)[1] == (
        "frequency_penalty", "presence_penalty", "seed", "n", "logprobs", "top_p",
        "stop: texts of white space alone", "service_tier flex", "temperature 1.5: sent as 1",
    )  # fmt: skip
    assert rendered("anthropic", params=params, model="claude-opus-5")[1][5:8] == ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("dialect", "model", "params", "sent", "notes"),
    [
        ("openai", "", Params(thinking_tokens=9000), {"reasoning_effort": "high"}, ()),
        ("openai", "", Params(thinking_tokens=99999), {"reasoning_effort": "max"}, ()),
        ("openai", "", Params(thinking_tokens=-1), {}, ()),
        ("responses", "", Params(effort="low", show_thinking=True),
         {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}, ()),
        ("anthropic", "", Params(effort="xhigh", show_thinking=True),
         {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
         ("reasoning_effort xhigh: sent as high",)),
        ("anthropic", "", Params(effort="minimal"),
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
         ("reasoning_effort minimal: sent as low",)),
        ("anthropic", "", Params(effort="none"), {"thinking": {"type": "disabled"}}, ()),
        ("anthropic", "claude-fable-5", Params(effort="none"), {"output_config": {"effort": "low"}},
         ("reasoning_effort none: the model always thinks, sent as low",)),
        ("anthropic", "claude-sonnet-4-5", Params(effort="low", max_tokens=9000, temperature=0.5),
         {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ("temperature",)),
        ("anthropic", "claude-sonnet-4-5", Params(thinking_tokens=-1, max_tokens=9000),
         {"thinking": {"type": "enabled", "budget_tokens": 4500}}, ()),
        ("anthropic", "claude-sonnet-4-5", Params(thinking_tokens=5000, max_tokens=9000),
         {"thinking": {"type": "enabled", "budget_tokens": 5000}}, ()),
        ("anthropic", "claude-sonnet-4-5", Params(effort="high", max_tokens=500), {},
         ("reasoning_effort: max_tokens 500 leaves no room for 1024 tokens of thinking",)),
        ("gemini", "", Params(effort="high", show_thinking=True),
         {"generationConfig": {"thinkingConfig": {"thinkingBudget": 16384, "includeThoughts": True}}}, ()),
        ("gemini", "gemini-3-pro", Params(effort="max"), {"generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}}},
         ("reasoning_effort max: sent as high",)),
        ("gemini", "gemini-3-pro", Params(thinking_tokens=-1), {}, ()),
    ],
)  # fmt: skip
def test_how_much_to_think_is_said_as_each_model_takes_it(
    dialect: str, model: str, params: Params, sent: dict[str, Any], notes: tuple[str, ...]
) -> None:
    body, dropped = rendered(dialect, params=params, model=model)
    names = ("reasoning_effort", "reasoning", "include", "thinking", "output_config", "generationConfig")
    assert {name: body[name] for name in names if name in body} == sent
    assert dropped == notes


def test_a_model_that_cannot_think_is_not_told_to() -> None:
    note = "reasoning_effort: the model's features lack `reasoning`"
    assert rendered("openai", params=Params(effort="low"), plain=True)[1] == (note,)
    assert rendered("openai", params=Params(effort="none"), plain=True)[1] == ()
    assert (effort_of(Params()), budget_of(Params()), budget_of(Params(effort="low"))) == (None, None, 2048)


def test_thinking_needs_the_thoughts_before_the_last_call_and_forces_no_tool() -> None:
    call, result = ToolCall(id="c", name="f", arguments="{}"), ToolResult(id="c", text="t")
    params, old = Params(effort="low", max_tokens=9000), "claude-sonnet-4-5"
    lost = (*HI, turn("assistant", call), turn("tool", result))
    note = "reasoning_effort: the thoughts before the last tool call came from another provider"
    assert rendered("anthropic", lost, params=params, model=old)[1] == (note,)
    thought = Thinking(text="", signature="s", origin="anthropic", redacted=True)
    body, _ = rendered(
        "anthropic", (*HI, turn("assistant", thought, call), turn("tool", result)), params=params, model=old
    )
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert body["messages"][1]["content"][0] == {"type": "redacted_thinking", "data": "s"}
    choice = ToolChoice(mode="tool", name="f")
    body, notes = rendered("anthropic", params=params, tools=(TOOL,), tool_choice=choice)
    assert (body["tool_choice"], notes) == (
        {"type": "auto"},
        ("tool_choice: a model that thinks cannot be forced",),
    )
    only_results = (turn("tool", result),)
    assert rendered("anthropic", only_results, params=params, model=old)[1] == (note,)


def test_json_is_asked_for_as_each_model_takes_it() -> None:
    params = Params(json_output=True, json_schema=JsonSchema(document=OPEN))
    body, _ = rendered("anthropic", params=params)
    assert (body["tool_choice"]["name"], body["tools"][0]["input_schema"]) == ("semroute_json_answer", OPEN)
    body, _ = rendered("anthropic", params=params, tools=(TOOL,))
    assert "JSON Schema" in body["system"]
    body, _ = rendered("anthropic", params=Params(json_output=True))
    assert "one JSON object" in body["system"]
    body, _ = rendered("gemini", params=params, tools=(TOOL,))
    assert "JSON Schema" in body["systemInstruction"]["parts"][0]["text"]
    assert rendered("responses", params=Params(json_output=True))[0]["text"] == {"format": {"type": "json_object"}}
    assert rendered("openai", params=Params(json_output=True))[0]["response_format"] == {"type": "json_object"}
    either = {"anyOf": [{**OPEN, "additionalProperties": False}, {"type": "string"}]}
    params = Params(json_output=True, json_schema=JsonSchema(document=either))
    assert rendered("anthropic", params=params)[0]["output_config"]["format"]["schema"] == either


def test_inline_content_is_read() -> None:
    plain = read_data_url("data:,a%20b")
    assert plain is not None
    assert (plain.media_type, text_of(plain)) == ("text/plain", "a b")
    assert read_data_url("https://x") is None
    assert read_data_url("data:image/png;base64") is None
    several = read_data_url("data:image/jpg;charset=x;a=b;base64,AAAA")
    assert several is not None
    assert (several.media_type, several.data) == ("image/jpeg", "AAAA")
    nameless = read_data_url("data:;base64,aGk=")
    assert nameless is not None
    assert (nameless.media_type, text_of(nameless)) == ("text/plain", "hi")
    not_base64 = read_data_url("data:text/plain;base64;a=b,a,b")
    assert not_base64 is not None
    assert text_of(not_base64) == "a,b"
    assert rendered("anthropic", (turn("user", Document(url=text_url("hm"))),))[0]["messages"][0]["content"] == [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hm"}}
    ]


# --- presets ----------------------------------------------------------------------------------------------------------


BODY: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "call_long_id", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_long_id", "content": "t"},
        {"role": "tool", "tool_call_id": "Ab3Ab3Ab3", "content": "t"},
        "malformed",
    ],
    "max_tokens": 5,
    "logprobs": True,
    "logit_bias": {"1": 1},
    "n": 1,
    "seed": 3,
    "service_tier": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": OPEN}},
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_what_its_server_wants_changed(name: PresetName) -> None:
    preset = PRESETS[name]
    assert preset.source.startswith("https://")
    assert preset.base_url.startswith("http") or name in ("azure", "bedrock")
    dialect = OpenAIProviderDialect(preset, "v9" if name == "azure" else "")
    request = ChatRequest(id="1", messages=(), dialect="openai", raw=BODY, stream=True)
    wire = dialect.render_request(request, Model(id="m", provider="p", name="a/b"))
    body = json.loads(wire.body)
    assert set(wire.dropped) == {field for field in preset.drop if field in BODY and field != "n"}
    assert not set(preset.drop) & body.keys()
    assert ("stream_options" in body) == preset.stream_options
    assert {field for field in ("max_tokens", "max_completion_tokens") if field in body} == {
        preset.limit_field or "max_tokens"
    }
    roles = [message["role"] for message in body["messages"] if isinstance(message, dict)]
    assert ("developer" in roles) == preset.developer
    assert (body["response_format"]["type"] == "json_schema") == preset.json_schema
    ids = [message["tool_call_id"] for message in body["messages"] if "tool_call_id" in message]
    assert ids[1] == "Ab3Ab3Ab3"
    assert len(ids[0]) == (9 if name == "mistral" else len("call_long_id"))
    assert ("random_seed" in body) == (name == "mistral")
    thoughts = [message["reasoning_content"] for message in body["messages"] if "reasoning_content" in message]
    assert thoughts == ([""] if preset.thoughts == "reasoning_content" else [])
    assert dialect.headers("k") == {preset.key_header: "k" if name == "azure" else "Bearer k"}
    expected = "/openai/deployments/a%2Fb/chat/completions?api-version=v9" if name == "azure" else "/chat/completions"
    assert wire.path == expected


def test_cache_marks_are_written_as_the_server_knows_them() -> None:
    messages = (turn("user", Text(text="a", cache="1h")),)
    request = ChatRequest(id="1", messages=messages, tools=(TOOL,), dialect="x")
    shown = {}
    for name in ("openai", "openrouter", "groq"):
        wire = OpenAIProviderDialect(PRESETS[name]).render_request(request, Model(id="m", provider="p", name="m"))
        shown[name] = (json.loads(wire.body)["messages"][0]["content"], wire.dropped)
    assert shown == {
        "openai": (
            [{"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}],
            ("cache_control.ttl", "cache_control"),
        ),
        "openrouter": ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}], ()),
        "groq": ("a", ("cache_control",)),
    }


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("openai", ["reasoning_content"]),
        ("groq", ["annotations", "reasoning_content"]),
        ("mistral", ["annotations", "reasoning_content", "name"]),
        ("openrouter", []),
    ],
)
def test_a_server_is_not_sent_back_what_it_refuses_in_a_message(name: PresetName, refused: list[str]) -> None:
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "ok",
        "name": "n",
        "reasoning_content": "hm",
        "refusal": None,
    }
    said |= {"annotations": [{"type": "url_citation"}]}
    request = ChatRequest(id="1", messages=(), dialect="openai", raw={"messages": [said]})
    wire = OpenAIProviderDialect(PRESETS[name]).render_request(request, Model(id="m", provider="p", name="n"))
    [sent] = json.loads(wire.body)["messages"]
    kept = set(said) - set(refused)
    assert sent.keys() == ((kept - {"refusal"}) | {"prefix"} if name == "mistral" else kept)
    assert wire.dropped == tuple(f"messages.{field}" for field in refused)


@pytest.mark.parametrize("preset", [PLAIN, *PRESETS.values()], ids=lambda preset: preset.name or "plain")
def test_no_server_gets_the_private_fields_of_another(preset: Preset) -> None:
    private = {
        "extra_content": {"google": {"thought_signature": "s"}},
        "reasoning_details": [{"type": "reasoning.text", "text": "x"}],
        "provider_specific_fields": {"x": 1},
        "thinking_blocks": [{"type": "thinking", "thinking": "x"}],
    }
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}, **private}
    raw = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call], **private}]}
    wire = OpenAIProviderDialect(preset).render_request(
        OpenAI().parse_request(raw, "1"), Model(id="m", provider="p", name="m")
    )
    said = json.loads(wire.body)["messages"][-1]
    own = {"google": ["extra_content"], "openrouter": ["reasoning_details"]}
    expected = own.get(preset.name, [] if preset.name else ["provider_specific_fields", "thinking_blocks"])
    for place in (said, said["tool_calls"][0]):
        assert [name for name in private if name in place] == expected


SIGNED_CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "s"}},
}


def sent_with_calls(preset: Preset, dialect: str, model: str, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of the last message that a server is sent."""
    said: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls, "extra_content": {"google": {}}}
    raw: dict[str, Any] = {"messages": [said]}
    if dialect == "openai":
        request = OpenAI().parse_request(raw, "1")
    else:
        parsed = OpenAI().parse_request(raw, "1").messages
        request = ChatRequest(id="1", messages=parsed, dialect=dialect)
    wire = OpenAIProviderDialect(preset).render_request(request, Model(id="m", provider="p", name=model))
    message = json.loads(wire.body)["messages"][-1]
    assert ("extra_content" in message) == (preset.call_signatures and dialect == "openai")
    assert wire.dropped == ()
    return list(message["tool_calls"])


@pytest.mark.parametrize("dialect", ["openai", "responses"])
@pytest.mark.parametrize(
    ("preset", "address", "signed"),
    [
        (None, "http://127.0.0.1:8000/v1", False),
        (None, "https://api.example.com/.googleapis.com/v1", False),
        *((name, "", name == "google") for name in PRESETS),
        (None, "https://generativelanguage.googleapis.com/v1beta/openai", True),
        (None, "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", True),
    ],
)
def test_only_googles_own_servers_get_geminis_signature_of_a_call(
    preset: PresetName | None, address: str, signed: bool, dialect: str
) -> None:
    plain = {name: value for name, value in SIGNED_CALL.items() if name != "extra_content"}
    sent = sent_with_calls(preset_of(preset, address), dialect, "n", [SIGNED_CALL])
    assert sent == [SIGNED_CALL if signed else plain]


def test_a_provider_without_a_preset_is_googles_by_its_address() -> None:
    raw = {"messages": [{"role": "assistant", "content": None, "tool_calls": [SIGNED_CALL]}]}
    request = OpenAI().parse_request(raw, "1")
    for address, signed in (("http://127.0.0.1:8000/v1", False), (PRESETS["google"].base_url, True)):
        provider = provider_dialect(ProviderSettings(id="p", dialect="openai", base_url=address))
        wire = provider.render_request(request, Model(id="m", provider="p", name="n"))
        assert (b"extra_content" in wire.body) == signed


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("model", ["gemini-3-pro", "google/gemini-3-pro"])
def test_googles_servers_get_a_mark_on_the_first_call_of_another_model(dialect: str, model: str) -> None:
    plain = {name: value for name, value in SIGNED_CALL.items() if name != "extra_content"}
    mark = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
    other = {**plain, "id": "b"}
    google = PRESETS["google"]
    assert sent_with_calls(google, dialect, model, [plain, other]) == [plain | mark, other]
    assert sent_with_calls(google, dialect, model, [SIGNED_CALL, other]) == [SIGNED_CALL, other]
    assert sent_with_calls(google, dialect, "gemini-2.5-pro", [plain, other]) == [plain, other]


def test_deepseek_is_sent_what_was_thought_before_a_call() -> None:
    thought, call = Thinking(text="hm", signature="s", origin="elsewhere"), ToolCall(id="c", name="f", arguments="{}")
    request = ChatRequest(id="1", messages=(*HI, turn("assistant", thought, call)), dialect="anthropic")
    lost = ("thinking in the conversation",)
    for preset, said, notes in ((PRESETS["deepseek"], "hm", ()), (PRESETS["groq"], None, lost)):
        wire = OpenAIProviderDialect(preset).render_request(request, Model(id="m", provider="p", name="n"))
        assert json.loads(wire.body)["messages"][1].get("reasoning_content") == said
        assert wire.dropped == notes


def test_reasoning_that_is_counted_apart_is_added() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}}
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode()
    got = OpenAIProviderDialect(PRESETS["xai"]).parse_completion(body).usage
    assert got is not None
    assert (got.output_tokens, got.reasoning_tokens) == (5, 3)


# --- what callers get wrong -------------------------------------------------------------------------------------------

HEAD: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("anthropic", {"messages": []}, "at least one message"),
    ("anthropic", {"messages": 1, "other": 2}, "expected a list"),
    ("openai", {"messages": [{"role": "x"}]}, "expected one of system, developer, user, assistant, tool, function"),
    ("anthropic", {"messages": [{"role": "x"}]}, "expected one of user, assistant, system"),
    ("anthropic", {"messages": [{"role": "user", "content": [1]}]}, "expected an object"),
    ("anthropic", {"messages": [{"role": "user", "content": [{}]}]}, "expected the block's type"),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "lacks what"),
    ("anthropic", {**HEAD, "tools": [{"name": "f"}]}, "input_schema: got null"),
    ("anthropic", {**HEAD, "tool_choice": {"type": "x"}}, "expected one of auto, any, none, tool"),
    ("openai", {**HEAD, "tool_choice": "x"}, "expected one of auto, none, required"),
    ("openai", {**HEAD, "tools": [{"type": "function", "function": {}}]}, "function's name"),
    ("openai", {"messages": []}, "at least one message"),
    ("openai", {"messages": [{"role": "x"}]}, "expected one of system"),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "without its 'text'"),
    ("openai", {"messages": [{"role": "user", "content": [{}]}]}, "expected the part's type"),
    ("responses", {}, "expected text or a list of items"),
    ("responses", {"input": [{"role": "x", "content": "a"}]}, "expected one of system"),
    ("responses", {"input": [{"role": "user", "content": 1}]}, "expected text or a list of parts"),
    ("responses", {"input": [{"role": "user", "content": [{}]}]}, "expected the part's type"),
    ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, "send the whole conversation"),
    ("responses", {"input": [{"type": "function_call"}]}, 'got an item of type "function_call"'),
    ("responses", {"input": "x", "background": True}, "in the background"),
    ("gemini", {"contents": []}, "at least one content"),
    ("gemini", {"contents": [{"role": "x", "parts": []}]}, "expected one of user, model"),
]


@pytest.mark.parametrize(("dialect", "body", "message"), WRONG)
def test_a_wrong_body_is_refused_with_its_place(dialect: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        CLIENTS[dialect].parse_request(body, "1")


@pytest.mark.parametrize(
    ("choice", "parsed", "unread"),
    [
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(mode="tool", name="f"), ()),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
            ToolChoice(mode="required"),
            ("tool_choice allowed_tools",),
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": []},
            ToolChoice(mode="required"),
            ("tool_choice allowed_tools",),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
            None,
            ("tool_choice allowed_tools",),
        ),
        ({"type": "mcp", "server_label": "s"}, None, ("tool_choice mcp",)),
    ],
)
def test_a_tool_choice_of_openais_own_is_left_to_openai(
    choice: dict[str, Any], parsed: ToolChoice | None, unread: tuple[str, ...]
) -> None:
    for dialect, head in (("openai", HEAD), ("responses", {"input": "Hi"})):
        request = CLIENTS[dialect].parse_request({**head, "tool_choice": choice}, "1")
        assert (request.tool_choice, request.unread) == (parsed, unread)
        wire = PROVIDERS[dialect].render_request(request, Model(id="m", provider="p", name="n"))
        assert json.loads(wire.body)["tool_choice"] == choice


def test_calls_of_openais_other_kinds_keep_their_results() -> None:
    parsed = CLIENTS["openai"].parse_request(
        {
            "messages": [
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
                {"role": "function", "name": "f", "content": "18"},
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "y", "cache_control": {}}]},
            ],
        },
        "1",
    )  # fmt: skip
    assert [message.parts for message in parsed.messages] == [
        (ToolCall(id="call_0", name="f", arguments='{"a":1}'),),
        (ToolResult(id="call_0", text="18"),),
        (ToolCall(id="c", name="g", arguments='{"input":"x"}'),),
        (ToolResult(id="c", text="y", cache="5m"),),
    ]
    items: list[dict[str, Any]] = [
        {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "y"},
    ]
    assert [message.parts for message in CLIENTS["responses"].parse_request({"input": items}, "1").messages] == [
        (ToolCall(id="c", name="g", arguments='{"input":"x"}'),),
        (ToolResult(id="c", text="y"),),
    ]


def test_a_turn_of_which_nothing_is_left_is_not_sent() -> None:
    redacted = Thinking(signature="s", origin="anthropic", redacted=True)
    for part in (Thinking(text="hm"), redacted, Opaque(kind="web_search_call")):
        body, notes = rendered("openai", (*HI, turn("assistant", part), *HI))
        assert [message["role"] for message in body["messages"]] == ["user", "user"]
        assert len(notes) == 1


def test_what_is_said_beside_a_tools_result_is_the_agents() -> None:
    call: dict[str, Any] = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": "c", "content": [pdf, {"type": "search_result"}]}
    said = {"type": "text", "text": "<reminder>"}
    messages = [
        *HEAD["messages"],
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [said, result]},
    ]
    inline = {"inlineData": {"mimeType": "application/pdf", "data": "AA"}}
    answered = {"functionResponse": {"name": "f", "id": "c", "response": {"output": ""}, "parts": [inline, {"odd": 1}]}}
    contents = [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "id": "c"}}]},
        {"role": "user", "parts": [{"text": "<reminder>"}, answered]},
    ]
    document = Document(url="data:application/pdf;base64,AA")
    for dialect, body, odd in (
        ("anthropic", {"messages": messages}, "search_result"),
        ("gemini", {"contents": contents}, "odd"),
    ):
        request = CLIENTS[dialect].parse_request(body, "1")
        assert request.messages[-1] == turn(
            "user", ToolResult(id="c", media=(document, Opaque(kind=odd))), Text(text="<reminder>")
        )
        assert read_facts(request).text == "Hi"
        told, notes = rendered("openai", request.messages)
        assert [message["role"] for message in told["messages"]] == ["user", "assistant", "tool", "user", "user"]
        assert notes == (odd, "place of a tool result's file: sent as the user's")


def test_what_a_dialect_alone_knows_is_kept_apart() -> None:
    parsed = CLIENTS["anthropic"].parse_request(
        {
            **HEAD,
            "system": [{"type": "text", "text": "s"}],
            "tools": [{"type": "web_search_20250305", "name": "w"}],
            "thinking": {"type": "between_tools"},
            "output_config": {"effort": "low", "new": 1},
            "service_tier": "x",
            "container": "c",
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]},
                {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]},
                {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]},
                {"role": "assistant", "content": []},
                {"role": "system", "content": "late"},
            ],
        },
        "1",
    )
    assert parsed.unread == (
        "container",
        "tools web_search_20250305",
        "output_config.new",
        "thinking.type between_tools",
        "service_tier",
    )
    kinds = [part.kind for message in parsed.messages for part in message.parts if isinstance(part, Opaque)]
    assert kinds == ["image file", "document file"]
    parsed = CLIENTS["responses"].parse_request(
        {
            "input": [
                {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
                {"type": "web_search_call", "id": "w"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "t"}]},
            ],
            "instructions": "Be brief.",
            "tools": [{"type": "web_search"}],
            "text": {"verbosity": "low"},
            "include": ["file_search_call.results"],
            "tool_choice": {"type": "web_search"},
        },
        "1",
    )
    assert parsed.unread == (
        "tools web_search", "tool_choice web_search", "text.verbosity", "include file_search_call.results",
    )  # fmt: skip
    parsed = CLIENTS["openai"].parse_request(
        {
            "messages": [
                {"role": "assistant", "reasoning_content": "hm", "refusal": "no", "content": [{"type": "refusal", "refusal": "n"}],
                 "tool_calls": [{"id": "c", "function": {"name": "f"}, "extra_content": {"google": {"thought_signature": "s"}}}]},
                {"role": "user", "content": [{"type": "input_audio"}, {"type": "file", "file": {"file_data": "data:,x"}}]},
            ],
            "tools": [{"type": "custom"}],
            "tool_choice": {"type": "new", "new": {"name": "f"}},
            "stop": "END",
        },
        "1",
    )  # fmt: skip
    assert parsed.unread == ("tools custom", "tool_choice new")
    assert parsed.params.stop == ("END",)
    assert [part.signature for part in parsed.messages[0].parts if isinstance(part, ToolCall)] == ["s"]
    parsed = CLIENTS["gemini"].parse_request(
        {
            "contents": [
                {"role": "model", "parts": [{"text": ""}, {"functionCall": {"name": "f"}}]},
                {"parts": [{"functionResponse": {"name": "f", "response": {"a": 1}}}, {"functionResponse": {"name": "g"}}]},
                {"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "A"}}, {"fileData": {"fileUri": "https://x"}}]},
            ],
            "tools": [
                {"googleSearch": {}},
                {"functionDeclarations": [
                    {"name": "f", "parameters": {"type": "OBJECT", "anyOf": [{"type": "STRING", "nullable": True}]}}
                ]},
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
            "generationConfig": {"speechConfig": {"a": 1}, "thinkingConfig": {"thinkingLevel": "LOW"}},
        },
        "1",
    )  # fmt: skip
    assert parsed.unread == ("generationConfig.speechConfig", "tools.googleSearch")
    assert parsed.tools[0].parameters == {"type": "object", "anyOf": [{"type": ["string", "null"]}]}
    results = [part for part in parsed.messages[1].parts if isinstance(part, ToolResult)]
    assert [result.text for result in results] == ['{"a":1}', "{}"]
    with pytest.raises(RequestError, match="not routed"):
        Embeddings().parse_request({"model": "auto:x", "input": "a"}, "1")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "status", "error", "error_type"),
    [
        ("anthropic", 529, {"type": "overloaded_error", "message": "Overloaded"}, ProviderServerError),
        ("anthropic", 400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}, ContextLengthError),
        ("anthropic", 400, {"message": "Output blocked by content filtering policy"}, ContentPolicyError),
        ("gemini", 429, {"status": "RESOURCE_EXHAUSTED", "message": "quota"}, RateLimitedError),
        ("gemini", 400, {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}, ContextLengthError),
        ("gemini", 400, {"message": "API key not valid. Please pass a valid API key."}, ProviderAuthError),
        ("openai", 400, {"code": "context_length_exceeded", "message": "m"}, ContextLengthError),
        ("openai", 403, {"code": "content_policy_violation", "message": "m"}, ContentPolicyError),
        ("responses", 400, {"message": "m"}, ProviderRequestError),
    ],
)  # fmt: skip
def test_a_vendors_error_is_one_of_ours(
    dialect: str, status: int, error: dict[str, Any], error_type: type[ProviderError]
) -> None:
    body = json.dumps([{"error": error}] if dialect == "gemini" else {"error": error}).encode()
    assert type(PROVIDERS[dialect].parse_error(status, {}, body)) is error_type


@pytest.mark.parametrize("dialect", ["anthropic", "responses", "gemini"])
def test_what_is_no_answer_is_refused(dialect: str) -> None:
    provider = PROVIDERS[dialect]
    for body in (
        b"",
        b"<html>",
        b"{}",
        b'{"type": "error", "error": {"message": "m"}}',
        b'{"error": {"message": "m"}}',
    ):
        with pytest.raises(BadAnswerError):
            provider.parse_completion(body)
    for data in (b"{", b'{"type": "error", "error": {"message": "m", "code": 503}}'):
        with pytest.raises(ProviderError):
            provider.stream_parser().event(Event(data=data))
    assert provider.headers(None) == {} or dialect == "anthropic"
    if dialect != "gemini":
        request = ChatRequest(id="1", messages=(), endpoint="embeddings", raw={})
        with pytest.raises(UnsupportedError):
            provider.render_request(request, Model(id="m", provider="p", name="m"))


def test_a_stream_that_fails_says_how() -> None:
    failed = {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}}}
    with pytest.raises(RateLimitedError):
        PROVIDERS["responses"].stream_parser().event(Event(data=json.dumps(failed).encode()))
    for answer, error_type in (
        ({"promptFeedback": {"blockReason": "SAFETY"}}, ContentPolicyError),
        ({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}, BadAnswerError),
    ):
        with pytest.raises(error_type) as caught:
            PROVIDERS["gemini"].stream_parser().event(Event(data=json.dumps(answer).encode()))
        assert caught.value.written_by_model == (error_type is BadAnswerError)


BODIES = {
    "openai": b'{"error": {"message": "m", "type": "t"}}',
    "anthropic": b'{"type": "error", "error": {"type": "t", "message": "m"}}',
}


@pytest.mark.parametrize("dialect", CLIENTS)
def test_errors_are_told_in_the_callers_dialect(dialect: str) -> None:
    client = CLIENTS[dialect]
    for error, status in (
        (SemrouteError("m"), 500),
        (RequestError("m", param="p"), 400),
        (ProviderRequestError("m", body=b"<html>"), 400),
        (ProviderRequestError("m", body=b"[]"), 400),
        (PlanExhaustedError("m", last=RateLimitedError("m")), 429),
    ):
        told = json.loads(client.render_error(error, status, "r1"))
        assert told["error"]["message"] == "m"
    if dialect in BODIES:
        refused = ProviderRequestError("m", status=400, body=BODIES[dialect])
        assert client.render_error(refused, 400) == BODIES[dialect]
    broken = client.stream(ChatRequest(id="1", messages=()), DECISION).error(SemrouteError("m"), 500)
    assert b"m" in broken
