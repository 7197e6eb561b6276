import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.config.schema.models import Model
from semroute.dialects.gemini.content import call_id
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.sse import Event
from semroute.errors import (
    BadAnswerError,
    MalformedChunkError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    RateLimitedError,
)
from semroute.messages import (
    ChatRequest,
    Chunk,
    Image,
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
    ToolResult,
    Usage,
)

MODEL = Model(id="small", provider="openai", name="gpt-x")
DIALECT = OpenAIProviderDialect()
KEYS = st.sampled_from(["id", "choices", "message", "delta", "content", "error", "usage", "tool_calls", "index"])
LIKELY_JSON = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)


def rendered(request: ChatRequest) -> dict[str, Any]:
    wire = DIALECT.render_request(request, MODEL)
    assert wire.path == "/chat/completions"
    body: dict[str, Any] = json.loads(wire.body)
    return body


def raw_request(raw: dict[str, Any], *, stream: bool = False) -> ChatRequest:
    return ChatRequest(id="1", messages=(), dialect="openai", raw=raw, stream=stream)


def turn(role: Role, *parts: Part) -> Message:
    return Message(role=role, parts=parts)


def answer(message: dict[str, Any] | None, **fields: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": fields.pop("finish_reason", "stop")}
    return json.dumps({"id": "chatcmpl-1", "model": "gpt-x-2026", "choices": [choice], **fields}).encode()


def piece(delta: dict[str, Any] | None, finish_reason: str | None = None, **fields: Any) -> Event:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return Event(data=json.dumps({"id": "chatcmpl-1", "model": "gpt-x", "choices": choices, **fields}).encode())


def read(event: Event) -> Chunk:
    chunk = DIALECT.stream_parser().event(event)
    assert chunk is not None
    return chunk


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_bearer_token_authenticates() -> None:
    assert DIALECT.headers("key") == {"authorization": "Bearer key"}
    assert DIALECT.headers(None) == {}


def test_the_callers_body_passes_with_fields_unknown_here() -> None:
    raw = {
        "model": "auto",
        "messages": [{"role": "developer", "content": "x"}],
        "seed": 7,
        "new_field": {"a": [1, None]},
    }
    assert rendered(raw_request(raw)) == {**raw, "model": "gpt-x", "stream": False}
    assert raw["model"] == "auto"


def test_our_fallback_list_is_left_out_and_openais_metadata_stays() -> None:
    body = rendered(raw_request({"models": ["a", "b"], "metadata": {"team": "x"}}))
    assert "models" not in body
    assert body["metadata"] == {"team": "x"}
    assert "metadata" not in rendered(raw_request({}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False, "include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
    ],
)
def test_a_stream_always_asks_for_usage(options: Any, expected: dict[str, Any]) -> None:
    body = rendered(raw_request({"stream": True, "stream_options": options}, stream=True))
    assert (body["stream"], body["stream_options"]) == (True, expected)


def test_a_call_that_is_not_streamed_has_no_stream_options() -> None:
    body = rendered(raw_request({"stream": True, "stream_options": {"include_usage": True}}))
    assert body == {"model": "gpt-x", "stream": False}


def test_another_dialects_request_is_built_from_its_parts() -> None:
    request = ChatRequest(
        id="1",
        dialect="anthropic",
        raw={"max_tokens": 9},
        messages=(
            turn("system", Text(text="Be brief.")),
            turn("user", Text(text="What is this?"), Image(url="data:image/png;base64,AA")),
            turn(
                "assistant",
                Thinking(text="hm"),
                Text(text="Let me look."),
                ToolCall(id="c1", name="look", arguments='{"a":1}'),
            ),
            turn("tool", ToolResult(id="c1", text="a cat")),
            turn("user", ToolResult(id="c2", text="late"), Text(text="Thanks"), Opaque(kind="cache")),
            turn("assistant", ToolCall(id="c3", name="end")),
        ),
        tools=(Tool(name="look", description="Looks", parameters={"type": "object"}),),
        params=Params(max_tokens=5, temperature=0.0, top_p=0.5, stop=("END",), json_output=True),
    )
    assert rendered(request) == {
        "model": "gpt-x",
        "stream": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                ],
            },
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
            {"role": "tool", "tool_call_id": "c2", "content": "late"},
            {"role": "user", "content": "Thanks"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c3", "type": "function", "function": {"name": "end", "arguments": "{}"}}],
            },
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
    }


def test_parameters_that_were_not_given_are_not_sent() -> None:
    request = ChatRequest(
        id="1", messages=(turn("user", Image(url="https://x/y.png"), Opaque(kind="audio")),), stream=True
    )
    assert rendered(request) == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


# --- whole answers ----------------------------------------------------------------------------------------------------


def test_a_completion_is_read_and_kept() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    body = answer({"role": "assistant", "content": "Hi"}, usage=usage, service_tier="default")
    completion = DIALECT.parse_completion(body)
    assert completion.text == "Hi"
    assert completion.usage == Usage(input_tokens=9, output_tokens=5, cached_tokens=4)
    assert (completion.model, completion.id, completion.finish_reason) == ("gpt-x-2026", "chatcmpl-1", "stop")
    assert (completion.dialect, completion.raw) == ("openai", body)


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": None}, ()),
        ({"content": ""}, ()),
        (None, ()),
        ({"content": None, "refusal": "No."}, (Refusal(text="No."),)),
        ({"content": "4", "reasoning_content": "2+2"}, (Thinking(text="2+2"), Text(text="4"))),
        ({"content": "4", "reasoning": "2+2"}, (Thinking(text="2+2"), Text(text="4"))),
        ({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "4"}]}, (Text(text="4"),)),
        ({"audio": {"id": "a", "data": "AA"}}, (Opaque(kind="audio"),)),
        (
            {
                "tool_calls": [
                    {"id": "a", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "function": {"name": "g"}},
                ]
            },
            (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="g", arguments="{}", index=1)),
        ),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            (ToolCall(id=call_id("f", "chatcmpl-1", 0), name="f", arguments='{"a":1}'),),
        ),
        ({"tool_calls": [{"id": "x", "function": None}]}, (ToolCall(id="x", arguments="{}"),)),
        ({"function_call": {"name": "f", "arguments": "{}"}}, (ToolCall(name="f", arguments="{}"),)),
    ],
)
def test_whatever_a_message_holds_is_tolerated(message: dict[str, Any] | None, parts: tuple[Part, ...]) -> None:
    assert DIALECT.parse_completion(answer(message)).parts == parts


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "stop"),  # there are none
        ("function_call", "stop"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons_are_mapped_and_unknown_ones_mean_stop(reason: str | None, expected: str) -> None:
    assert DIALECT.parse_completion(answer({"content": "x"}, finish_reason=reason)).finish_reason == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 3, "completion_tokens": None}, Usage(input_tokens=3)),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None},
            Usage(input_tokens=3, output_tokens=1),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_cache_hit_tokens": 2},
            Usage(input_tokens=3, output_tokens=1, cached_tokens=2),
        ),
    ],
)
def test_usage_may_be_missing_or_partial(usage: dict[str, Any] | None, expected: Usage | None) -> None:
    assert DIALECT.parse_completion(answer({"content": "x"}, usage=usage)).usage == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected a completion, got nothing"),
        (b" <!DOCTYPE html>\n<title>Login</title>", "got an HTML page"),
        (b'{"choices": [', "no complete JSON"),
        (b"[]", r"got \[\] \(JSON of another shape"),
        (b'{"choices": [{"message": {"content": 1}}]}', "content"),
        (b'{"error": {"message": "Out of GPUs", "code": 503}}', "got an error with status 200: Out of GPUs"),
        (b'{"object": "error", "message": "Out of GPUs"}', "got an error with status 200: Out of GPUs"),
        (b'{"choices": []}', "without choices"),
        (b"{}", "without choices"),
        (b"\xff" * 500, "got \ufffd+"),
        (b'{"id": "\xff", "choices": []}', "not UTF-8 at byte 8"),
        (answer({"content": ""}, finish_reason="error"), "finish_reason 'error'"),
    ],
)
def test_what_is_no_completion_is_refused_and_shown(body: bytes, message: str) -> None:
    with pytest.raises(BadAnswerError, match=message) as caught:
        DIALECT.parse_completion(body)
    assert len(str(caught.value)) < 300


@given(st.binary() | LIKELY_JSON.map(msgspec.json.encode))
def test_no_answer_raises_anything_but_a_provider_error(body: bytes) -> None:
    for attempt in (
        lambda: DIALECT.parse_completion(body),
        lambda: DIALECT.stream_parser().event(Event(data=body)),
    ):
        try:
            attempt()
        except ProviderError as error:
            assert str(error)
    assert DIALECT.parse_error(500, {}, body).status == 500


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_is_read_piece_by_piece() -> None:
    parser = DIALECT.stream_parser()
    events = [
        piece({"role": "assistant", "content": ""}),
        piece({"content": "Hi"}, usage=None),
        piece({}, "length"),
        piece(None, usage={"prompt_tokens": 2, "completion_tokens": 1}),
        Event(data=b"[DONE]"),
        Event(data=b""),
    ]
    finished, chunks = [], []
    for event in events:
        chunks.append(parser.event(event))
        finished.append(parser.finished)
    assert finished == [False, False, True, True, True, True]
    raws = [event.data for event in events]
    base: dict[str, Any] = {"model": "gpt-x", "id": "chatcmpl-1", "dialect": "openai"}
    assert chunks == [
        Chunk(**base, raw=raws[0]),
        Chunk(**base, raw=raws[1], parts=(Text(text="Hi"),)),
        Chunk(**base, raw=raws[2], finish_reason="length"),
        Chunk(**base, raw=raws[3], usage=Usage(input_tokens=2, output_tokens=1)),
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("delta", "parts"),
    [
        ({"reasoning_content": "hm"}, (Thinking(text="hm"),)),
        ({"reasoning": "hm", "content": None}, (Thinking(text="hm"),)),
        ({"refusal": "No"}, (Refusal(text="No"),)),
        (
            {"tool_calls": [{"index": 1, "id": "a", "function": {"name": "f", "arguments": ""}}]},
            (ToolCall(id="a", name="f", index=1),),
        ),
        (
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]},
            (ToolCall(id=call_id("", "chatcmpl-1", 0), arguments='{"a'),),
        ),
        ({"function_call": {"arguments": "{"}}, (ToolCall(id=call_id("", "chatcmpl-1", 0), arguments="{"),)),
    ],
)
def test_a_delta_may_hold_more_than_text(delta: dict[str, Any], parts: tuple[Part, ...]) -> None:
    assert read(piece(delta)).parts == parts


@pytest.mark.parametrize(
    ("pieces", "indexes"),
    [
        ([(0, "a", "f", "{}"), (0, "b", "f", "{"), (0, "", "", "}"), (0, "c", "g", "{}")], [0, 1, 1, 2]),
        ([(0, "a", "f", "{"), (0, "a", "f", ""), (0, "z", "", "}"), (1, "b", "f", "{}")], [0, 0, 0, 1]),
        ([(0, "a", "f", "{}"), (0, "b", "f", "{}"), (1, "c", "f", "{}"), (1, "", "", " ")], [0, 1, 2, 2]),
        ([(None, "a", "f", "{}"), (None, "b", "f", "{}")], [0, 1]),
    ],
)
def test_calls_that_share_an_index_are_told_apart_by_their_ids(pieces: list[Any], indexes: list[int]) -> None:
    parser = DIALECT.stream_parser()
    got = []
    for index, id_, name, arguments in pieces:
        call = {"index": index, "id": id_, "function": {"name": name, "arguments": arguments}}
        chunk = parser.event(piece({"tool_calls": [call]}))
        got += [part.index for part in chunk.parts if isinstance(part, ToolCall)] if chunk else []
    assert got == indexes


def test_many_calls_in_one_event_take_time_in_proportion_to_their_number() -> None:
    def cpu_s(count: int) -> float:
        calls = [{"index": 0, "id": f"c{number}", "function": {"name": "f"}} for number in range(count)]
        event, parser = piece({"tool_calls": calls}), DIALECT.stream_parser()
        begun = time.process_time()
        chunk = parser.event(event)
        assert chunk is not None and len(chunk.parts) == count
        return time.process_time() - begun

    few = min(cpu_s(500) for _ in range(5))
    assert min(cpu_s(5000) for _ in range(3)) < 30 * few


def test_a_choice_without_a_delta_is_tolerated() -> None:
    assert read(Event(data=b'{"choices": [{"finish_reason": null}]}')).parts == ()


def test_of_several_choices_the_first_is_read_and_all_must_end() -> None:
    def event(index: int, text: str, reason: str | None = None) -> Event:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
        return Event(data=json.dumps({"choices": [choice]}).encode())

    parser = DIALECT.stream_parser()
    chunks = [parser.event(event(1, "b")), parser.event(event(0, "a", "stop"))]
    assert [chunk.parts for chunk in chunks if chunk] == [(), (Text(text="a"),)]
    assert not parser.finished
    parser.event(event(1, "", "stop"))
    assert parser.finished


@pytest.mark.parametrize(
    ("data", "name", "error_type", "message"),
    [
        (b'{"choices": [', "", MalformedChunkError, "no complete JSON"),
        (b"upstream error", "", MalformedChunkError, "got upstream error"),
        (b'{"error": {"message": "m", "code": 502}}', "", ProviderServerError, "inside the stream: m"),
        (b'{"error": {"message": "m", "code": "rate_limit_exceeded"}}', "", RateLimitedError, "m"),
        (b'{"error": {"message": "m", "type": "insufficient_quota", "code": null}}', "", ProviderAuthError, "m"),
        (b'{"error": {"message": "m", "type": "server_error"}}', "", ProviderServerError, "m"),
        (b'{"error": {"message": "m", "code": "400"}}', "", ProviderRequestError, "m"),
        (b'{"error": {"message": "m"}}', "", BadAnswerError, "m"),
        (b'{"error": "m"}', "", BadAnswerError, "m"),
        (b'{"object": "error", "message": "m", "code": 401}', "", ProviderAuthError, "m"),
        (b'{"oops": 1}', "error", BadAnswerError, "oops"),
        (b'{"choices": [{"delta": {}, "finish_reason": "error"}]}', "", BadAnswerError, "finish_reason"),
    ],
)
def test_an_error_inside_a_stream_is_raised(
    data: bytes, name: str, error_type: type[ProviderError], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        DIALECT.stream_parser().event(Event(data=data, name=name))
    assert type(caught.value) is error_type


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "error_type"),
    [
        (429, "{}", RateLimitedError),
        *((status, "{}", ProviderServerError) for status in (408, 409, 424, 425, 498, 499, 500, 502, 503, 524, 529)),
        *((status, "{}", ProviderAuthError) for status in (401, 402, 403)),
        (404, '{"error": {"message": "x", "code": "model_not_found"}}', ProviderModelError),
        (404, '{"error": {"message": "model \\"x\\" not found, try pulling it first"}}', ProviderModelError),
        (
            400,
            '{"error": {"message": "The model `x` does not exist or you do not have access to it."}}',
            ProviderModelError,
        ),
        (400, '{"object": "error", "message": "Invalid model: x", "code": 1500}', ProviderModelError),
        (404, "<html>nginx</html>", ProviderModelError),
        (404, '{"detail": "No such conversation"}', ProviderRequestError),
        *((status, "{}", ProviderRequestError) for status in (400, 404, 413, 422, 451)),
        *((status, "", BadAnswerError) for status in (204, 301, 304, 600)),
    ],
)
def test_a_status_means_an_error(status: int, body: str, error_type: type[ProviderError]) -> None:
    error = DIALECT.parse_error(status, {}, body.encode())
    assert (type(error), error.status, error.body) == (error_type, status, body.encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "Too long"}}', "status 400: Too long"),
        (b'{"error": "Too long"}', "status 400: Too long"),
        (b'{"message": "Too long"}', "status 400: Too long"),
        (b'{"detail": "Too long"}', "status 400: Too long"),
        (b'{"detail": [{"msg": "x"}]}', 'status 400: {"detail": [{"msg": "x"}]}'),
        (b'"Too long"', "status 400: Too long"),
        (b"[1]", "status 400: [1]"),
        (b"<p>\n Bad </p>", "status 400: text/html, an HTML page"),
        (b"", "status 400: text/html, no body"),
    ],
)
def test_an_errors_message_is_what_the_provider_says(body: bytes, message: str) -> None:
    assert str(DIALECT.parse_error(400, {"content-type": "text/html"}, body)) == message


@pytest.mark.parametrize(
    "place",
    [
        "http://vllm-7.models.svc:8000/v1?key=1",
        "https://proxy.example.com",
        "10.12.0.7:8080",
        "10.12.0.7",
        "[fd00::12:7]:8080",
        "fd00:0:0:1::7",
        "gateway:8443",
        "vllm-7.models.svc.cluster.local",
        "proxy.example.com",
    ],
)
def test_no_caller_learns_where_a_provider_is_from_a_text_of_its_proxy(place: str) -> None:
    text = f"upstream connect error: {place} reset the connection"
    error = DIALECT.parse_error(502, {"content-type": "text/plain"}, text.encode())
    assert str(error) == "status 502: text/plain, upstream connect error: … reset the connection"
    page = f"<html><title>502</title><p>nginx at {place}</html>"
    error = DIALECT.parse_error(502, {"content-type": "text/html"}, page.encode())
    assert str(error) == "status 502: text/html, an HTML page"
    with pytest.raises(BadAnswerError, match=r"^expected a completion, got an HTML page$"):
        DIALECT.parse_completion(page.encode())
    with pytest.raises(BadAnswerError) as told:
        DIALECT.parse_completion(text.encode())
    assert place not in str(told.value)


def test_what_is_no_address_stays_in_a_text() -> None:
    text = "model llama-3.1-8b.gguf: error 0:1 at 12:30:05, see v1.2.3"
    assert text in str(DIALECT.parse_error(500, {"content-type": "text/plain"}, text.encode()))


def test_an_errors_message_is_short() -> None:
    body = json.dumps({"error": {"message": "x" * 5000}}).encode()
    assert len(str(DIALECT.parse_error(400, {}, body))) < 400


def test_a_redirect_says_where_to() -> None:
    error = DIALECT.parse_error(308, {"location": "https://x/v1"}, b"")
    assert str(error) == "status 308: a redirect, which is not followed"
    assert str(DIALECT.parse_error(304, {}, b"")) == "status 304: no content type, no body"
