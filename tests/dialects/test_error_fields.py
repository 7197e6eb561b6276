"""An error names the field at fault as the caller wrote it, in the way in which that vendor's API writes paths."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.gemini.client import CountedGemini, Gemini
from semroute.dialects.gemini.embeddings import GeminiEmbeddings
from semroute.dialects.native.client import Native
from semroute.dialects.ollama.client import Ollama, OllamaGenerate
from semroute.dialects.ollama.embeddings import OllamaEmbeddings
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.embeddings import Embeddings
from semroute.dialects.openai.text_completions import TextDialect
from semroute.dialects.protocols import ClientDialect
from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.compaction import Compact
from semroute.errors import ContextLengthError, RequestError, UnsupportedError
from tests.dialects.wires import BODIES, HI, RECEIVERS

TURN = {"role": "user", "parts": [{"text": "Hi"}]}
TOLD: list[tuple[ClientDialect, dict[str, Any], str, str]] = [
    (OpenAI(), {"messages": [{"content": "x"}]}, "messages[0].role", "it is missing, expected a string"),
    (OpenAI(), {}, "messages", "it is missing, expected a list"),
    (OpenAI(), {"messages": [HI, 5]}, "messages[1]", "got 5, expected an object"),
    (OpenAI(), {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "got null, expected "),
    (
        OpenAI(),
        {"messages": [HI], "tools": [{"type": "function", "function": {}}]},
        "tools[0].function.name",
        "got null",
    ),
    (OpenAI(), {"messages": [HI], "tool_choice": {"a": 1}}, "tool_choice", "got an object, expected one of auto"),
    (OpenAI(), {"messages": [HI], "user": 5}, "user", "got 5, expected a string"),
    (TextDialect(), {"prompt": ["a", 5]}, "prompt[1]", "got tokens, expected text"),
    (TextDialect(), {"prompt": "a", "stop": 5}, "stop", "got 5, expected a string or a list"),
    (Embeddings(), {"model": "m"}, "input", "it is missing, expected a string or a list"),
    (
        Responses(),
        {"input": [HI, {"role": "user", "content": 5}]},
        "input[1].content",
        "got 5, expected text or a list",
    ),
    (Responses(), {"input": [{"role": "x", "content": "a"}]}, "input[0].role", 'got "x", expected one of '),
    (Responses(), {"input": "a", "text": {"format": 5}}, "text.format", "got 5, expected an object"),
    (Responses(), {"input": "a", "max_output_tokens": "x"}, "max_output_tokens", 'got "x", expected a whole number'),
    (Responses(), {"input": "a", "tools": [{"type": "custom"}]}, "tools[0].name", "got null, expected the tool's name"),
    (Compact(), {"input": [{"role": "user", "content": [{}]}]}, "input[0].content[0].type", "got null, expected "),
    (
        Anthropic(),
        {"messages": [{"role": "user", "content": [5]}]},
        "messages.0.content.0",
        "got 5, expected an object",
    ),
    (
        Anthropic(),
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{}]}]}]},
        "messages.0.content.0.content.0.type",
        "got null, expected the block's type",
    ),
    (Anthropic(), {"messages": [{"role": "x", "content": "a"}]}, "messages.0.role", 'got "x", expected one of '),
    (Anthropic(), {"messages": [HI], "system": [{}]}, "system.0.type", "got null, expected the block's type"),
    (Anthropic(), {"messages": [HI], "tools": [{"name": "a"}]}, "tools.0.input_schema", "got null, expected an object"),
    (Anthropic(), {"messages": [HI], "tools": [{}]}, "tools.0.name", "got null, expected the tool's name"),
    (Anthropic(), {"messages": [HI], "tool_choice": {"type": "x"}}, "tool_choice.type", 'got "x", expected one of '),
    (
        Anthropic(),
        {"messages": [HI], "output_config": {"format": 5}},
        "output_config.format",
        "got 5, expected an object",
    ),
    (Gemini(), {"contents": [{"parts": [{"text": "a"}, 5]}]}, "contents[0].parts[1]", "got 5, expected an object"),
    (Gemini(), {"contents": [{"role": "x", "parts": []}]}, "contents[0].role", 'got "x", expected one of user, model'),
    (Gemini(), {"contents": [TURN], "generationConfig": {"topK": "x"}}, "generationConfig.topK", 'got "x", expected '),
    (
        Gemini(),
        {"contents": [{"parts": [{"text": "a"}, {"functionResponse": {"name": "f", "parts": [5]}}]}]},
        "contents[0].parts[1].functionResponse.parts[0]",
        "got 5, expected an object",
    ),
    (
        Gemini(),
        {"contents": [TURN], "tools": [{"functionDeclarations": [{"name": "f"}, {}]}]},
        "tools[0].functionDeclarations[1].name",
        "got null, expected the function's name",
    ),
    (
        Gemini(),
        {"contents": [TURN], "tools": [{"functionDeclarations": 5}]},
        "tools[0].functionDeclarations",
        "got 5, expected a list",
    ),
    (
        Gemini(),
        {"contents": [TURN], "generation_config": {"top_k": "x"}},
        "generation_config.top_k",
        'got "x", expected ',
    ),
    (
        Gemini(),
        {"contents": [TURN], "generation_config": {"thinkingConfig": {"thinking_budget": "x"}}},
        "generation_config.thinkingConfig.thinking_budget",
        'got "x", expected ',
    ),
    (
        Gemini(),
        {"contents": [TURN], "tools": [{"function_declarations": [{"name": "f"}, {}]}]},
        "tools[0].function_declarations[1].name",
        "got null, expected the function's name",
    ),
    (
        Gemini(),
        {"contents": [TURN], "system_instruction": {"parts": [5]}},
        "system_instruction.parts[0]",
        "got 5, expected an object",
    ),
    (
        Gemini(),
        {"contents": [{"parts": [{"text": "a"}, {"function_response": {"name": "f", "parts": [5]}}]}]},
        "contents[0].parts[1].function_response.parts[0]",
        "got 5, expected an object",
    ),
    (
        CountedGemini(),
        {"generate_content_request": {"contents": [TURN], "generation_config": {"top_k": "x"}}},
        "generate_content_request.generation_config.top_k",
        'got "x", expected ',
    ),
    (
        CountedGemini(),
        {"generateContentRequest": {"contents": [{"parts": [5]}]}},
        "generateContentRequest.contents[0].parts[0]",
        "got 5, expected an object",
    ),
    (CountedGemini(), {"generateContentRequest": 5}, "generateContentRequest", "got 5, expected an object"),
    (
        GeminiEmbeddings(batch=True),
        {"model": "m", "requests": [{"content": {"parts": [5]}}]},
        "requests[0].content.parts[0]",
        "got 5, expected an object",
    ),
    (Ollama(), {"messages": [{"role": "x"}]}, "messages[0].role", 'got "x", expected one of '),
    (Ollama(), {"messages": [HI], "options": {"top_k": "x"}}, "options.top_k", 'got "x", expected a whole number'),
    (Ollama(), {"messages": [HI], "tools": [{"function": 5}]}, "tools[0].function", "got 5, expected an object with "),
    (OllamaGenerate(), {"prompt": "a", "images": 5}, "images", "got 5, expected a list"),
    (OllamaEmbeddings(), {"model": "m"}, "input", "got nothing, expected text or a list of texts"),
    (Native(), {"messages": [5]}, "$.messages[0]", "got 5, expected an object"),
    (Native(), {"messages": [{"role": "user", "contnt": "a"}]}, "$.messages[0].content", "it is missing, expected "),
    (OpenAI(), {"messages": [HI, {"role": "tool", "tool_call_id": "a"}]}, "messages[1].content", "it is missing, "),
    (Anthropic(), {"messages": [{"role": "user"}]}, "messages.0.content", "it is missing, expected text or a list"),
    (Gemini(), {"contents": [{"role": "user"}]}, "contents[0].parts", "it is missing, expected a list of parts"),
]


def refusal(client: ClientDialect, body: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(RequestError) as raised:
        client.parse_request({"model": "auto", **body}, "1")
    told: dict[str, Any] = msgspec.json.decode(client.render_error(raised.value, 400))
    return told


@pytest.mark.parametrize(("client", "body", "field", "message"), TOLD)
def test_the_field_at_fault_has_the_callers_own_name(
    client: ClientDialect, body: dict[str, Any], field: str, message: str
) -> None:
    told = refusal(client, body)
    error = told["error"]
    assert (error if isinstance(error, str) else error["message"]).startswith(f"{field}: {message}")
    if isinstance(error, dict) and "param" in error:
        assert error["param"] == field.removeprefix("$.")
    for detail in error.get("details", [])[1:] if isinstance(error, dict) else ():
        assert detail["@type"].endswith("google.rpc.BadRequest")
        assert detail["fieldViolations"] == [{"field": field, "description": error["message"][len(field) + 2 :]}]


@pytest.mark.parametrize(
    ("client", "field"),
    [
        (OpenAI(), "messages"),
        (Responses(), "input"),
        (Compact(), "input"),
        (TextDialect(), "prompt"),
        (Embeddings(), "input"),
    ],
)
def test_what_a_provider_says_of_the_conversation_names_the_field_of_the_endpoint(
    client: ClientDialect, field: str
) -> None:
    """The provider may have been asked in another form."""
    ours = msgspec.json.decode(client.render_error(ContextLengthError("too long"), 400))
    assert ours["error"]["param"] == field
    for said in ("messages.[3].content", "input[2]", "prompt"):
        own = {"error": {"message": "no", "type": "invalid_request_error", "param": said, "code": None}}
        told = client.render_error(UnsupportedError("no", status=400, body=msgspec.json.encode(own)), 400)
        param = msgspec.json.decode(told)["error"]["param"]
        assert param == (said if said.startswith(field) else field)
    other = {"error": {"message": "no", "type": "invalid_request_error", "param": "temperature", "code": None}}
    body = msgspec.json.encode(other)
    assert client.render_error(UnsupportedError("no", status=400, body=body), 400) == body


@pytest.mark.parametrize("said", ["messages", "messages[3]"])
def test_a_broken_stream_names_the_field_of_the_endpoint(said: str) -> None:
    own = {"error": {"message": "no", "code": "context_length_exceeded", "param": said, "type": "x"}}
    error = ContextLengthError("no", body=msgspec.json.encode(own))
    request = Responses().parse_request({"model": "auto", "input": "Hi"}, "1")
    events = Responses().stream(request, None).error(error, 400)  # type: ignore[arg-type]  # it does not read it
    assert b'"param":"input"' in events
    assert said.encode() not in events


def odd() -> list[object]:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"properties": {"a": deep}}
    values: dict[str, list[object]] = {
        "type": ["x", 5, None, [], {"a": 1}, [["string"]]],
        "properties": [[], 5, {"a": 5}, {"a": None}],
        "required": [5, [5], {"a": 1}],
        "$ref": [5, "#", "#/x", "#/$defs/a"],
        **{name: [5, [5], {}, None] for name in ("items", "anyOf", "oneOf", "allOf", "enum")},
    }
    return [
        *({name: value} for name, those in values.items() for value in those),
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        *({name: 5} for name in ("$defs", "additionalProperties", "format", "title", "default", "name", "content")),
        *(5, "x", [], None, True, 1.5, [[]], [5], {}, deep),
    ]


ODD_PLACES: dict[str, list[Any]] = {
    "openai": [
        lambda odd: {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": odd}}},
        lambda odd: {"response_format": {"type": "json_schema", "json_schema": odd}},
        lambda odd: {"response_format": odd},
        lambda odd: {"tools": [{"type": "function", "function": {"name": "f", "parameters": odd}}]},
        lambda odd: {"tools": [odd]},
        lambda odd: {"tool_choice": odd},
        lambda odd: {"messages": [{"role": "user", "content": [odd]}]},
        lambda odd: {"messages": [{"role": "assistant", "tool_calls": [odd]}]},
    ],
    "responses": [
        lambda odd: {"text": {"format": {"type": "json_schema", "name": "a", "schema": odd}}},
        lambda odd: {"text": odd},
        lambda odd: {"text": {"format": odd}},
        lambda odd: {"tools": [{"type": "function", "name": "f", "parameters": odd}]},
        lambda odd: {"tools": [odd]},
        lambda odd: {"tool_choice": odd},
        lambda odd: {"input": [odd]},
        lambda odd: {"input": [{"role": "user", "content": [odd]}]},
        lambda odd: {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": odd}]},
        lambda odd: {"input": [{"type": "reasoning", "summary": odd, "encrypted_content": odd}]},
    ],
    "anthropic": [
        lambda odd: {"output_config": {"format": {"type": "json_schema", "schema": odd}}},
        lambda odd: {"output_config": odd},
        lambda odd: {"output_config": {"format": odd}},
        lambda odd: {"tools": [{"name": "f", "input_schema": odd}]},
        lambda odd: {"tools": [odd]},
        lambda odd: {"tool_choice": odd},
        lambda odd: {"thinking": odd},
        lambda odd: {"messages": [{"role": "user", "content": [odd]}]},
        lambda odd: {
            "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": odd}]}]
        },
    ],
    "gemini": [
        lambda odd: {"generationConfig": {"responseMimeType": "application/json", "responseSchema": odd}},
        lambda odd: {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": odd}},
        lambda odd: {"generationConfig": {"thinkingConfig": odd}},
        lambda odd: {"tools": [{"functionDeclarations": [{"name": "f", "parameters": odd}]}]},
        lambda odd: {"tools": [{"functionDeclarations": odd}]},
        lambda odd: {"tools": [odd]},
        lambda odd: {"toolConfig": {"functionCallingConfig": odd}},
        lambda odd: {"contents": [{"role": "model", "parts": [{"functionCall": odd}]}]},
    ],
    "ollama": [
        lambda odd: {"format": odd},
        lambda odd: {"tools": [{"type": "function", "function": {"name": "f", "parameters": odd}}]},
        lambda odd: {"tools": [odd]},
        lambda odd: {"options": odd},
    ],
}
ONE_EACH = (
    "GPT-6 Luna, `openai`",
    "GPT-6.1 Sol, `responses`",
    "Claude Opus 5.5",
    "Gemini 3.8 Flash",
    "Nova 2 Lite, `bedrock`",
)
"""A provider of each dialect."""
CLIENTS: dict[str, ClientDialect] = {
    "openai": OpenAI(),
    "responses": Responses(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "ollama": Ollama(),
}


@pytest.mark.parametrize("dialect", CLIENTS)
def test_no_value_of_another_kind_breaks_a_dialect(dialect: str) -> None:
    """It is refused with its place, or sent in some way."""
    said = BODIES.get(dialect, {"messages": [HI]})
    for place in ODD_PLACES[dialect]:
        for value in odd():
            try:
                request = CLIENTS[dialect].parse_request({"model": "auto", **said, **place(value)}, "1")
            except RequestError as error:
                assert error.param
                continue
            for provider, name in (RECEIVERS[receiver] for receiver in ONE_EACH):
                model = Model(id="m", provider="p", name=name, features=("tools", "json"), max_output_tokens=65536)
                try:
                    assert provider.render_request(request, model).body
                except UnsupportedError as error:
                    assert str(error)
