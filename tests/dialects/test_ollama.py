"""What Ollama's clients say, in our terms. Bodies as https://docs.ollama.com/api shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.config.schema.models import Model
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.ollama.client import NothingAskedError, Ollama, OllamaGenerate
from semroute.dialects.ollama.client_answer import said_in_chat, said_in_text
from semroute.dialects.ollama.client_stream import SILENT, OllamaStream
from semroute.dialects.ollama.embeddings import OllamaEmbeddings
from semroute.errors import RequestError
from semroute.messages import (
    Alternative,
    ChatRequest,
    Chunk,
    Completion,
    Image,
    Params,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    ToolResult,
    Usage,
)
from tests.dialects.test_round_trips import RECORD

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def chat(*messages: dict[str, Any], **body: Any) -> ChatRequest:
    asked = list(messages) or [{"role": "user", "content": "hi"}]
    return Ollama().parse_request({"model": "m", "messages": asked, **body}, "id")


def test_options_are_parameters_and_those_of_a_local_server_mean_nothing() -> None:
    options = {
        "num_predict": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop": ["END"],
        "seed": 7,
        "num_ctx": 8192,
        "use_mmap": True,
        "min_p": 0.1,
    }
    asked = chat(options=options, keep_alive="5m")
    assert asked.params == Params(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop=("END",),
        seed=7,
    )
    assert asked.unread == ("options.min_p",)
    assert (asked.stream, chat(stream=False).stream) == (True, False)


@pytest.mark.parametrize(
    ("think", "effort", "tokens", "shown"),
    [(None, None, None, False), (True, None, -1, True), (False, "none", None, False), ("high", "high", None, True)],
)
def test_think_says_how_much_and_whether_it_is_shown(
    think: object, effort: str | None, tokens: int | None, shown: bool
) -> None:
    params = chat(think=think).params
    assert (params.effort, params.thinking_tokens, params.show_thinking) == (effort, tokens, shown)


def test_format_is_json_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    plain, held, none = chat(format="json").params, chat(format=schema).params, chat(format="").params
    assert (plain.json_output, plain.json_schema) == (True, None)
    assert (held.json_output, held.json_schema and held.json_schema.document) == (True, schema)
    assert (none.json_output, none.json_schema) == (False, None)


def test_calls_and_results_find_each_other_by_name_and_order() -> None:
    def call(name: str, **arguments: Any) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": arguments}}

    asked = chat(
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "thinking": "hm",
            "tool_calls": [call("w", city="Oslo"), call("t"), call("w", city="Rome")],
        },
        {"role": "tool", "tool_name": "w", "content": "1"},
        {"role": "tool", "tool_name": "w", "content": "2"},
        {"role": "tool", "content": "3"},
        tools=[{"type": "function", "function": {"name": "w", "description": "d", "parameters": {"type": "object"}}}],
    )
    assistant, results = asked.messages[1:]
    assert assistant.parts[0] == Thinking(text="hm")
    calls = [part for part in assistant.parts if isinstance(part, ToolCall)]
    assert [(each.name, each.arguments, each.index) for each in calls] == [
        ("w", '{"city":"Oslo"}', 0),
        ("t", "{}", 1),
        ("w", '{"city":"Rome"}', 2),
    ]
    assert results.role == "tool"
    assert results.parts == (
        ToolResult(id=calls[0].id, text="1"),
        ToolResult(id=calls[2].id, text="2"),
        ToolResult(id=calls[1].id, text="3"),
    )
    assert (asked.tools[0].name, asked.tools[0].description) == ("w", "d")
    named = chat(
        {"role": "assistant", "tool_calls": [{"id": "call_9", **call("w")}]},
        {"role": "tool", "tool_call_id": "call_9", "content": "x"},
    )
    assert named.messages[1].parts == (ToolResult(id="call_9", text="x"),)


def signed_calls(*, stream: bool) -> list[dict[str, Any]]:
    """The calls that a client is told of: Gemini signed the first."""
    first, second = ToolCall(id="a", name="w", signature="c2ln"), ToolCall(id="b", name="t", arguments="{}", index=1)
    if not stream:
        completion = Completion(parts=(first, second), finish_reason="tool_calls", usage=Usage(), model="m")
        told = json.loads(Ollama().render_completion(completion, RECORD, chat()))
    else:
        streamed = OllamaStream(chat(), said_in_chat)
        for part in (first, ToolCall(arguments="{}"), second):
            assert streamed.chunk(Chunk(parts=(part,))) == b""
        told = json.loads(streamed.end(RECORD).splitlines()[0])
    return list(told["message"]["tool_calls"])


@pytest.mark.parametrize("stream", [False, True])
def test_geminis_signature_of_a_call_comes_back_with_its_id(stream: bool) -> None:
    calls = signed_calls(stream=stream)
    asked = chat(
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "tool_name": "w", "content": "1"},
        {"role": "tool", "tool_name": "t", "content": "2"},
    )
    parts = asked.messages[1].parts
    assert [(part.id, part.signature) for part in parts if isinstance(part, ToolCall)] == [("a", "c2ln"), ("b", "")]
    assert asked.messages[2].parts == (ToolResult(id="a", text="1"), ToolResult(id="b", text="2"))


def test_a_client_that_keeps_no_ids_sends_gemini_a_mark_for_the_signature() -> None:
    calls = [{"function": call["function"]} for call in signed_calls(stream=False)]
    asked = chat({"role": "user", "content": "weather?"}, {"role": "assistant", "tool_calls": calls})
    model = Model(id="m", provider="p", name="gemini-3-pro")
    sent = json.loads(GeminiProviderDialect().render_request(asked, model).body)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in sent] == ["skip_thought_signature_validator", None]


@pytest.mark.parametrize(
    ("data", "url"),
    [
        (PNG, f"data:image/png;base64,{PNG}"),
        ("/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("UklGRh4A", "data:image/webp;base64,UklGRh4A"),
        ("data:image/gif;base64,R0lGOD", "data:image/gif;base64,R0lGOD"),
    ],
)
def test_pictures_get_the_type_that_their_first_bytes_tell(data: str, url: str) -> None:
    message = {"role": "user", "content": "see", "images": [data]}
    assert chat(message).messages[0].parts == (Text(text="see"), Image(url=url))
    generated = OllamaGenerate().parse_request({"model": "m", "prompt": "see", "images": [data]}, "id")
    assert generated.messages[0].parts == (Text(text="see"), Image(url=url))


def test_what_asks_nothing_loads_or_unloads() -> None:
    for dialect, body in ((Ollama(), {"messages": []}), (OllamaGenerate(), {"prompt": ""}), (OllamaGenerate(), {})):
        with pytest.raises(NothingAskedError) as found:
            dialect.parse_request({"model": "m:latest", **body}, "id")
        assert (found.value.model, found.value.unload) == ("m", False)
        with pytest.raises(NothingAskedError) as found:
            dialect.parse_request({"model": "m", "keep_alive": 0, **body}, "id")
        assert found.value.unload


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"options": {"num_predict": "many"}}, "options.num_predict"),
        ({"format": 7}, "format"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as found:
        chat(**{"messages": [{"role": "user", "content": "x"}], **body})
    assert words in str(found.value)


def test_embeddings_are_asked_for_by_name() -> None:
    asked = OllamaEmbeddings().parse_request({"model": "e:latest", "input": ["a", "b"], "truncate": True}, "id")
    assert asked.raw == {"model": "e", "input": ["a", "b"], "encoding_format": "float"}
    older = OllamaEmbeddings().parse_request({"model": "e", "prompt": "a"}, "id")
    assert older.raw["input"] == "a"
    for body, words in (({"model": "auto", "input": "a"}, "not routed"), ({"model": "e"}, "got nothing")):
        with pytest.raises(RequestError, match=words):
            OllamaEmbeddings().parse_request(body, "id")


def test_log_probabilities_are_told_with_their_bytes() -> None:
    asked = chat(logprobs=True, top_logprobs=2)
    assert (asked.params.logprobs, asked.params.top_logprobs) == (True, 2)
    line = OllamaStream(chat(), said_in_chat).chunk(
        Chunk(
            parts=(Text(text="é"),),
            logprobs=(TokenLogprob(token="é", logprob=-0.5, top=(Alternative(token="e", logprob=-1.0),)),),
            model="m",
        )
    )
    assert json.loads(line)["logprobs"] == [
        {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [{"token": "e", "logprob": -1.0}]}
    ]


def test_thoughts_and_refusals_are_told() -> None:
    stream = OllamaStream(chat(), said_in_chat)
    assert json.loads(stream.chunk(Chunk(parts=(Thinking(text="hm"),))))["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
    }
    assert json.loads(stream.chunk(Chunk(parts=(Refusal(text="no"),))))["message"]["content"] == "no"
    generated = OllamaStream(chat(), said_in_text).chunk(Chunk(parts=(Thinking(text="hm"), Text(text="x"))))
    assert (json.loads(generated)["response"], json.loads(generated)["thinking"]) == ("x", "hm")
    assert stream.chunk(Chunk(finish_reason="length")) == b""


def test_the_line_that_keeps_a_connection_says_nothing() -> None:
    silent = json.loads(SILENT)
    assert (silent["message"]["content"], silent["response"], silent["done"]) == ("", "", False)
    assert SILENT.endswith(b"\n")
