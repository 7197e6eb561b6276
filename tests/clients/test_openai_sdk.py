"""OpenAI's Python SDK against the service, with other vendors behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.clients.drivers import OpenAIDriver
from tests.vendors.openai import OpenAIVendor
from tests.vendors.server import GREETING, JSON_ANSWER, RESULT
from tests.vendors.world import World

HI: list[Any] = [{"role": "user", "content": "Hi"}]


class City(BaseModel):
    city: str
    population: int


@pytest.fixture
def client(world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{world.service.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "gemini", "bedrock"])
async def test_the_async_client_streams_too(world: World, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{world.service.url}/v1", api_key="any") as client:
        whole = await client.chat.completions.create(model=model, messages=HI)
        text = ""
        async for chunk in await client.chat.completions.create(model=model, messages=HI, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert whole.choices[0].message.content == text == "".join(GREETING)


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "claude-old", "gemini"])
def test_an_answer_is_parsed_into_a_class(client: openai.OpenAI, model: str) -> None:
    """`claude-old` knows no schemas: a tool takes the answer."""
    done = client.chat.completions.parse(model=model, messages=HI, response_format=City)
    assert done.choices[0].message.parsed == City(city="Paris", population=2100000)
    assert done.choices[0].finish_reason == "stop"
    assert client.responses.parse(model=model, input="Hi", text_format=City).output_parsed == City(
        city="Paris", population=2100000
    )


def test_an_old_model_streams_its_answer_through_a_tool(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="claude-old", messages=HI, response_format=City) as stream:
        done = stream.get_final_completion()
    assert done.choices[0].message.content == "".join(JSON_ANSWER)
    assert (done.choices[0].message.tool_calls or [], done.choices[0].finish_reason) == ([], "stop")


@pytest.mark.parametrize("model", ["responses", "anthropic", "gemini", "bedrock"])
def test_thoughts_are_streamed_beside_the_answer(client: openai.OpenAI, model: str) -> None:
    done: Any = client.responses.create(model=model, input="Hi", reasoning={"effort": "low", "summary": "auto"})
    assert [item.type for item in done.output] == ["reasoning", "message"]
    assert done.output[0].summary[0].text == "Let me think."
    with client.responses.stream(model=model, input="Hi", reasoning={"effort": "low", "summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
        streamed: Any = stream.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert streamed.output[0].summary[0].text == "Let me think."


def test_a_thought_goes_back_to_who_thought_it(client: openai.OpenAI, world: World) -> None:
    tools = OpenAIDriver(world.service.url)
    tools.client.close()
    functions: Any = [{"type": "function", "strict": False, **tool["function"]} for tool in tools.tools]
    options: Any = {"model": "anthropic", "reasoning": {"effort": "low"}, "tools": functions}
    first: Any = client.responses.create(input="Hi", **options)
    said = [item.model_dump(exclude_none=True) for item in first.output]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "18"}
        for item in said
        if item["type"] == "function_call"
    ]
    turns: Any = [{"role": "user", "content": "Hi"}, *said, *results]
    client.responses.create(input=turns, **options)
    thought, *calls = world.vendors["anthropic"].last.body["messages"][1]["content"]
    assert thought == {"type": "thinking", "thinking": "Let me think.", "signature": "c2ln"}
    assert [call["type"] for call in calls] == ["tool_use", "tool_use"]


@pytest.mark.parametrize("first", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_loop_of_tools_may_go_on_with_another_vendor(client: openai.OpenAI, first: str) -> None:
    tools: Any = [{"type": "function", "name": name, "parameters": {}} for name in ("get_weather", "get_time")]
    options: Any = {"tools": tools, "reasoning": {"effort": "low", "summary": "auto"}}
    done: Any = client.responses.create(model=first, input="Hi", **options)
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "18"} for call in done.output[-2:]]
    turns: Any = [{"role": "user", "content": "Hi"}, *done.output, *results]
    for model in ("anthropic", "responses", "gemini"):
        assert client.responses.create(model=model, input=turns, **options).output_text == "".join(RESULT)


@pytest.mark.parametrize(
    ("model", "error_type"),
    [
        ("anthropic-400", openai.BadRequestError),
        ("gemini-429", openai.RateLimitError),
        ("anthropic-529", openai.InternalServerError),
        ("openai-401", openai.InternalServerError),
        ("no-such-model", openai.NotFoundError),
    ],
)
def test_errors_are_the_sdks_own(client: openai.OpenAI, model: str, error_type: type[openai.APIStatusError]) -> None:
    with pytest.raises(error_type) as caught:
        client.chat.completions.create(model=model, messages=HI)
    assert caught.value.request_id or model == "no-such-model"
    with pytest.raises(error_type):
        client.responses.create(model=model, input="Hi")


def test_the_sdk_retries_what_is_worth_it(world: World) -> None:
    before = len(world.vendors["gemini"].requests)
    with openai.OpenAI(base_url=f"{world.service.url}/v1", api_key="any", max_retries=1) as client:
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gemini-429", messages=HI)
        retried = len(world.vendors["gemini"].requests) - before
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gemini-400", messages=HI)
    assert retried >= 2
    assert len(world.vendors["gemini"].requests) == before + retried + 1


def test_a_plan_of_several_vendors_answers_as_one(client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="openai-500", messages=HI, extra_body={"models": ["gemini-429", "anthropic"]}
    )
    assert answer.headers["x-semroute-model"] == "anthropic"
    assert answer.parse().choices[0].message.content == "".join(GREETING)


def test_what_has_no_counterpart_is_told(client: openai.OpenAI) -> None:
    options: Any = {"seed": 7, "temperature": 1.5, "logit_bias": {"5": 1}}
    answer = client.chat.completions.with_raw_response.create(model="claude-old", messages=HI, **options)
    assert answer.headers["x-semroute-dropped"] == "logit_bias, seed, temperature 1.5: sent as 1"
    with client.chat.completions.with_streaming_response.create(
        model="claude-old", messages=HI, stream=True, **options
    ) as streamed:
        assert streamed.headers["x-semroute-dropped"] == "logit_bias, seed, temperature 1.5: sent as 1"
        streamed.read()
    with pytest.raises(openai.BadRequestError, match="no counterpart for: logit_bias"):
        client.chat.completions.create(model="claude-old", messages=HI, extra_body={"strict": True}, **options)
    passed = client.chat.completions.with_raw_response.create(
        model="openai", messages=HI, extra_body={"strict": True}, **options
    )
    assert "x-semroute-dropped" not in passed.headers


def test_same_dialect_passes_byte_for_byte(world: World) -> None:
    body = {"model": "openai", "messages": HI, "unknown_field": [1, None]}
    through = httpx.post(f"{world.service.url}/v1/chat/completions", json=body, trust_env=False)
    sent = world.vendors["openai"].last.body
    assert sent == {**body, "model": "gpt-x", "stream": False}
    direct = httpx.post(
        f"{world.vendors['openai'].url}/v1/chat/completions",
        json=sent,
        headers={"authorization": "Bearer x"},
        trust_env=False,
    )
    assert through.content == direct.content
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    through = httpx.post(f"{world.service.url}/v1/chat/completions", json=streamed, trust_env=False)
    pieces = b"".join(
        OpenAIVendor().events("/v1/chat/completions", {"authorization": "x"}, {**streamed, "model": "gpt-x"})
    )
    assert through.content == pieces


def test_log_probabilities_come_through(client: openai.OpenAI) -> None:
    done: Any = client.chat.completions.create(model="openai", messages=HI, logprobs=True, top_logprobs=1)
    assert done.choices[0].logprobs.content[0].logprob == -0.25
    told: Any = client.responses.create(model="openai", input="Hi", top_logprobs=1)
    assert told.output[0].content[0].logprobs[0].logprob == -0.25


def test_embeddings_pass_to_the_named_model(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model="embed", input=["a", "b"], encoding_format="float")
    assert [each.embedding for each in raw.parse().data] == [[0.25, -0.5]] * 2
    assert raw.headers["x-semroute-cost-usd"] == "0.000007"
    with pytest.raises(openai.BadRequestError, match="embeddings are not routed"):
        client.embeddings.create(model="auto", input="a")
    with pytest.raises(openai.BadRequestError, match="no embeddings"):
        client.embeddings.create(model="anthropic", input="a")


def test_models_and_routes_are_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["auto", "auto:weather"]
    assert {"openai", "anthropic"} <= set(names)


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_second_turn_builds_on_the_first(client: openai.OpenAI, world: World, model: str, streamed: bool) -> None:
    def ask(**fields: Any) -> Any:
        if not streamed:
            return client.responses.create(model=model, **fields)
        with client.responses.stream(model=model, **fields) as stream:
            return stream.get_final_response()

    first = ask(input="My name is Ada.", instructions="Be short.")
    assert (first.store, first.previous_response_id) == (True, None)
    second = ask(input=[{"role": "user", "content": "Who am I?"}], previous_response_id=first.id)
    assert second.previous_response_id == first.id
    sent = world.vendors[model].last.raw.decode()
    said = ["My name is Ada.", "".join(GREETING), "Who am I?"]
    assert [sent.count(text) for text in said] == [1, 1, 1]
    assert sorted(said, key=sent.index) == said
    assert "Be short." not in sent
    assert first.id not in sent
    third = ask(input="And now?", previous_response_id=second.id, store=False)
    assert world.vendors[model].last.raw.decode().count("".join(GREETING)) == 2
    assert third.store is False
    for id_ in {third.id, "resp_unknown"} - {first.id}:  # one of the vendors gives every answer the same id
        with pytest.raises(openai.NotFoundError, match="this key has no response"):
            ask(input="More", previous_response_id=id_)
    # As the AI SDK sends a conversation: what was said is only named.
    items = [{"type": "item_reference", "id": item.id} for item in first.output if item.type == "message"]
    assert items
    ask(input=[{"role": "user", "content": "My name is Ada."}, *items, {"role": "user", "content": "Who?"}])
    assert "".join(GREETING) in world.vendors[model].last.raw.decode()
    assert "item_reference" not in world.vendors[model].last.raw.decode()


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic"])
def test_calls_of_the_first_turn_get_their_results_in_the_second(
    client: openai.OpenAI, world: World, model: str
) -> None:
    tools: Any = [
        {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False}
        for name in ("get_weather", "get_time")
    ]
    first = client.responses.create(model=model, input="Weather?", tools=tools)
    calls = [item for item in first.output if item.type == "function_call"]
    results: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "18"} for call in calls]
    second = client.responses.create(model=model, input=results, tools=tools, previous_response_id=first.id)
    assert second.output_text == "".join(RESULT)
    assert len(calls) == 2


def test_a_kept_response_is_read_and_deleted(client: openai.OpenAI) -> None:
    first = client.responses.create(model="anthropic", input="One")
    second = client.responses.create(model="openai", input="Two", previous_response_id=first.id)
    assert client.responses.retrieve(second.id).output_text == "".join(GREETING)
    listed: Any = client.responses.input_items.list(second.id, order="asc")
    assert [(item.role, item.content[0].text) for item in listed] == [
        ("user", "One"),
        ("assistant", "".join(GREETING)),
        ("user", "Two"),
    ]
    pages = list(client.responses.input_items.list(second.id, limit=1))
    assert [item.id for item in pages] == [item.id for item in listed][::-1]
    client.responses.delete(second.id)
    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            call(second.id)
    with pytest.raises(openai.BadRequestError, match="send `previous_response_id`"):
        client.responses.create(model="openai", input="Hi", conversation="conv_1")


def test_presets_change_what_their_server_wants_changed(client: openai.OpenAI, world: World) -> None:
    vendor = world.vendors["openai"]
    client.chat.completions.create(model="azure", messages=HI, max_tokens=9)
    assert vendor.last.path == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert vendor.last.headers["api-key"] == "sk-azure-key-0123"
    assert (vendor.last.body["max_completion_tokens"], "max_tokens" in vendor.last.body) == (9, False)
    answer = client.chat.completions.with_raw_response.create(model="groq", messages=HI, logprobs=True)
    assert answer.headers["x-semroute-dropped"] == "logprobs"
    assert "logprobs" not in vendor.last.body


def test_a_picture_by_address_reaches_every_vendor(client: openai.OpenAI, world: World) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}]
    for model in ("openai", "responses", "anthropic", "gemini"):
        client.chat.completions.create(model=model, messages=messages)
        assert "https://example.com/cat.png" in str(world.vendors[model].last.body)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_of_gemini_come_in_openais_form(client: openai.OpenAI, encoding: Any) -> None:
    raw = client.embeddings.with_raw_response.create(model="vectors", input=["a", "b"], encoding_format=encoding)
    assert raw.headers["x-semroute-model"] == "vectors"
    done = raw.parse()
    assert [each.embedding for each in done.data] == (
        [[0.25, -0.5]] * 2 if encoding == "float" else ["AACAPgAAAL8="] * 2
    )
    assert done.usage.prompt_tokens > 0
    assert client.embeddings.create(model="vectors", input="a", dimensions=1).data[0].embedding == [0.25]
    with pytest.raises(openai.BadRequestError, match="take text, not tokens"):
        client.embeddings.create(model="vectors", input=[1, 2])


def test_the_tokens_of_a_response_are_counted(client: openai.OpenAI) -> None:
    short = client.responses.input_tokens.count(model="auto", input="Hi")
    assert short.object == "response.input_tokens"
    tools: list[Any] = [{"type": "function", "name": "f", "description": "Does much. " * 50, "parameters": {}}]
    long = client.responses.input_tokens.count(model="auto:weather", input="Hi", tools=tools)
    assert 0 < short.input_tokens < long.input_tokens


@pytest.mark.parametrize("model", ["openai", "responses", "anthropic", "gemini", "bedrock"])
def test_a_conversation_is_made_shorter_and_goes_on_anywhere(world: World, client: openai.OpenAI, model: str) -> None:
    asked: list[Any] = [{"role": "user", "content": "Where is Paris?"}, {"role": "assistant", "content": "In France."}]
    raw = client.responses.with_raw_response.compact(model=model, input=asked)
    assert float(raw.headers["x-semroute-cost-usd"]) > 0
    assert (raw.parse().object, raw.parse().output[-1].type) == ("response.compaction", "compaction")
    output = raw.http_response.json()["output"]
    assert [item.get("role") for item in output] == ["user", None]
    if model == "responses":
        assert world.vendors["responses"].last.path == "/v1/responses/compact"
    turns: list[Any] = [*output, asked[0]]
    for following in ("openai", "anthropic", "responses"):
        done = client.responses.create(model=following, input=turns)
        assert done.output_text == "".join(GREETING)
        told = str(world.vendors[following].last.body)
        assert ("".join(GREETING) in told) is (model != "responses")
        assert ("c2ln" in told) is (model == following == "responses")


@pytest.mark.parametrize("model", ["openai", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_calls_of_tools_that_are_no_functions_come_back(client: openai.OpenAI, model: str, stream: bool) -> None:
    inner = {"type": "function", "name": "get_weather"}
    group = {"type": "namespace", "name": "sky", "description": "The sky.", "tools": [inner]}
    tools: list[Any] = [{"type": "custom", "name": "get_time"}, group]
    done: Any
    if stream:
        with client.responses.stream(model=model, input="Hi", tools=tools) as events:
            kinds = [event.type for event in events]
            done = events.get_final_response()
        assert "response.custom_tool_call_input.done" in kinds
    else:
        done = client.responses.create(model=model, input="Hi", tools=tools)
    called: list[Any] = [item for item in done.output if item.type.endswith("_call")]
    assert [item.type for item in called] == ["function_call", "custom_tool_call"]
    assert [item.name for item in called] == ["get_weather", "get_time"]
    assert (called[0].namespace, called[1].input) == ("sky", "CET")
    results = [{"type": f"{item.type}_output", "call_id": item.call_id, "output": "18"} for item in called]
    turns: Any = [{"role": "user", "content": "Hi"}, *(item.model_dump(exclude_none=True) for item in called), *results]
    for following in ("anthropic", "openai", model):
        assert client.responses.create(model=following, input=turns, tools=tools).output_text == "".join(RESULT)
