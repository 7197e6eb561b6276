"""Bedrock over real sockets: binary streams whole, cut and damaged, and AWS's own client as a second opinion."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session

from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.errors import (
    BadAnswerError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderServerError,
    RateLimitedError,
    StreamBrokenError,
)
from semroute.messages import ChatRequest, Chunk, Image, Message, Text, Usage
from semroute.providers.http_provider import HttpProvider
from semroute.providers.transport import Transport
from tests.vendors.bedrock import BedrockVendor, event, exception
from tests.vendors.server import CACHED, CALLS, FRESH, GREETING, SAID, THOUGHT, WRITTEN, VendorServer

KEY = "bedrock-api-key-0123456789"
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATIENT = Timeouts(connect_s=30, first_token_s=30, stall_s=30, total_s=30)
USAGE = Usage(
    input_tokens=FRESH + CACHED + WRITTEN,
    output_tokens=SAID + THOUGHT,
    cached_tokens=CACHED,
    cache_write_tokens=WRITTEN,
)


class BrokenVendor(BedrockVendor):
    """Its models' names say what is wrong with their streams."""

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        good = list(super().events(path, headers, body))
        match path.split("/")[2]:
            case "cut":
                yield from (*good[:2], good[2][:-5])
            case "ends":
                yield from good[:2]
            case "damaged":
                yield from (*good[:2], good[2][:-5] + b"x" + good[2][-4:])
            case "late-cut":
                yield from (*good[:-1], good[-1][:20])
            case "in-one-piece":
                yield b"".join(good)
            case "byte-by-byte":
                yield from (bytes([byte]) for frame in good for byte in frame)
            case "throttled":
                yield from (*good[:2], exception("throttlingException", "Slow down"))
            case "failed":
                yield from (*good[:2], exception("modelStreamErrorException", "The model broke"))
            case "padded":
                yield from (good[0], event("newKind", a=1), *good[1:])
            case _:
                yield from good


@pytest.fixture(scope="module")
def server() -> Iterator[VendorServer]:
    with VendorServer(BrokenVendor()) as server:
        yield server


@pytest.fixture
async def provider(server: VendorServer) -> AsyncIterator[HttpProvider]:
    transport = Transport()
    settings = ProviderSettings(id="p", dialect="bedrock", base_url=server.url, api_key=KEY)
    yield HttpProvider(settings, BedrockProviderDialect(), transport)
    await transport.aclose()


def model(name: str) -> Model:
    return Model(id="m", provider="p", name=name)


def request(*, stream: bool = False) -> ChatRequest:
    return ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="Hi"),)),), stream=stream)


async def collect(provider: HttpProvider, name: str) -> list[Chunk]:
    return [chunk async for chunk in provider.stream(request(stream=True), model(name), PATIENT)]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(part.text for chunk in chunks for part in chunk.parts if isinstance(part, Text))


async def test_a_whole_answer_arrives(provider: HttpProvider, server: VendorServer) -> None:
    completion = await provider.complete(request(), model(CLAUDE), PATIENT)
    assert (completion.text, completion.usage, completion.finish_reason) == ("".join(GREETING), USAGE, "stop")
    assert (completion.model, completion.service_tier) == (CLAUDE, "default")
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert server.last.path == f"/model/{CLAUDE}/converse"


@pytest.mark.parametrize("name", [CLAUDE, "in-one-piece", "byte-by-byte", "padded"])
async def test_a_stream_arrives(provider: HttpProvider, name: str) -> None:
    chunks = await collect(provider, name)
    assert (text_of(chunks), chunks[-1].usage) == ("".join(GREETING), USAGE)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert chunks[0].model == name


async def test_the_first_chunk_says_what_was_left_out(provider: HttpProvider) -> None:
    shown = Message(role="user", parts=(Text(text="Hi"), Image(url="https://x/y.png")))
    asked = ChatRequest(id="1", messages=(shown,), stream=True)
    chunks = [chunk async for chunk in provider.stream(asked, model(CLAUDE), PATIENT)]
    assert [chunk.dropped for chunk in chunks] == [("image by address",), *[()] * (len(chunks) - 1)]


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("cut", StreamBrokenError, "the stream ended before the answer was complete"),
        ("ends", StreamBrokenError, "the stream ended before the answer was complete"),
        ("damaged", BadAnswerError, "the stream holds a damaged frame: Checksum mismatch"),
        ("throttled", RateLimitedError, "inside the stream: Slow down"),
        ("failed", ProviderServerError, "inside the stream: The model broke"),
    ],
)
async def test_a_broken_stream_gives_what_came_and_then_the_error(
    provider: HttpProvider, name: str, error_type: type[ProviderError], message: str
) -> None:
    got: list[Chunk] = []
    with pytest.raises(ProviderError, match=message) as caught:
        async for chunk in provider.stream(request(stream=True), model(name), PATIENT):
            got.append(chunk)
    assert type(caught.value) is error_type
    assert text_of(got) == GREETING[0]


async def test_a_cut_after_the_stop_reason_is_no_failure(provider: HttpProvider) -> None:
    chunks = await collect(provider, "late-cut")
    assert (text_of(chunks), chunks[-1].finish_reason) == ("".join(GREETING), "stop")


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("status-403", ProviderAuthError),
        ("status-404", ProviderModelError),
        ("status-429", RateLimitedError),
        ("status-500", ProviderServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["complete", "stream"])
async def test_a_refusal_is_the_error_it_means(
    provider: HttpProvider, name: str, error_type: type[ProviderError], stream: bool
) -> None:
    with pytest.raises(ProviderError, match="the vendor says no") as caught:
        if stream:
            await collect(provider, name)
        else:
            await provider.complete(request(), model(name), PATIENT)
    assert type(caught.value) is error_type


def test_no_other_provider_needs_the_library() -> None:
    """In a process of its own: there botocore cannot be imported."""
    code = """
import sys
sys.modules["botocore"] = None
from semroute.config.config import Config
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.routes import Default
from semroute.config.dialects import ECHO, provider_dialects
from semroute.providers.provider import open_providers
from semroute.providers.transport import Transport
dialects = [name for name in provider_dialects() if name not in ("bedrock", ECHO)]
providers = {name: ProviderSettings(id=name, dialect=name, base_url="https://x") for name in dialects}
opened = open_providers(Config(providers=providers, models={}, default=Default(models=("m",)), routes={}), Transport())
print(*opened)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["anthropic", "gemini", "openai", "responses"]


# --- the server of the tests is held to AWS's own client --------------------------------------------------------------


@pytest.fixture
def client(server: VendorServer) -> Iterator[Any]:
    client = Session().create_client(
        "bedrock-runtime",
        region_name="eu-central-1",
        endpoint_url=server.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 1}),
    )
    yield client
    client.close()


HI = [{"role": "user", "content": [{"text": "Hi"}]}]
TOOLS = {"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name, _ in CALLS]}


def test_aws_client_reads_what_the_server_says(client: Any) -> None:
    whole = client.converse(modelId=CLAUDE, messages=HI)
    assert whole["output"]["message"]["content"] == [{"text": "".join(GREETING)}]
    assert (whole["stopReason"], whole["usage"]["cacheReadInputTokens"]) == ("end_turn", CACHED)
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    stream = client.converse_stream(
        modelId=CLAUDE, messages=HI, toolConfig=TOOLS, additionalModelRequestFields=thinking
    )
    events = list(stream["stream"])
    kinds = [next(iter(each)) for each in events]
    assert kinds[0] == "messageStart"
    assert kinds[-2:] == ["messageStop", "metadata"]
    starts = [each["contentBlockStart"]["start"] for each in events if "contentBlockStart" in each]
    assert [start["toolUse"]["name"] for start in starts] == [name for name, _ in CALLS]
    assert events[-1]["metadata"]["usage"]["inputTokens"] == FRESH


def test_aws_client_tells_the_servers_errors_apart(client: Any) -> None:
    with pytest.raises(client.exceptions.ThrottlingException, match="the vendor says no"):
        client.converse(modelId="status-429", messages=HI)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.converse_stream(modelId="status-404", messages=HI)
    with (
        contextlib.closing(client.converse_stream(modelId="throttled", messages=HI)["stream"]) as events,
        pytest.raises(client.exceptions.ClientError, match="throttlingException"),
    ):
        list(events)
