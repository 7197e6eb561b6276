from __future__ import annotations

from decimal import Decimal

import pytest

from semroute.config.presets import PresetName, preset_of
from semroute.config.schema.models import Model, SpecialPrices
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
    dearest_usd,
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


LONG_FAST = SpecialPrices(above_tokens=1000, service_tier="priority", input_price=Decimal(8), output_price=Decimal(40))
LONG = SpecialPrices(above_tokens=1000, input_price=Decimal(4), cached_input_price=Decimal(1), output_price=Decimal(15))
FAST = SpecialPrices(service_tier="priority", input_price=Decimal(5), output_price=Decimal(25))
NIGHT = SpecialPrices(hours="22:00-06:30", input_price=Decimal(1), output_price=Decimal(5))
NOON = SpecialPrices(hours="12:00-12:01", input_price=Decimal(3), output_price=Decimal(5))
SPECIAL = model("m", input_price=2, output_price=10, special_prices=(LONG_FAST, LONG, FAST, NIGHT, NOON))


def at(hour: int, minute: int = 0, second: int = 0) -> float:
    """Return a time on the first day of 1970, in UTC."""
    return hour * 3600 + minute * 60 + second


@pytest.mark.parametrize(
    ("input_tokens", "tier", "ended", "price"),
    [
        (1000, "", None, 2),
        (1001, "", None, 4),
        (1001, "default", None, 4),
        (1001, "priority", None, 8),
        (1000, "priority", at(23), 5),
        (1000, "", at(22), 1),
        (1000, "", at(6, 29, 59), 1),
        (1000, "", at(6, 30), 2),
        (1000, "", at(21, 59, 59), 2),
        (1000, "flex", at(3), 1),
        (1000, "", at(12, 0, 59), 3),
        (1000, "", at(12, 1), 2),
        (1001, "", at(3), 4),
    ],
)
def test_the_first_special_price_that_fits_holds_for_the_whole_call(
    input_tokens: int, tier: str, ended: float | None, price: int
) -> None:
    cost = cost_usd(SPECIAL, Usage(input_tokens=input_tokens), tier, ended)
    assert cost == Decimal(input_tokens * price) / 1_000_000


def test_special_prices_have_cached_tokens_of_their_own() -> None:
    usage = Usage(input_tokens=2000, cached_tokens=1500, output_tokens=100, reasoning_tokens=40)
    assert cost_usd(SPECIAL, usage) == Decimal("0.005")  # 500 * 4 + 1500 * 1 + 100 * 15, in millionths


@pytest.mark.parametrize(
    ("input_tokens", "tier", "cost"),
    [
        (1000, "", "0.0035"),  # at noon
        (1000, "priority", "0.0075"),
        (1000, "auto", "0.0075"),
        (2000, "", "0.0095"),
        (2000, "auto", "0.02"),
    ],
)
def test_the_most_that_a_call_can_cost(input_tokens: int, tier: str, cost: str) -> None:
    most = dearest_usd(SPECIAL, input_tokens, 100, tier)
    assert most == Decimal(cost)
    usage = Usage(input_tokens=input_tokens, output_tokens=100)
    for served in {"", "priority" if tier else ""}:
        for ended in (None, *map(at, range(24))):
            assert cost_usd(SPECIAL, usage, served, ended) <= most
