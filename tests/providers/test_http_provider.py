import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.config.schema.routes import Default
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.openai.provider_stream import OpenAIStreamParser
from semroute.dialects.protocols import WireRequest
from semroute.dialects.registry import provider_dialect
from semroute.errors import (
    BadAnswerError,
    ContextLengthError,
    EmptyAnswerError,
    ErrorAnswerError,
    HtmlAnswerError,
    MalformedAnswerError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    ProviderTimeoutError,
    RateLimitedError,
    SlowCallerError,
    StreamBrokenError,
    UnsupportedError,
)
from semroute.messages import ChatRequest, Chunk, Message, Text, ToolCall, Usage
from semroute.providers import http_provider, stream_reading, trace_context
from semroute.providers.echo import EchoProvider
from semroute.providers.http_provider import HttpProvider
from semroute.providers.provider import open_providers
from semroute.providers.stream_reading import ChunkReader, StreamWatch
from semroute.providers.transport import MAX_ANSWER_BYTES, Transport
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import CACHED_TOKENS, PROMPT_TOKENS, TEXT, TOOL_ARGUMENTS, WORDS
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.server import VendorServer

KEY = "sk-secret-0123456789"
USAGE = Usage(input_tokens=PROMPT_TOKENS, output_tokens=len(WORDS), cached_tokens=CACHED_TOKENS)
PATIENT = Timeouts(connect_s=30, first_token_s=30, stall_s=30, total_s=30)
HASTY = Timeouts(connect_s=30, first_token_s=0.2, stall_s=0.2, total_s=0.2)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
async def provider(server: FaultServer) -> AsyncIterator[HttpProvider]:
    transport = Transport()
    yield HttpProvider(settings(server.url), OpenAIProviderDialect(), transport)
    await transport.aclose()


def settings(url: str) -> ProviderSettings:
    return ProviderSettings(id="p", dialect="openai", base_url=url, api_key=KEY, headers={"X-Team": "blue-team-secret"})


def model(scenario: str) -> Model:
    return Model(id="m", provider="p", name=scenario)


def request(*, stream: bool = False) -> ChatRequest:
    return ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="Hi"),)),), stream=stream)


async def collect(provider: HttpProvider, scenario: str, timeouts: Timeouts = PATIENT) -> list[Chunk]:
    return [chunk async for chunk in provider.stream(request(stream=True), model(scenario), timeouts)]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(part.text for chunk in chunks for part in chunk.parts if isinstance(part, Text))


async def gone(server: FaultServer) -> bool:
    """Whether the client of the last request closed its connection, within a second."""
    return await asyncio.to_thread(server.requests[-1].disconnected.wait, 20)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["ok", "gzip", "marked"])
async def test_a_whole_answer_arrives(provider: HttpProvider, scenario: str) -> None:
    completion = await provider.complete(request(), model(scenario), PATIENT)
    assert (completion.text, completion.usage, completion.finish_reason) == (TEXT, USAGE, "stop")


@pytest.mark.parametrize("scenario", ["ok", "whole-answer"])
@pytest.mark.parametrize("long_bytes", [1, 100_000])
async def test_long_pieces_of_a_stream_are_read_in_a_thread(
    provider: HttpProvider, scenario: str, long_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: set[bool] = set()

    def noted(name: str, owner: Any) -> None:
        original = getattr(owner, name)

        def read(*arguments: Any) -> Any:
            here.add(threading.current_thread() is threading.main_thread())
            return original(*arguments)

        monkeypatch.setattr(owner, name, read)

    noted("parse_completion", OpenAIProviderDialect)
    noted("event", OpenAIStreamParser)
    monkeypatch.setattr(http_provider, "LONG_EVENT_BYTES", long_bytes)
    assert text_of(await collect(provider, scenario)) == TEXT
    assert here == {long_bytes > 1}


async def test_the_provider_is_sent_the_key_and_the_headers(provider: HttpProvider, server: FaultServer) -> None:
    await provider.complete(request(), model("ok"), PATIENT)
    seen = server.requests[-1]
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["x-team"] == "blue-team-secret"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept-encoding"] == "gzip, deflate"
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert seen.body == {"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "stream": False}


async def test_a_header_of_the_provider_replaces_ours(server: FaultServer) -> None:
    own = ProviderSettings(id="p", dialect="openai", base_url=server.url + "/", headers={"User-Agent": "acme"})
    pool = Transport()
    await HttpProvider(own, OpenAIProviderDialect(), pool).complete(request(), model("ok"), PATIENT)
    await pool.aclose()
    seen = server.requests[-1]
    assert (seen.headers["user-agent"], seen.path) == ("acme", "/v1/chat/completions")
    assert "authorization" not in seen.headers


async def test_what_a_caller_asks_for_in_beta_is_joined_to_the_providers_own() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    headers = {"anthropic-beta": "ours"}
    pool = Transport()
    with VendorServer(AnthropicVendor()) as vendor:
        own = ProviderSettings(id="p", dialect="anthropic", base_url=vendor.url, api_key=KEY, headers=headers)
        provider = HttpProvider(own, AnthropicProviderDialect(), pool)
        for said, sent in (("theirs", "ours,theirs"), (" ", "ours"), ("ß", "ours")):
            asked = ChatRequest(id="1", messages=(), dialect="anthropic", raw=body, headers={"anthropic-beta": said})
            await provider.complete(asked, model("claude"), PATIENT)
            assert vendor.last.headers["anthropic-beta"] == sent
    await pool.aclose()


@pytest.mark.parametrize("text", ["a=\xe9", "a=\u20ac", "a\r\nx-evil: 1", "a\x00"])
async def test_what_a_caller_says_and_http_cannot_carry_is_left_out(
    provider: HttpProvider, server: FaultServer, text: str
) -> None:
    reset = trace_context.trace.set({"traceparent": "fine", "tracestate": text})
    try:
        assert (await provider.complete(request(), model("ok"), PATIENT)).text == TEXT
    finally:
        trace_context.trace.reset(reset)
    seen = server.requests[-1].headers
    assert (seen["traceparent"], seen.get("tracestate"), seen.get("x-evil")) == ("fine", None, None)


async def test_a_body_that_is_no_json_is_the_callers_fault(provider: HttpProvider, server: FaultServer) -> None:
    nested: Any = 1
    for _ in range(2000):
        nested = [nested]
    came = len(server.requests)
    for value in (nested, "\ud800"):
        raw = {"messages": [{"role": "user", "content": "Hi"}], "extra": value}
        asked = ChatRequest(id="1", messages=(), dialect="openai", raw=raw)
        with pytest.raises(UnsupportedError, match="the request cannot be written as JSON"):
            await provider.complete(asked, model("ok"), PATIENT)
    assert len(server.requests) == came


@pytest.mark.parametrize(
    "scenario", ["ok", "gzip", "crlf-sse", "split-bytes", "no-done", "no-last-line-end", "no-last-line-end-1"]
)
async def test_a_stream_arrives(provider: HttpProvider, scenario: str) -> None:
    chunks = await collect(provider, scenario)
    assert text_of(chunks) == TEXT
    assert len([chunk for chunk in chunks if chunk.parts]) == len(WORDS)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert chunks[-1].usage == USAGE


async def test_a_tool_call_arrives_whole_and_in_pieces(provider: HttpProvider) -> None:
    completion = await provider.complete(request(), model("tools"), PATIENT)
    assert completion.parts == (ToolCall(id="call_1", name="weather", arguments=TOOL_ARGUMENTS),)
    chunks = await collect(provider, "tools")
    calls = [part for chunk in chunks for part in chunk.parts if isinstance(part, ToolCall)]
    assert (calls[0].id, calls[0].name) == ("call_1", "weather")
    assert "".join(call.arguments for call in calls) == TOOL_ARGUMENTS
    assert chunks[-1].finish_reason == "tool_calls"


async def test_connections_are_kept_for_the_next_call(provider: HttpProvider, server: FaultServer) -> None:
    await provider.complete(request(), model("ok"), PATIENT)
    await collect(provider, "ok")
    await provider.complete(request(), model("ok"), PATIENT)
    assert len({seen.connection for seen in server.requests[-3:]}) == 1


async def test_calls_at_once_do_not_wait_for_each_other(provider: HttpProvider) -> None:
    answers = await asyncio.gather(*(provider.complete(request(), model("ok"), PATIENT) for _ in range(50)))
    assert {answer.text for answer in answers} == {TEXT}


async def test_a_cookie_is_not_sent_back(provider: HttpProvider, server: FaultServer) -> None:
    await provider.complete(request(), model("cookie"), PATIENT)
    await provider.complete(request(), model("ok"), PATIENT)
    assert "cookie" not in server.requests[-1].headers


# --- failures ---------------------------------------------------------------------------------------------------------

ANY_CALL: list[tuple[str, type[ProviderError], str]] = [
    ("status-400", ProviderRequestError, "status 400: Failed with Bad Request"),
    ("status-401", ProviderAuthError, "status 401"),
    ("status-403", ProviderAuthError, "status 403"),
    ("status-404", ProviderModelError, "does not exist"),
    ("status-408", ProviderServerError, "status 408"),
    ("status-422", ProviderRequestError, "status 422"),
    ("status-429", RateLimitedError, "status 429: Failed with Too Many Requests"),
    ("status-500", ProviderServerError, "status 500"),
    ("status-503", ProviderServerError, "status 503"),
    ("cut-error-503", ProviderServerError, "status 503: no content type, no body"),
    ("html-200", HtmlAnswerError, "got an HTML page"),
    ("html-404", ProviderModelError, "status 404: text/html, an HTML page"),
    ("html-502", ProviderServerError, "status 502: text/html, an HTML page"),
    ("error-200", ErrorAnswerError, "error with status 200: Upstream is on fire"),
    ("empty-choices", EmptyAnswerError, "without choices"),
    ("empty-body", MalformedAnswerError, "got nothing"),
    ("malformed-json", MalformedAnswerError, "no complete JSON"),
    ("bad-gzip", MalformedAnswerError, "cannot be decompressed"),
    ("marked-error", ContextLengthError, "^status 400: prompt is too long"),
    ("redirect", BadAnswerError, "^status 307: a redirect, which is not followed$"),
    ("reset", ProviderConnectionError, "^the provider closed the connection before it answered$"),
    ("close", ProviderConnectionError, "closed the connection before it answered"),
    ("not-http", MalformedAnswerError, "does not answer in HTTP"),
    ("cut-body", ProviderConnectionError, "^the provider closed the connection inside its answer$"),
]


@pytest.mark.parametrize(("scenario", "error_type", "message"), ANY_CALL)
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_failure_is_the_error_it_means(
    provider: HttpProvider, stream: bool, scenario: str, error_type: type[ProviderError], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        if stream:
            await collect(provider, scenario)
        else:
            await provider.complete(request(), model(scenario), PATIENT)
    assert type(caught.value) is error_type


@pytest.mark.parametrize(
    ("scenario", "error_type", "message", "chunks"),
    [
        ("cut-after-0", StreamBrokenError, "the stream ended before the answer was complete", 0),
        ("cut-after-3", StreamBrokenError, "the stream ended before the answer was complete", 3),
        (
            "reset-after-3",
            StreamBrokenError,
            "was cut: the provider closed the connection inside its answer",
            3,
        ),
        ("half-event", StreamBrokenError, "the stream ended inside an event", 0),
        ("malformed-chunk", MalformedAnswerError, "expected a chunk of a completion", 1),
        ("error-event", RateLimitedError, "inside the stream: Slow down", 1),
    ],
)
async def test_a_broken_stream_gives_what_came_and_then_the_error(
    provider: HttpProvider, scenario: str, error_type: type[ProviderError], message: str, chunks: int
) -> None:
    got: list[Chunk] = []
    with pytest.raises(ProviderError, match=message) as caught:
        async for chunk in provider.stream(request(stream=True), model(scenario), PATIENT):
            got.append(chunk)
    assert type(caught.value) is error_type
    assert len(got) == chunks


@pytest.mark.parametrize("scenario", ["whole-answer", "whole-untyped", "marked", "marked-untyped"])
async def test_a_whole_answer_is_taken_where_a_stream_was_asked_for(provider: HttpProvider, scenario: str) -> None:
    [chunk] = await collect(provider, scenario)
    assert (text_of([chunk]), chunk.finish_reason, chunk.usage) == (TEXT, "stop", USAGE)
    assert (chunk.dialect, chunk.raw) == ("", b"")  # rendered anew: the server's body is no event


def test_a_list_of_geminis_pieces_is_taken_for_a_stream() -> None:
    """So Gemini answers who does not ask for events."""
    dialect = GeminiProviderDialect()
    reader = ChunkReader(dialect.stream_parser(), WireRequest(path="", body=b""))
    pieces = b""" [{"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]}]"""
    chunks = list(reader.whole(pieces, dialect))
    reader.close()
    assert (text_of(chunks), chunks[-1].finish_reason) == ("ab", "stop")
    with pytest.raises(BadAnswerError, match="expected a stream"):
        list(reader.whole(b"[1, ", dialect))


@pytest.mark.parametrize("scenario", ["bad-chunked-0", "bad-chunked-1"])
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_broken_chunked_encoding_is_an_error_at_once(provider: HttpProvider, scenario: str, stream: bool) -> None:
    """Waiting for more would end in a `ProviderTimeoutError`."""
    with pytest.raises((BadAnswerError, ProviderConnectionError)):
        if stream:
            await collect(provider, scenario)
        else:
            await provider.complete(request(), model(scenario), PATIENT)


@pytest.mark.parametrize("scenario", [f"reset-after-{len(WORDS) + 2}", "half-usage"])
async def test_a_cut_after_the_finish_reason_is_no_failure(provider: HttpProvider, scenario: str) -> None:
    chunks = await collect(provider, scenario)
    assert (text_of(chunks), chunks[-1].finish_reason) == (TEXT, "stop")


async def test_a_stall_after_the_finish_reason_is_no_failure(
    provider: HttpProvider, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_reading, "FINISHED_GRACE_S", 0.1)
    chunks = await collect(provider, f"stall-after-{len(WORDS) + 2}")
    assert (text_of(chunks), chunks[-1].finish_reason) == (TEXT, "stop")
    assert await gone(server)


async def test_an_answer_over_the_limit_is_refused(provider: HttpProvider, server: FaultServer) -> None:
    with pytest.raises(BadAnswerError, match=f"is over {MAX_ANSWER_BYTES} bytes"):
        await provider.complete(request(), model("huge-1000"), PATIENT)
    assert await gone(server)


@pytest.mark.parametrize("status", [400, 502])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_address_of_a_provider_is_not_passed_on(provider: HttpProvider, status: int, stream: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        if stream:
            await collect(provider, f"quotes-address-{status}", PATIENT)
        else:
            await provider.complete(request(), model(f"quotes-address-{status}"), PATIENT)
    shown = str(caught.value) + (caught.value.body or b"").decode()
    assert "No route to the provider" in shown
    assert "127.0.0.1" not in shown
    assert not re.search(r"[Pp]ort \d|:\d{3,5}\b", shown)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 502])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_behind_a_provider_is_not_passed_on(provider: HttpProvider, status: int, stream: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        if stream:
            await collect(provider, f"quotes-inner-{status}", PATIENT)
        else:
            await provider.complete(request(), model(f"quotes-inner-{status}"), PATIENT)
    said = "upstream [hidden] of account [hidden]: an HTML page"
    assert str(caught.value).endswith(said)
    assert json.loads(caught.value.body or b"")["error"]["message"] == said


@pytest.mark.parametrize("said", ["text", "a tool call"])
async def test_text_may_stall_for_less_long_than_calls(
    provider: HttpProvider, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(stream_reading, "TEXT_STALL_S", 0.1)
    monkeypatch.setattr(stream_reading, "STALL_S", 0.2)
    scenario, limit_s = {"text": ("stall-after-3", "0.1"), "a tool call": ("tools-stall", "0.2")}[said]
    with pytest.raises(ProviderTimeoutError, match=f"^the stream stalled for {limit_s} s$"):
        await collect(provider, scenario, Timeouts())


async def test_an_error_never_quotes_the_key(provider: HttpProvider) -> None:
    with pytest.raises(ProviderAuthError, match=r"Bad header: Bearer \*\*\*") as caught:
        await provider.complete(request(), model("quotes-key"), PATIENT)
    assert KEY.encode() not in (caught.value.body or b"")
    assert caught.value.status == 401


# --- deadlines and cancellation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["hang", "stall-after-3"])
async def test_a_whole_answer_has_a_deadline(provider: HttpProvider, server: FaultServer, scenario: str) -> None:
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.2 s"):
        await provider.complete(request(), model(scenario), HASTY)
    assert await gone(server)


@pytest.mark.parametrize("scenario", ["hang", "slow-first-token", "stall-after-1"])
async def test_the_first_token_has_a_deadline(provider: HttpProvider, server: FaultServer, scenario: str) -> None:
    with pytest.raises(ProviderTimeoutError, match=r"no first token within 0\.2 s"):
        await collect(provider, scenario, Timeouts(first_token_s=0.2))
    assert await gone(server)


async def test_comments_do_not_hide_a_stall(provider: HttpProvider, server: FaultServer) -> None:
    got: list[Chunk] = []
    with pytest.raises(ProviderTimeoutError, match=r"the stream stalled for 0\.2 s"):
        async for chunk in provider.stream(request(stream=True), model("stall-after-3"), Timeouts(stall_s=0.2)):
            got.append(chunk)
    assert text_of(got) == "".join(WORDS[:2])
    assert await gone(server)


async def test_a_slow_consumer_is_not_a_stall(provider: HttpProvider) -> None:
    got: list[Chunk] = []
    async for chunk in provider.stream(request(stream=True), model("ok"), Timeouts(stall_s=0.5)):
        got.append(chunk)
        if len(got) == 3:
            await asyncio.sleep(0.8)
    assert text_of(got) == TEXT


async def test_cancelling_a_call_closes_its_connection(provider: HttpProvider, server: FaultServer) -> None:
    before = len(server.requests)
    call = asyncio.create_task(provider.complete(request(), model("hang"), PATIENT))
    assert await asyncio.to_thread(server.wait_for_requests, before + 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await gone(server)


async def test_closing_a_stream_closes_its_connection(provider: HttpProvider, server: FaultServer) -> None:
    async with aclosing(provider.stream(request(stream=True), model("endless"), PATIENT)) as chunks:
        await anext(chunks)
        await anext(chunks)
    assert await gone(server)


async def test_cancelling_the_consumer_of_a_stream_closes_its_connection(
    provider: HttpProvider, server: FaultServer
) -> None:
    started = asyncio.Event()

    async def consume() -> None:
        async for _ in provider.stream(request(stream=True), model("stall-after-2"), PATIENT):
            started.set()

    consumer = asyncio.create_task(consume())
    await started.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert await gone(server)


# --- opening ----------------------------------------------------------------------------------------------------------


def config(**providers: ProviderSettings) -> Config:
    return Config(providers=providers, models={}, default=Default(models=("m",)), routes={})


async def test_every_provider_is_opened(server: FaultServer) -> None:
    pool = Transport()
    opened = open_providers(
        config(
            p=settings(server.url),
            local=ProviderSettings(id="local", dialect="echo"),
            keyless=ProviderSettings(id="keyless", dialect="openai", missing_variables=("A_KEY", "A_URL")),
            bare=ProviderSettings(id="bare", dialect="bedrock", missing_extra="bedrock"),
        ),
        pool,
    )
    assert list(opened) == ["p", "local", "keyless", "bare"]
    assert isinstance(opened["local"], EchoProvider)
    assert (await opened["p"].complete(request(), model("ok"), PATIENT)).text == TEXT
    for name, error_type, message in [
        ("keyless", ProviderAuthError, "A_KEY, A_URL is not set"),
        (
            "bare",
            ProviderAuthError,
            r"the extra `bedrock` is not installed \(pip install 'semroute-gateway\[bedrock\]'\)",
        ),
    ]:
        with pytest.raises(error_type, match=message):
            await opened[name].complete(request(), model("m"), PATIENT)
        with pytest.raises(error_type, match=message):
            await anext(opened[name].stream(request(stream=True), model("m"), PATIENT))
    for provider in opened.values():
        await provider.aclose()
    await pool.aclose()


async def test_a_consumer_who_is_slower_than_the_provider_is_not_the_providers_fault(provider: HttpProvider) -> None:
    """What has come already is read without waiting: no timer ends that."""
    with pytest.raises(SlowCallerError, match=r"the caller did not take the whole answer within 0\.3 s"):
        async for _ in provider.stream(request(stream=True), model("flood"), Timeouts(stream_s=0.3)):
            await asyncio.sleep(0.05)


async def test_a_stream_without_end_is_the_providers_fault(provider: HttpProvider) -> None:
    with pytest.raises(ProviderTimeoutError, match=r"no whole answer within 0\.3 s"):
        async for _ in provider.stream(request(stream=True), model("endless"), Timeouts(stream_s=0.3)):
            pass


async def test_white_space_before_a_stream_is_not_kept() -> None:
    """A provider may send it for as long as a first token may take."""

    class Blank:
        """Says nothing for a while."""

        def __init__(self) -> None:
            self.pieces = [b"\n" * 1000] * 50 + [b"\n\ndata: x\n\n", b"more"]

        async def read(self) -> bytes:
            return self.pieces.pop(0)

    assert await StreamWatch(PATIENT).first(Blank()) == b"\n\ndata: x\n\n"  # type: ignore[arg-type]


async def test_the_callers_version_replaces_ours_and_not_the_one_of_the_route_files() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    pool = Transport()
    with VendorServer(AnthropicVendor()) as vendor:
        for own, sent in (({}, "2026-10-21"), ({"Anthropic-Version": "2023-06-01"}, "2023-06-01")):
            settings = ProviderSettings(id="p", dialect="anthropic", base_url=vendor.url, api_key=KEY, headers=own)
            provider = HttpProvider(settings, provider_dialect(settings), pool)
            said = {"anthropic-version": "2026-10-21"}
            asked = ChatRequest(id="1", messages=(), dialect="anthropic", raw=body, headers=said)
            await provider.complete(asked, model("claude"), PATIENT)
            assert vendor.last.headers["anthropic-version"] == sent
            await provider.complete(msgspec.structs.replace(asked, headers={}), model("claude"), PATIENT)
            assert vendor.last.headers["anthropic-version"] == "2023-06-01"
    await pool.aclose()
