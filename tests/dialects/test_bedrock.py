"""Converse: what is sent is what AWS's own description of the service allows; what has no counterpart is noted."""
# ruff: noqa: E501 - tables of cases are read as tables

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semroute.config.schema.models import Model
from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.dialects.shared.data_urls import text_url
from semroute.dialects.sse import Event
from semroute.errors import (
    BadAnswerError,
    ContextLengthError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    RateLimitedError,
    UnsupportedError,
)
from semroute.messages import (
    ChatRequest,
    Document,
    Image,
    JsonSchema,
    Message,
    Params,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from tests.dialects.strategies import conversations, schemas, tools
from tests.dialects.test_round_trips import VALUES
from tests.vendors.bedrock import complaints

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_3 = "anthropic.claude-3-5-sonnet-20240620-v1:0"
CLAUDE_46 = "global.anthropic.claude-opus-4-6-v1"
NOVA, NOVA_2 = "amazon.nova-pro-v1:0", "us.amazon.nova-2-lite-v1:0"
LLAMA, MISTRAL, GPT = "us.meta.llama3-3-70b-instruct-v1:0", "mistral.mistral-large-2407-v1:0", "openai.gpt-oss-120b-1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
MODELS = (CLAUDE, CLAUDE_3, CLAUDE_46, NOVA, NOVA_2, LLAMA, MISTRAL, GPT, PROFILE)
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OBJECT, "additionalProperties": False}
TOOL = Tool(name="f", description="F.", parameters=OBJECT)
PNG = "data:image/png;base64,AAAA"
PDF = "data:application/pdf;base64,JVBERg=="


def turn(role: Role, *parts: Part, name: str = "") -> Message:
    return Message(role=role, parts=parts, name=name)


HI = (turn("user", Text(text="Hi")),)
CALLED = (
    *HI,
    turn("assistant", ToolCall(id="c", name="f", arguments='{"a": "x"}')),
    turn("tool", ToolResult(id="c", text="t")),
)


def rendered(
    messages: tuple[Message, ...] = HI, *, model: str = CLAUDE, limit: int | None = None, **fields: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body, which AWS's own clients would send as it is, and the notes."""
    features: Any = ("tools", "json", "vision", "reasoning")
    chosen = Model(id="m", provider="p", name=model, features=features, max_output_tokens=limit)
    wire = BedrockProviderDialect().render_request(ChatRequest(id="1", messages=messages, **fields), chosen)
    body = json.loads(wire.body)
    assert complaints(model, body) == ""
    return body, wire.dropped


# --- the conversation -------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_request_is_one_that_aws_takes(data: st.DataObject) -> None:
    messages = data.draw(conversations("anthropic"))
    values = {name: data.draw(st.none() | VALUES[name], label=name) for name in VALUES}
    params = Params(**{name: value for name, value in values.items() if value is not None})
    body, _ = rendered(
        messages,
        model=data.draw(st.sampled_from(MODELS)),
        params=params,
        tools=data.draw(tools(st.none() | st.booleans())),
        tool_choice=data.draw(st.none() | st.sampled_from([ToolChoice(mode="none"), ToolChoice(mode="required")])),
    )
    roles = [message["role"] for message in body["messages"]]
    assert roles == [("user", "assistant")[place % 2] for place in range(len(roles))]
    said = [part.text for message in messages for part in message.parts if isinstance(part, Text | ToolResult)]
    sent = json.dumps(body, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False)[1:-1] in sent for text in said)


def test_a_conversation_is_sent_in_turns() -> None:
    body, notes = rendered(
        (
            turn("system", Text(text="Be brief.", cache="5m"), Image(url=PNG)),
            turn("user", Text(text="What is this?"), Image(url=PNG, detail="low", cache="1h")),
            turn("user", Text(text=" ")),
            turn("assistant", Text(text="A dot."), ToolCall(id="c", name="f", arguments="[1]")),
            turn("tool", ToolResult(id="c", text="no", media=(Image(url=PNG),), is_error=True)),
            turn("user", Text(text="Go on."), name="ann"),
        ),
        tools=(Tool(name="f", cache="5m", strict=True),),
    )
    image = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    assert body == {
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [{"text": "What is this?"}, image, {"cachePoint": {"type": "default", "ttl": "1h"}}]},
            {
                "role": "assistant",
                "content": [{"text": "A dot."}, {"toolUse": {"toolUseId": "c", "name": "f", "input": {"arguments": [1]}}}],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "c", "content": [{"text": "no"}, image], "status": "error"}},
                    {"text": "Go on."},
                ],
            },
        ],
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "f", "strict": True, "inputSchema": {"json": {"type": "object", "properties": {}}}}},
                {"cachePoint": {"type": "default"}},
            ]
        },
    }  # fmt: skip
    assert notes == ("image of a system message", "image_url.detail", "messages.name")


def test_a_conversation_begins_with_the_user() -> None:
    body, notes = rendered((turn("assistant", Text(text="Hello")), *HI))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert notes == ("a conversation that begins with the assistant",)
    body, notes = rendered((turn("user", Text(text=" ")),))
    assert (body["messages"], notes) == ([{"role": "user", "content": [{"text": "Continue."}]}], ())


def test_pictures_and_documents_must_be_inline_and_of_a_known_type() -> None:
    parts = (
        Image(url="https://x/y.png"),
        Image(url="data:image/bmp;base64,AA"),
        Document(url="https://x/y.pdf"),
        Document(url="data:application/zip;base64,AA"),
        Document(url=PDF, name="Q3: the  report_v2.pdf", cite=True),
        Document(url=PDF, name="Q3: the  report_v2.pdf"),
        Document(url=text_url("hm")),
    )
    body, notes = rendered((turn("user", *parts),))
    *documents, text = body["messages"][0]["content"]
    names = [block["document"]["name"] for block in documents]
    assert names == ["Q3- the report-v2", "Q3- the report-v2 2", "document"]
    assert documents[0]["document"] == {
        "format": "pdf",
        "name": names[0],
        "source": {"bytes": "JVBERg=="},
        "citations": {"enabled": True},
    }
    assert text == {"text": "Read the document."}
    assert notes == (
        "image by address",
        "image of type image/bmp",
        "document by address",
        "document of type application/zip",
    )
    assert rendered((turn("user", Text(text="a"), parts[4]),), model=NOVA)[1] == ("citations",)


def test_thoughts_go_back_to_who_can_have_thought_them() -> None:
    thoughts = (
        Thinking(text="a", signature="s", origin="bedrock"),
        Thinking(text="b", signature="s", origin="anthropic"),
        Thinking(signature="cmVk", origin="bedrock", redacted=True),
        Thinking(text="c"),
        Thinking(text="d", signature="s", origin="gemini"),
    )
    body, notes = rendered((*HI, turn("assistant", *thoughts)))
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "a", "signature": "s"}}},
        {"reasoningContent": {"reasoningText": {"text": "b", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "cmVk"}},
    ]
    assert notes == ("thinking of another provider",)
    body, _ = rendered((*HI, turn("assistant", *thoughts[:2])), model=NOVA_2)
    assert len(body["messages"][1]["content"]) == 1


def test_what_a_family_of_models_lacks_is_noted() -> None:
    messages = (
        turn("user", Text(text="Hi", cache="1h")),
        turn("assistant", ToolCall(id="toolu/1", name="f", arguments="{}")),
        turn("tool", ToolResult(id="toolu/1", is_error=True, cache="5m")),
    )
    tool = (Tool(name="f", cache="5m", strict=True),)
    body, notes = rendered(messages, model=LLAMA, tools=tool)
    assert notes == ("cache_control", "is_error", "tools.function.strict")
    call, result = body["messages"][1]["content"][0]["toolUse"], body["messages"][2]["content"][0]["toolResult"]
    assert call["toolUseId"] == result["toolUseId"] != "toolu/1"
    assert result["content"] == []
    assert rendered(messages, model=NOVA, tools=tool)[1] == (
        "cache_control.ttl",
        "tools.function.strict",
        "cache_control",
    )


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "choice", "sent", "notes"),
    [
        (CLAUDE, ToolChoice(mode="auto"), None, ()),
        (CLAUDE, ToolChoice(mode="required"), {"any": {}}, ()),
        (CLAUDE, ToolChoice(mode="tool", name="f"), {"tool": {"name": "f"}}, ()),
        (NOVA, ToolChoice(mode="tool", name="f"), {"tool": {"name": "f"}}, ()),
        (MISTRAL, ToolChoice(mode="tool", name="f"), {"any": {}}, ("tool_choice: the model can be forced to call a tool, but not a certain one",)),
        (LLAMA, ToolChoice(mode="required"), None, ("tool_choice: the model cannot be forced",)),
        (PROFILE, ToolChoice(mode="required"), None, ("tool_choice: the model cannot be forced",)),
    ],
)  # fmt: skip
def test_a_tool_choice_is_said_where_the_model_takes_it(
    model: str, choice: ToolChoice, sent: dict[str, Any] | None, notes: tuple[str, ...]
) -> None:
    body, dropped = rendered(model=model, tools=(TOOL,), tool_choice=choice)
    assert (body["toolConfig"].get("toolChoice"), dropped) == (sent, notes)


def test_no_tools_are_offered_where_none_is_to_be_called() -> None:
    none = ToolChoice(mode="none")
    assert "toolConfig" not in rendered(tools=(TOOL,), tool_choice=none)[0]
    body, notes = rendered(CALLED, tools=(TOOL,), tool_choice=none)
    assert (body["toolConfig"]["tools"][0]["toolSpec"]["name"], notes) == ("f", ("tool_choice none",))
    body, notes = rendered(CALLED)
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "f"
    assert notes == ("tools: those that the conversation calls are declared",)
    assert rendered(CALLED[2:])[0]["toolConfig"]["tools"][0]["toolSpec"]["name"] == "tool"


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_sent_where_each_model_reads_them() -> None:
    params = Params(max_tokens=99, temperature=1.5, top_p=0.5, top_k=4, stop=("END", "\n"))
    body, notes = rendered(params=params, limit=50)
    assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 1.0, "stopSequences": ["END"]}
    assert body["additionalModelRequestFields"] == {"top_k": 4}
    assert notes == ("top_p", "stop: texts of white space alone", "temperature 1.5: sent as 1")
    body, notes = rendered(params=params, model=NOVA)
    assert body["inferenceConfig"] == {"maxTokens": 99, "temperature": 1.0, "topP": 0.5, "stopSequences": ["END", "\n"]}
    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 4}}
    assert rendered(params=Params(top_k=4), model=LLAMA) == ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, ("top_k",))  # fmt: skip
    body, notes = rendered(params=Params(user="u-1", service_tier="flex"))
    assert (body["requestMetadata"], body["serviceTier"], notes) == ({"user": "u-1"}, {"type": "flex"}, ())
    assert rendered(params=Params(service_tier="auto"))[1] == ()
    assert rendered(
        params=Params(
            frequency_penalty=1, presence_penalty=1, seed=0, n=2, logprobs=True, parallel_tool_calls=False, user="é", service_tier="scale"
        ),
        unread=("extra",),
    )[1] == ("extra", "frequency_penalty", "presence_penalty", "seed", "n", "logprobs", "parallel_tool_calls", "service_tier scale")  # fmt: skip


@pytest.mark.parametrize(
    ("model", "params", "sent", "notes"),
    [
        (CLAUDE, Params(effort="low", temperature=0.5),
         {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}, "inferenceConfig": {"maxTokens": 8192}},
         ("temperature",)),
        (CLAUDE_46, Params(effort="max", show_thinking=True),
         {"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}}, "outputConfig": {"effort": "max"}}, ()),
        (CLAUDE, Params(effort="none"), {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, ()),
        (NOVA_2, Params(effort="minimal", max_tokens=9),
         {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, "inferenceConfig": {"maxTokens": 9}},
         ("reasoning_effort minimal: sent as low",)),
        (NOVA_2, Params(effort="high", max_tokens=9, temperature=0, top_p=0.5),
         {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}},
         ("max_tokens", "temperature", "top_p")),
        (NOVA_2, Params(effort="none"), {"additionalModelRequestFields": {"reasoningConfig": {"type": "disabled"}}}, ()),
        (NOVA_2, Params(thinking_tokens=-1), {}, ()),
        (GPT, Params(effort="none"), {"additionalModelRequestFields": {"reasoning_effort": "low"}}, ("reasoning_effort none: sent as low",)),
        (LLAMA, Params(effort="low"), {}, ("reasoning_effort: the model has no setting for it",)),
    ],
)  # fmt: skip
def test_how_much_to_think_is_said_as_each_model_takes_it(
    model: str, params: Params, sent: dict[str, Any], notes: tuple[str, ...]
) -> None:
    body, dropped = rendered(model=model, params=params)
    assert {name: value for name, value in body.items() if name != "messages"} == sent
    assert dropped == notes


def test_thinking_forces_no_tool_and_needs_the_thoughts_before_the_last_call() -> None:
    body, notes = rendered(
        params=Params(effort="low"), tools=(TOOL,), tool_choice=ToolChoice(mode="required"), model=CLAUDE
    )
    assert "toolChoice" not in body["toolConfig"]
    assert notes == ("tool_choice: a model that thinks cannot be forced",)
    lost = "reasoning_effort: the thoughts before the last tool call came from another provider"
    assert lost in rendered(CALLED, params=Params(effort="low"), tools=(TOOL,))[1]
    thought = Thinking(text="hm", signature="s", origin="anthropic")
    kept = (*HI, turn("assistant", thought, *CALLED[1].parts), CALLED[2])
    assert rendered(kept, params=Params(effort="low"), tools=(TOOL,))[1] == ()


def test_json_is_asked_for_as_each_model_takes_it() -> None:
    closed = Params(json_output=True, json_schema=JsonSchema(document=CLOSED, name="city", description="A city."))
    opened = Params(json_output=True, json_schema=JsonSchema(document=OBJECT))
    for model in (CLAUDE, GPT):
        body, _ = rendered(model=model, params=closed)
        given_schema = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        assert json.loads(given_schema.pop("schema")) == CLOSED
        assert given_schema == {"name": "city", "description": "A city."}
    for model, params in ((CLAUDE, opened), (CLAUDE_3, closed), (NOVA, closed)):
        tool = rendered(model=model, params=params)[0]["toolConfig"]
        assert tool["toolChoice"] == {"tool": {"name": "semroute_json_answer"}}
        assert tool["tools"][0]["toolSpec"]["inputSchema"]["json"] == (OBJECT if params is opened else CLOSED)
    for body in (
        rendered(model=LLAMA, params=closed)[0],
        rendered(model=NOVA, params=closed, tools=(TOOL,))[0],
        rendered(CALLED, model=NOVA, params=closed)[0],
    ):
        assert "JSON Schema" in body["system"][0]["text"]
    assert "one JSON object" in rendered(params=Params(json_output=True))[0]["system"][0]["text"]


@given(schema=schemas)
@settings(max_examples=20, deadline=None)
def test_any_schema_is_sent_as_text(schema: dict[str, Any]) -> None:
    body, _ = rendered(params=Params(json_output=True, json_schema=JsonSchema(document=schema)))
    assert json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]) == schema


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (CLAUDE_3, "/model/anthropic.claude-3-5-sonnet-20240620-v1:0/converse"),
        (PROFILE, "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fa1b2c3/converse"),
    ],
)
def test_a_models_name_stands_in_the_path(model: str, path: str) -> None:
    dialect, chosen = BedrockProviderDialect(), Model(id="m", provider="p", name=model)
    wire = dialect.render_request(ChatRequest(id="1", messages=HI), chosen)
    assert (wire.path, wire.model) == (path, model)
    assert dialect.render_request(ChatRequest(id="1", messages=HI, stream=True), chosen).path == f"{path}-stream"
    assert (dialect.headers("k"), dialect.headers(None)) == ({"authorization": "Bearer k"}, {})
    with pytest.raises(UnsupportedError):
        dialect.render_request(ChatRequest(id="1", messages=(), endpoint="embeddings", raw={}), chosen)


# --- answers ----------------------------------------------------------------------------------------------------------

ANSWER_CALL = {"toolUse": {"toolUseId": "t", "name": "semroute_json_answer"}}


def test_the_tool_that_takes_the_answer_is_not_told() -> None:
    call = {"toolUse": {**ANSWER_CALL["toolUse"], "input": {"a": 1}}}
    body = {"output": {"message": {"content": [call]}}, "stopReason": "tool_use"}
    whole = BedrockProviderDialect().parse_completion(json.dumps(body).encode())
    assert (whole.parts, whole.finish_reason) == ((Text(text='{"a":1}'),), "stop")
    parser = BedrockProviderDialect().stream_parser()
    events: list[tuple[str, dict[str, Any]]] = [
        ("contentBlockStart", {"start": ANSWER_CALL}),
        ("contentBlockDelta", {"delta": {"toolUse": {"input": '{"a":1}'}}}),
        ("contentBlockStop", {}),
        ("messageStop", {"stopReason": "tool_use"}),
    ]
    chunks = [parser.event(Event(name=name, data=json.dumps(data).encode())) for name, data in events]
    assert [chunk.parts for chunk in chunks if chunk is not None] == [(), (Text(text='{"a":1}'),), (), ()]
    assert chunks[-1] is not None
    assert chunks[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "stop"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"), ("content_filtered", "content_filter"), ("new", "stop"),
    ],
)  # fmt: skip
def test_why_an_answer_ends(reason: str, finish: str) -> None:
    body = {"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": reason, "serviceTier": {"type": "flex"}}
    whole = BedrockProviderDialect().parse_completion(json.dumps(body).encode())
    assert (whole.finish_reason, whole.usage, whole.service_tier) == (finish, None, "flex")


def test_what_says_nothing_gives_no_part() -> None:
    parser = BedrockProviderDialect().stream_parser()
    events: list[tuple[str, dict[str, Any]]] = [
        ("contentBlockStart", {"start": {"image": {"format": "png"}}}),
        ("contentBlockDelta", {"delta": {"text": ""}}),
        ("contentBlockDelta", {"delta": {"reasoningContent": {}}}),
        ("contentBlockDelta", {"delta": {"toolUse": {"input": "{}"}}}),
        ("contentBlockStop", {}),
        ("contentBlockStart", {}),
        ("contentBlockDelta", {}),
        ("newKind", {}),
        ("metadata", {}),
    ]
    chunks = [parser.event(Event(name=name, data=json.dumps(data).encode())) for name, data in events]
    assert {chunk.parts for chunk in chunks if chunk is not None} == {()}
    assert not parser.finished
    usage = parser.event(Event(name="metadata", data=b'{"usage": {"inputTokens": 1, "outputTokens": 2}}'))
    assert usage is not None
    assert usage.usage == Usage(input_tokens=1, output_tokens=2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "got nothing"),
        (b"<html>", "got an HTML page"),
        (b"[]", "expected an answer of Converse"),
        (b'{"message": "m"}', "without a message: m"),
        (b'{"output": {}}', "without a message"),
        (b'{"output": {"message": {"content": []}}, "stopReason": "malformed_tool_use"}', "broke the answer off"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadAnswerError, match=message):
        BedrockProviderDialect().parse_completion(body)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "message", "error_type"),
    [
        (400, "ValidationException", "Input is too long for requested model.", ContextLengthError),
        (400, "ValidationException", "The model returned the following errors: prompt is too long: 9 tokens > 8 maximum", ContextLengthError),
        (400, "ValidationException", "Input Tokens Exceeded: Number of input tokens exceeds maximum length.", ContextLengthError),
        (400, "ValidationException", "The provided model identifier is invalid.", ProviderModelError),
        (400, "ValidationException", "Invocation of model ID x with on-demand throughput is not supported.", ProviderModelError),
        (400, "ValidationException", "messages.0: blank", ProviderRequestError),
        (400, "ThrottlingException:http://internal.amazon.com/coral/", "Too many requests", RateLimitedError),
        (400, "ServiceQuotaExceededException", "m", RateLimitedError),
        (403, "AccessDeniedException", "You don't have access to the model", ProviderAuthError),
        (400, "ExpiredTokenException", "m", ProviderAuthError),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model", ProviderModelError),
        (408, "ModelTimeoutException", "m", ProviderServerError),
        (424, "ModelErrorException", "m", ProviderServerError),
        (429, "ModelNotReadyException", "m", RateLimitedError),
        (500, "InternalServerException", "m", ProviderServerError),
        (503, "ServiceUnavailableException", "m", ProviderServerError),
    ],
)  # fmt: skip
def test_aws_errors_are_ours(status: int, kind: str, message: str, error_type: type[ProviderError]) -> None:
    dialect, body = BedrockProviderDialect(), json.dumps({"message": message}).encode()
    error = dialect.parse_error(status, {"x-amzn-errortype": kind}, body)
    assert (type(error), error.status, message in str(error)) == (error_type, status, True)
    body = json.dumps({"__type": f"com.amazon.coral.service#{kind}", "message": message}).encode()
    assert type(dialect.parse_error(status, {}, body)) is error_type


def test_errors_without_a_type_are_told_by_their_status() -> None:
    dialect = BedrockProviderDialect()
    error = dialect.parse_error(403, {}, b'{"Message": "Authentication failed: is your API Key valid?"}')
    assert (type(error), str(error)) == (
        ProviderAuthError,
        "status 403: Authentication failed: is your API Key valid?",
    )
    assert type(dialect.parse_error(503, {}, b"<html>")) is ProviderServerError


@pytest.mark.parametrize(
    ("name", "data", "error_type"),
    [
        ("throttlingException", {"message": "m"}, RateLimitedError),
        ("modelStreamErrorException", {"message": "m", "originalStatusCode": 500}, ProviderServerError),
        ("internalServerException", {"message": "m"}, ProviderServerError),
        ("serviceUnavailableException", {"message": "m"}, ProviderServerError),
        ("validationException", {"message": "m"}, ProviderRequestError),
        ("validationException", {"message": "Input is too long for requested model."}, ContextLengthError),
        ("newException", {"message": "m"}, BadAnswerError),
        ("error", {"code": "InternalFailure", "message": "m"}, ProviderServerError),
        ("error", {"code": None, "message": "m"}, BadAnswerError),
        ("messageStop", {"stopReason": "malformed_model_output"}, BadAnswerError),
        ("contentBlockDelta", [], BadAnswerError),
    ],
)
def test_errors_inside_a_stream_are_ours(name: str, data: Any, error_type: type[ProviderError]) -> None:
    with pytest.raises(ProviderError) as caught:
        BedrockProviderDialect().stream_parser().event(Event(name=name, data=json.dumps(data).encode()))
    assert type(caught.value) is error_type
