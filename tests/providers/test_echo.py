import pytest
from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.errors import UnsupportedError
from semroute.messages import EMBEDDINGS, ChatRequest, Message, Params, Role, Text, Usage
from semroute.providers.echo import MAX_ECHO_CHARS, EchoProvider

MODEL = Model(id="small", provider="local", name="gpt-x")
ECHO = EchoProvider()


def request(*turns: tuple[Role, str], max_tokens: int | None = None) -> ChatRequest:
    messages = tuple(Message(role=role, parts=(Text(text=text),)) for role, text in turns)
    return ChatRequest(id="7", messages=messages, params=Params(max_tokens=max_tokens))


async def streamed(asked: ChatRequest) -> list[str]:
    return [
        part.text
        async for chunk in ECHO.stream(asked, MODEL, Timeouts())
        for part in chunk.parts
        if isinstance(part, Text)
    ]


async def test_the_echo_names_itself_and_repeats_the_last_question() -> None:
    asked = request(("system", "Be brief"), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Why is it so?"))
    completion = await ECHO.complete(asked, MODEL, Timeouts())
    assert completion.text == "[echo of gpt-x] You said: Why is it so?"
    assert (completion.model, completion.finish_reason, completion.id) == ("gpt-x", "stop", "echo-7")
    assert completion.usage == Usage(input_tokens=2 + 1 + 1 + 4, output_tokens=10)


async def test_the_stream_is_the_same_text_word_by_word_then_finish_reason_and_usage() -> None:
    asked = request(("user", "one  two\nthree "))
    completion = await ECHO.complete(asked, MODEL, Timeouts())
    words = await streamed(asked)
    assert "".join(words) == completion.text
    assert words[-3:] == ["one  ", "two\n", "three "]
    chunks = [chunk async for chunk in ECHO.stream(asked, MODEL, Timeouts())]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert chunks[-1].usage == completion.usage


@pytest.mark.parametrize("max_tokens", [0, 1, 7, 8])
async def test_max_tokens_cuts_the_answer(max_tokens: int) -> None:
    asked = request(("user", "Grüße an alle und noch viel mehr"), max_tokens=max_tokens)
    completion = await ECHO.complete(asked, MODEL, Timeouts())
    assert completion.finish_reason == "length"
    assert completion.usage and completion.usage.output_tokens <= max_tokens
    assert "".join(await streamed(asked)) == completion.text


async def test_a_long_question_is_shortened() -> None:
    completion = await ECHO.complete(request(("user", "x" * 10_000)), MODEL, Timeouts())
    assert completion.text.endswith("x…")
    assert len(completion.text) < MAX_ECHO_CHARS + 50


async def test_a_request_without_a_users_text_is_answered_too() -> None:
    completion = await ECHO.complete(request(("system", "x")), MODEL, Timeouts())
    assert completion.text == "[echo of gpt-x] You said: "
    await ECHO.aclose()


async def test_an_echo_has_no_vectors() -> None:
    with pytest.raises(UnsupportedError, match="the echo dialect has no embeddings"):
        await ECHO.complete(replace(request(("user", "Hi")), endpoint=EMBEDDINGS), MODEL, Timeouts())


async def test_the_echo_speaks_json_where_that_is_asked_for() -> None:
    asked = replace(request(("user", 'Say "hi"')), params=Params(json_output=True))
    assert (await ECHO.complete(asked, MODEL, Timeouts())).text == '{"echo":"gpt-x","said":"Say \\"hi\\""}'
    assert "".join(await streamed(asked)) == '{"echo":"gpt-x","said":"Say \\"hi\\""}'
