"""How a stream breaks off: in the words of the caller's vendor, after one opening, with its usage told at most once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from semroute.dialects import sse
from semroute.dialects.sse import Event, EventParser
from semroute.errors import (
    ContextLengthError,
    NoModelError,
    ProviderAuthError,
    ProviderError,
    ProviderServerError,
    ProviderTimeoutError,
    RateLimitedError,
    SemrouteError,
    StreamBrokenError,
)
from semroute.messages import Chunk, Text, Usage
from tests.dialects.test_going_on import DIALECTS, REQUEST, passed
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

SAY = "the vendor says no"
# The event by which each vendor breaks a stream off: its name, and its data.
TOLD: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "openai": {
        kind: ("", {"error": {"message": SAY, "type": type_, "param": None, "code": code}})
        for kind, type_, code in (
            ("overloaded", "service_unavailable_error", "server_is_overloaded"),
            ("rate_limit", "rate_limit_error", "rate_limit_exceeded"),
            ("server", "server_error", None),
        )
    },
    "responses": {
        "overloaded": (
            "error",
            {
                "type": "error",
                "sequence_number": 3,
                "error": {
                    "type": "service_unavailable_error",
                    "code": "server_is_overloaded",
                    "message": SAY,
                    "param": None,
                },
            },
        ),
        "rate_limit": (
            "error",
            {"type": "error", "sequence_number": 3, "code": "rate_limit_exceeded", "message": SAY, "param": None},
        ),
        "server": (
            "response.failed",
            {
                "type": "response.failed",
                "sequence_number": 3,
                "response": {
                    "id": "r",
                    "status": "failed",
                    "output": [],
                    "error": {"code": "server_error", "message": SAY},
                },
            },
        ),
    },
    "anthropic": {
        kind: ("error", {"type": "error", "error": {"type": type_, "message": SAY}})
        for kind, type_ in (
            ("overloaded", "overloaded_error"),
            ("rate_limit", "rate_limit_error"),
            ("server", "api_error"),
        )
    },
    "gemini": {
        kind: ("", {"error": {"code": code, "message": SAY, "status": status}})
        for kind, code, status in (
            ("overloaded", 503, "UNAVAILABLE"),
            ("rate_limit", 429, "RESOURCE_EXHAUSTED"),
            ("server", 500, "INTERNAL"),
        )
    },
    "bedrock": {
        "overloaded": ("serviceUnavailableException", {"message": SAY}),
        "rate_limit": ("throttlingException", {"message": SAY}),
        "server": ("internalServerException", {"message": SAY}),
    },
}
KEY_REFUSED = b'{"type":"error","error":{"type":"authentication_error","message":"x"}}'
WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "openai": {
        "overloaded": {"type": "service_unavailable_error", "code": "server_is_overloaded"},
        "rate_limit": {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
        "server": {"type": "server_error"},
    },
    "responses": {
        "overloaded": {"type": "service_unavailable_error", "code": "server_is_overloaded"},
        "rate_limit": {"type": "rate_limit_error", "code": "rate_limit_exceeded"},
        "server": {"type": "server_error", "code": "server_error"},
    },
    "anthropic": {
        "overloaded": {"type": "overloaded_error"},
        "rate_limit": {"type": "rate_limit_error"},
        "server": {"type": "api_error"},
    },
    "gemini": {
        "overloaded": {"code": 503, "status": "UNAVAILABLE"},
        "rate_limit": {"code": 429, "status": "RESOURCE_EXHAUSTED"},
        "server": {"code": 500, "status": "INTERNAL"},
    },
}


def broken(provider: str, kind: str) -> ProviderError:
    """The error that a vendor's event means."""
    name, data = TOLD[provider][kind]
    with pytest.raises(ProviderError) as caught:
        PROVIDERS[provider].stream_parser().event(Event(data=msgspec.json.encode(data), name=name))
    return caught.value


def ended(client: str, error: SemrouteError, chunks: list[Chunk], status: int = 502) -> list[dict[str, Any]]:
    """The events of a stream that breaks off after these chunks."""
    renderer = CLIENTS[client].stream(REQUEST, DECISION)
    wire = b"".join(map(renderer.chunk, chunks)) + renderer.error(error, status)
    return [json.loads(event.data) for event in EventParser().feed(wire)]


@pytest.mark.parametrize("kind", ["overloaded", "rate_limit", "server"])
@pytest.mark.parametrize("provider", TOLD)
@pytest.mark.parametrize("client", DIALECTS)
def test_an_error_inside_a_stream_has_the_words_of_the_callers_vendor(client: str, provider: str, kind: str) -> None:
    said = [Chunk(parts=(Text(text="Hello"),), model="m")]
    *_, last = ended(client, broken(provider, kind), said)
    error = last["error"]
    assert {name: error[name] for name in WORDS[client][kind]} == WORDS[client][kind]
    assert SAY in error["message"]
    if client == "responses":
        assert (last["code"], last["message"]) == (error["code"], error["message"])


@pytest.mark.parametrize("client", DIALECTS)
def test_what_a_vendor_said_beside_its_message_reaches_callers_of_its_dialect(client: str) -> None:
    name, data = TOLD[client]["overloaded"]
    told = {**data, "error": {**data["error"], "details": [{"wait": 3}]}}
    error = ProviderServerError("got an error", status=500, body=msgspec.json.encode(told))
    got = ended(client, error, [])[-1]["error"]
    kept = {"responses": data["error"]}.get(client, told["error"])
    assert got == kept, name


LONG = {
    "openai": {"error": {"message": SAY, "type": "exceed_context_size_error", "code": 400}},
    "anthropic": {"type": "error", "error": {"type": "invalid_request_error", "message": SAY}},
    "responses": {"error": {"message": SAY, "type": "invalid_request_error", "code": "invalid_request_error"}},
}
"""How servers that speak a vendor's dialect break a stream off where the prompt is too long, in words of their own."""


@pytest.mark.parametrize(
    ("client", "sign"),
    [
        ("openai", '"code": "context_length_exceeded"'),
        ("responses", '"code": "context_length_exceeded"'),
        ("anthropic", "prompt is too long: "),
    ],
)
def test_what_a_server_words_otherwise_than_the_vendor_has_the_vendors_words(client: str, sign: str) -> None:
    error = ContextLengthError(
        f"got an error inside the stream: {SAY}", status=400, body=json.dumps(LONG[client]).encode()
    )
    assert sign in json.dumps(ended(client, error, [Chunk(parts=(Text(text="Hi"),))], 400)[-1])


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (StreamBrokenError("cut"), 502, "server"),
        (ProviderServerError("cut", status=500), 502, "server"),
        (ProviderServerError("cut", status=529), 502, "overloaded"),
        (RateLimitedError("cut", status=429, body=b"<html>"), 429, "rate_limit"),
        (NoModelError({"m": "away"}, retry_after_s=1), 503, "overloaded"),
        # The service's own key is refused, or has expired: the caller's is not.
        (ProviderAuthError("cut", body=KEY_REFUSED), 502, "server"),
    ],
)
def test_what_no_vendor_said_has_its_words_too(client: str, error: SemrouteError, status: int, kind: str) -> None:
    told = ended(client, error, [], status)[-1]["error"]
    words = {name: word for name, word in WORDS[client][kind].items() if name != "code" or client != "openai"}
    assert {name: told[name] for name in words} == words


def test_a_deadline_is_told_where_a_vendor_has_a_word_for_it() -> None:
    late = ProviderTimeoutError("late")
    assert ended("anthropic", late, [])[-1]["error"]["type"] == "timeout_error"
    told = ended("gemini", late, [])[-1]["error"]
    assert (told["code"], told["status"]) == (504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("provider", DIALECTS)
def test_responses_say_that_they_failed_after_one_opening(provider: str) -> None:
    for chunks in ([], passed(provider)[:4]):
        events = ended("responses", broken("anthropic", "overloaded"), chunks)
        kinds = [event["type"] for event in events]
        assert kinds[-2:] == ["response.failed", "error"]
        assert kinds.count("response.created") == 1
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        created, failed = events[0]["response"], events[-2]["response"]
        assert (failed["id"], failed["status"]) == (created["id"], "failed")
        assert failed["error"] == {"code": "server_is_overloaded", "message": events[-1]["message"]}


def test_events_are_counted_on_where_a_provider_left_numbers_out() -> None:
    chunks = [
        replace(chunk, raw=chunk.raw.replace(b'"sequence_number":', b'"sequence_number":4'))
        for chunk in passed("responses")[:4]
    ]
    numbers = [event["sequence_number"] for event in ended("responses", StreamBrokenError("cut"), chunks)]
    assert numbers == [40, 41, 42, 43, 44, 45]


@pytest.mark.parametrize("provider", DIALECTS)
def test_messages_are_opened_once(provider: str) -> None:
    chunks = [*passed(provider)[:4], Chunk(usage=Usage(input_tokens=3, output_tokens=2))]
    kinds = [event["type"] for event in ended("anthropic", StreamBrokenError("cut"), chunks)]
    assert kinds.count("message_start") == 1
    assert (kinds[-1], "message_stop" in kinds) == ("error", False)


def test_gemini_says_an_error_twice_for_libraries_that_look_in_two_places() -> None:
    wire = CLIENTS["gemini"].stream(REQUEST, DECISION).error(broken("openai", "overloaded"), 502)
    event, bare = wire.removeprefix(sse.OPENING).split(sse.END)
    assert event == bare
    assert bare.startswith(b'{"error":{')  # google-genai looks for this beginning


def test_only_gemini_has_no_comments_and_nothing_after_its_end() -> None:
    for dialect in ("openai", "responses", "anthropic"):
        assert CLIENTS[dialect].stream(REQUEST, DECISION).keep_alive == b": keep-alive\n\n"
    renderer = CLIENTS["gemini"].stream(REQUEST, DECISION)
    assert renderer.keep_alive == b"data: "
    renderer.chunk(Chunk(parts=(Text(text="Hello"),)))
    assert renderer.keep_alive == b"data: "
    renderer.chunk(Chunk(finish_reason="stop"))
    assert renderer.keep_alive == b""


# --- running totals ---------------------------------------------------------------------------------------------------


PAIRS = [
    (provider, client)
    for provider in DIALECTS
    for client in DIALECTS
    # The other vendors' own events are passed on as they are: these vendors tell running totals themselves.
    if provider != client or client == "openai"
]


def usages(client: str, wire: bytes) -> list[int]:
    """The tokens of output that each event with usage tells."""
    events = [json.loads(event.data) for event in EventParser().feed(wire) if event.data != b"[DONE]"]
    match client:
        case "openai":
            told = [event["usage"] for event in events if event.get("usage")]
            return [usage["completion_tokens"] for usage in told]
        case "responses":
            answers = [event["response"] for event in events if "response" in event]
            return [answer["usage"]["output_tokens"] for answer in answers if answer.get("usage")]
        case "anthropic":
            return [event["usage"]["output_tokens"] for event in events if event["type"] == "message_delta"]
        case _:
            return [event["usageMetadata"]["candidatesTokenCount"] for event in events if "usageMetadata" in event]


def running(provider: str) -> list[Chunk]:
    """An answer whose pieces all tell the usage so far, as vLLM, SGLang and Gemini do."""
    chunks = []
    for number, chunk in enumerate(passed(provider)):
        raw, usage = chunk.raw, Usage(input_tokens=9, output_tokens=min(number + 1, 6))
        if provider == "openai":
            event = msgspec.json.decode(raw)
            raw = msgspec.json.encode(event | {"usage": {"prompt_tokens": 9, "completion_tokens": usage.output_tokens}})
        chunks.append(replace(chunk, raw=raw, usage=usage))
    return chunks


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(("provider", "client"), PAIRS)
def test_running_totals_are_told_once_and_as_the_last(provider: str, client: str, asked: bool) -> None:
    renderer = CLIENTS[client].stream(replace(REQUEST, stream_usage=asked), DECISION)
    wire = b"".join(map(renderer.chunk, running(provider))) + renderer.end(RECORD)
    assert usages(client, wire) == ([6] if asked or client != "openai" else [])


@pytest.mark.parametrize("totals", [False, True])
def test_running_totals_are_not_told_again_before_an_error(totals: bool) -> None:
    raw = {"stream_options": {"include_usage": True, "continuous_usage_stats": totals}}
    renderer = CLIENTS["openai"].stream(replace(REQUEST, raw=raw), DECISION)
    chunks = running("openai")[:5]
    wire = b"".join(map(renderer.chunk, chunks)) + renderer.error(StreamBrokenError("cut"), 502)
    assert usages("openai", wire) == ([1, 2, 3, 4, 5] if totals else [5])
