from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from semroute.config.load import read
from semroute.config.schema.models import Model, PriceEntry
from semroute.messages import ChatRequest, Message, Text, Usage
from semroute.routing.pricing import cost_usd, estimate_input_tokens, estimate_text_tokens, saved_usd

MODEL = Model(
    id="m",
    provider="p",
    name="m",
    input_price=Decimal("3"),
    cached_input_price=Decimal("0.3"),
    cache_write_price=Decimal("3.75"),
    output_price=Decimal("15"),
    reasoning_price=Decimal("12.5"),
)
USAGE = Usage(input_tokens=100, cached_tokens=30, cache_write_tokens=20, output_tokens=10, reasoning_tokens=4)

prices = st.decimals(0, 1000, places=6)
counts = st.integers(0, 10**7)


def test_each_kind_of_token_has_its_price() -> None:
    assert cost_usd(MODEL, USAGE) == Decimal("0.000374")  # (50*3 + 30*0.3 + 20*3.75 + 6*15 + 4*12.5) / 1e6


def test_what_is_kept_for_an_hour_costs_more_to_write() -> None:
    """Anthropic's cache: 1.25 times the input price for five minutes, twice for an hour."""
    written = Usage(input_tokens=1_000_000, cache_write_tokens=1_000_000, cache_write_1h_tokens=600_000)
    assert cost_usd(MODEL, written) == Decimal("5.1")  # .4 * 3.75 + .6 * 2 * 3
    stated = msgspec.structs.replace(MODEL, cache_write_1h_price=Decimal(7))
    assert cost_usd(stated, written) == Decimal("5.7")
    dated = PriceEntry(since=datetime.date(2026, 1, 1), input=Decimal(3), cache_write_1h=Decimal(8), output=Decimal(15))
    [on_the_day] = [msgspec.structs.replace(MODEL, prices=(dated,)).on(datetime.date(2026, 2, 1))]
    assert cost_usd(on_the_day, written) == Decimal("6.0")  # .4 * 3 + .6 * 8


def test_a_price_that_is_not_given_is_that_of_its_side() -> None:
    flat = Model(id="m", provider="p", name="m", input_price=Decimal(3), output_price=Decimal(15))
    assert cost_usd(flat, USAGE) == Decimal("0.00045")


def test_usage_that_contradicts_itself_costs_nothing_less_than_zero() -> None:
    assert cost_usd(MODEL, Usage(input_tokens=0, cached_tokens=10)) == Decimal("0.000003")


@given(prices, prices, st.lists(st.tuples(counts, counts), max_size=30))
def test_costs_add_up_to_the_last_digit(
    input_price: Decimal, output_price: Decimal, calls: list[tuple[int, int]]
) -> None:
    model = Model(id="m", provider="p", name="m", input_price=input_price, output_price=output_price)
    summed = sum((cost_usd(model, Usage(input_tokens=i, output_tokens=o)) for i, o in calls), Decimal(0))
    at_once = cost_usd(model, Usage(input_tokens=sum(i for i, _ in calls), output_tokens=sum(o for _, o in calls)))
    assert summed == at_once
    assert summed * 10**12 == int(summed * 10**12)


def test_a_price_holds_from_its_day_on() -> None:
    model = Model(
        id="m",
        provider="p",
        name="m",
        input_price=Decimal(1),
        prices=(
            PriceEntry(since=datetime.date(2026, 6, 1), input=Decimal(3), output=Decimal(9)),
            PriceEntry(since=datetime.date(2026, 1, 1), input=Decimal(2), output=Decimal(8)),
        ),
    )
    days = [
        datetime.date(2025, 12, 31),
        datetime.date(2026, 1, 1),
        datetime.date(2026, 5, 31),
        datetime.date(2026, 6, 1),
    ]
    assert [model.on(day).input_price for day in days] == [1, 2, 2, 3]
    assert model.on(days[-1]).output_price == 9


def test_saved_is_what_the_baseline_would_have_cost_less_what_was_spent() -> None:
    assert saved_usd(MODEL, USAGE, Decimal("0.0001")) == Decimal("0.000274")


def test_input_is_counted_with_the_tokenizer_that_is_given() -> None:
    request = ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="one two three"),)),))
    assert estimate_input_tokens(request) == 4 + 4
    assert estimate_input_tokens(request, lambda text: len(text.split())) == 4 + 3
    assert estimate_text_tokens("日本") == 2


ROUTES = """
providers: {p: {dialect: echo}}
models:
  a: {provider: p, name: a, input_price: 1, output_price: 1}
  b:
    provider: p
    name: b
    prices: [{from: 2026-01-01, input: 2, output: 8}, {from: 2026-06-01, input: 3, cached_input: 0.3, output: 9}]
default: {models: [a, b]}
"""


def test_route_files_are_read_at_the_prices_of_the_day(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(ROUTES)
    config, problems = read(tmp_path, today=datetime.date(2026, 7, 1))
    assert config is not None
    assert config.models["b"].input_price == 3
    assert config.models["b"].cached_input_price == Decimal("0.3")
    assert config.baseline == "b"
    assert [problem.severity for problem in problems] == ["warning"]  # no routes


def test_prices_and_references_that_cannot_be_are_named(tmp_path: Path) -> None:
    bad = ROUTES.replace("input: 2,", "input: 0.0000001,").replace("2026-06-01", "2026-01-01")
    budgets = "baseline: c\nbudgets: [{name: x, usd: 5, key: k, team: t}, {name: y, usd: 5, model: d, route: r}]\n"
    (tmp_path / "m.yaml").write_text(bad + budgets)
    _, problems = read(tmp_path)
    errors = "\n".join(str(problem) for problem in problems if problem.severity == "error")
    for part in (
        "$.models.b.prices[0].input: got 1E-7, expected at most 6 decimals",
        "$.models.b.prices[1].from: got 2026-01-01 a second time",
        '$.baseline: got "c", expected one of `models`',
        '$.budgets[1].model: got "d"',
        "got `key` and `team`, expected at most one of them",
    ):
        assert part in errors, errors
