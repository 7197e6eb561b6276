from __future__ import annotations

from decimal import Decimal

import pytest

from semroute.config.presets import PresetName, preset_of
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.messages import (
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from semroute.routing.pricing import (
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    batch_cost_usd,
    cost_usd,
    estimate,
    estimate_input_tokens,
)
from tests.routing.build import model


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text(text="x" * 8), 2),
        (Text(text="é" * 4), 2),
        (ToolResult(id="1", text="x" * 9), 3),
        (ToolCall(arguments="{}"), 1),
        (Image(url="https://x/y"), IMAGE_TOKENS),
        (ToolResult(id="1", media=(Image(url="https://x/y"),)), IMAGE_TOKENS),
        (Thinking(text="x" * 400), 0),
        (Opaque(kind="audio"), 0),
    ],
)
def test_tokens_of_a_part(part: Part, tokens: int) -> None:
    asked = ChatRequest(id="r", messages=(Message(role="user", parts=(part,)),))
    assert estimate_input_tokens(asked) == MESSAGE_TOKENS + tokens


def test_tools_count() -> None:
    asked = ChatRequest(id="r", messages=(), tools=(Tool(name="abcd", description="efgh"),))
    assert estimate_input_tokens(asked) == 3  # the parameters are `{}`


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(input_tokens=1000, cached_tokens=400, output_tokens=10)
    assert cost_usd(model("m", input_price=2, cached_input_price=1, output_price=3), usage) == Decimal("0.00163")
    assert cost_usd(model("m", input_price=2, output_price=3), usage) == Decimal("0.00203")


def test_an_answer_is_taken_to_be_no_longer_than_was_asked_for() -> None:
    one = model("m", input_price=1, output_price=1)
    assert estimate(one, Policy(), 10, None).output_tokens == 300
    assert estimate(one, Policy(), 10, 50).output_tokens == 50
    assert estimate(None, Policy(), 10, 50).cost_usd == 0


def test_what_counts_is_asked_once_however_many_texts_there_are() -> None:
    said: list[str] = []

    def count(text: str) -> int:
        said.append(text)
        return len(text.split())

    messages = tuple(Message(role="user", parts=(Text(text="a b"), Text(text="c"))) for _ in range(1000))
    assert estimate_input_tokens(ChatRequest(id="1", messages=messages), count) == 1000 * MESSAGE_TOKENS + 3000
    assert len(said) == 1


def test_tools_count_as_the_json_that_is_sent() -> None:
    said: list[str] = []
    tools = (Tool(name="f", description="d", parameters={"a": {"b": [True, None]}}), Tool(name="g"))

    def count(text: str) -> int:
        said.append(text)
        return 0

    estimate_input_tokens(ChatRequest(id="1", messages=(), tools=tools), count)
    assert said == ['fd{"a":{"b":[true,null]}}\ng{}']


@pytest.mark.parametrize(
    ("preset", "address", "own", "cost"),
    [
        ("openai", "", None, "0.0025"),
        (None, "https://api.openai.com/v1", None, "0.0025"),
        ("openai", "", 0.4, "0.002"),
        (None, "https://api.openai.com.example/v1", None, "0.005"),
        (None, "http://127.0.0.1:8000/v1", None, "0.005"),
        ("vllm", "https://api.openai.com/v1", None, "0.005"),
        ("deepinfra", "", None, "0.004"),
        (None, "https://api.deepinfra.com/v1/openai", None, "0.004"),
        ("google", "", None, "0.0025"),
        (
            None,
            "https://us-east1-aiplatform.googleapis.com/v1/projects/p/endpoints/openapi",
            None,
            "0.0025",
        ),
        ("together", "", None, "0.005"),  # only some of its models are cheaper
        (None, "http://localhost:11434/v1", None, "0.005"),
        (None, "", None, "0.005"),
    ],
)
def test_a_batch_costs_its_share_of_the_price(
    preset: PresetName | None, address: str, own: float | None, cost: str
) -> None:
    priced = Model(id="m", provider="p", name="n", input_price=Decimal(1), output_price=Decimal(4), batch_share=own)
    usage = Usage(input_tokens=1000, output_tokens=1000)
    assert batch_cost_usd(priced, usage, preset_of(preset, address).batch_share) == Decimal(cost)
