"""What the vendors' own libraries make of a stream that breaks off after its first content, and of a 429 that lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from tests.api.test_keep_alive import sent
from tests.clients.breaking import SERVED, BrokenWorld, Recorded, broken_world
from tests.dialects.test_broken_streams import SAY
from tests.vendors.server import GREETING, VendorServer

HI: Any = [{"role": "user", "content": "Hi"}]
Heard = list[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenWorld]:
    with broken_world(tmp_path_factory.mktemp("broken")) as running:
        yield running


# Each adds to what it hears, to the end of the stream.


def chat(client: openai.OpenAI, model: str, heard: Heard) -> None:
    for chunk in client.chat.completions.create(model=model, messages=HI, stream=True):
        heard += [choice.delta.content or "" for choice in chunk.choices]


def chat_helper(client: openai.OpenAI, model: str, heard: Heard) -> None:
    with client.chat.completions.stream(model=model, messages=HI) as stream:
        for event in stream:
            heard += [event.delta] if event.type == "content.delta" else []


def responses(client: openai.OpenAI, model: str, heard: Heard) -> None:
    for event in client.responses.create(model=model, input="Hi", stream=True):
        heard += [event.delta] if event.type == "response.output_text.delta" else []


def responses_helper(client: openai.OpenAI, model: str, heard: Heard) -> None:
    with client.responses.stream(model=model, input="Hi") as stream:
        for event in stream:
            heard += [event.delta] if event.type == "response.output_text.delta" else []


def messages(client: anthropic.Anthropic, model: str, heard: Heard) -> None:
    for event in client.messages.create(model=model, max_tokens=99, messages=HI, stream=True):
        heard += [getattr(event.delta, "text", "")] if event.type == "content_block_delta" else []


def messages_helper(client: anthropic.Anthropic, model: str, heard: Heard) -> None:
    with client.messages.stream(model=model, max_tokens=99, messages=HI) as stream:
        for text in stream.text_stream:
            heard.append(text)


def gemini(client: genai.Client, model: str, heard: Heard) -> None:
    for piece in client.models.generate_content_stream(model=model, contents="Hi"):
        heard.append(piece.text or "")


ASKS: dict[str, tuple[str, Any, type[Exception]]] = {
    "chat": ("openai", chat, openai.APIError),
    "chat, with the helper": ("openai", chat_helper, openai.APIError),
    "responses": ("openai", responses, openai.APIError),
    "responses, with the helper": ("openai", responses_helper, openai.APIError),
    "messages": ("anthropic", messages, anthropic.APIStatusError),
    "messages, with the helper": ("anthropic", messages_helper, anthropic.APIStatusError),
    "gemini": ("gemini", gemini, genai.errors.ServerError),
}


@pytest.fixture(scope="module")
def clients(world: BrokenWorld) -> Iterator[dict[str, Any]]:
    """The vendors' libraries as they come, so with their own retries."""
    url = world.service.url
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="any") as chat_client,
        anthropic.Anthropic(base_url=url, api_key="any") as messages_client,
        genai.Client(api_key="any", http_options=genai.types.HttpOptions(base_url=url)) as gemini_client,
    ):
        yield {"openai": chat_client, "anthropic": messages_client, "gemini": gemini_client}


def broken(clients: dict[str, Any], ask: str, model: str) -> Any:
    """The error that a library raises after the first content."""
    name, call, error_type = ASKS[ask]
    heard: Heard = []
    with pytest.raises(error_type) as caught:
        call(clients[name], model, heard)
    assert "".join(heard) == GREETING[0]
    return caught.value


@pytest.mark.parametrize("provider", SERVED)
@pytest.mark.parametrize("ask", ASKS)
def test_a_vendors_error_inside_a_stream_is_raised_with_its_cause(
    clients: dict[str, Any], ask: str, provider: str
) -> None:
    error = broken(clients, ask, f"told-{provider}")
    assert SAY in str(error)
    match error:
        case openai.APIError():
            assert error.code == "server_is_overloaded"
        case anthropic.APIStatusError():
            assert error.type == "overloaded_error"
        case genai.errors.ServerError():
            assert (error.code, error.status) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("provider", SERVED)
@pytest.mark.parametrize("ask", ASKS)
def test_a_stream_that_is_cut_is_raised_with_its_cause(clients: dict[str, Any], ask: str, provider: str) -> None:
    assert "the stream ended before the answer was complete" in str(broken(clients, ask, f"cut-{provider}"))


@pytest.mark.parametrize("provider", SERVED)
def test_a_limit_that_lasts_is_asked_about_three_times_whatever_the_client_does(
    world: BrokenWorld, clients: dict[str, Any], provider: str
) -> None:
    model, vendor = f"limited-{provider}", world.vendors[f"cut-{provider}"]
    for stream in (False, True):
        asked = {"model": model, "stream": stream}
        for create, options in (
            (clients["openai"].chat.completions.create, {"messages": HI}),
            (clients["openai"].responses.create, {"input": "Hi"}),
            (clients["anthropic"].messages.create, {"messages": HI, "max_tokens": 9}),
        ):
            before = len(vendor.requests)
            with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
                create(**asked, **options)
            assert len(vendor.requests) == before + 3


@pytest.mark.parametrize("broken", [False, True])
def test_geminis_library_takes_what_keeps_a_stream_alive(broken: bool) -> None:
    pieces = asyncio.run(sent("gemini", broken=broken))
    assert b" " in pieces
    heard: Heard = []
    raised = pytest.raises(genai.errors.ServerError, match="cut") if broken else contextlib.nullcontext()
    with VendorServer(Recorded(pieces)) as server:
        options = genai.types.HttpOptions(base_url=server.url)
        with genai.Client(api_key="any", http_options=options) as client, raised:
            gemini(client, "any", heard)
    assert "".join(heard) == "Hello you."
