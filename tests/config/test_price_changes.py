"""A public list of prices beside the prices of the route files."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pytest

from semroute.config.load import load
from semroute.config.price_changes import compare, new_texts, plain
from semroute.config.price_list import find_model, read_price_list
from semroute.errors import RequestError

TODAY = datetime.date(2026, 12, 1)
LIST = {
    "sample_spec": {"mode": "one of: chat, embedding"},
    "gpt-9": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2e-06,
        "cache_read_input_token_cost": 2e-07,
        "output_cost_per_token": 8e-06,
        "output_cost_per_token_above_200k_tokens": 1.2e-05,
    },
    "azure/gpt-9": {"litellm_provider": "azure", "input_cost_per_token": 2.2e-06, "output_cost_per_token": 8.8e-06},
    "deepseek/flash": {
        "litellm_provider": "deepseek",
        "input_cost_per_token": 3e-07,
        "cache_creation_input_token_cost": 0.0,
        "output_cost_per_token": 1e-06,
    },
    "novita/flash": {"litellm_provider": "novita", "input_cost_per_token": 4e-07, "output_cost_per_token": 1e-06},
}
ROUTES = """\
providers:
  openai: {base_url: https://api.openai.com/v1, api_key: "${NO_SUCH_KEY}"}
  azure: {preset: azure, base_url: https://mine.openai.azure.com, api_key: k}
  novita: {base_url: https://api.novita.example/v1}
  own: {base_url: http://localhost:1/v1}
models:
"""


def read(listed: object = LIST) -> dict[str, dict[str, object]]:
    return {key: dict(value) for key, value in read_price_list(json.dumps(listed).encode(), "prices.json").items()}


def updated(folder: Path, models: str) -> tuple[str, list[tuple[str, str, Decimal, Decimal]], list[str]]:
    """Return the new file, the changes, and what cannot be changed."""
    file = folder / "models.yaml"
    file.write_text(ROUTES + models + f"default: {{models: [{models.split(':')[0].strip()}]}}\n")
    config = load(folder, {}, today=TODAY)
    texts = {str(file): file.read_text()}
    update = compare(config, read(), texts, TODAY)
    changes = [(each.model, each.field, each.old, each.new) for each in update.changes]
    new = new_texts(update, config, texts, TODAY).get(str(file), texts[str(file)])
    file.write_text(new)
    again = compare(load(folder, {}, today=TODAY), read(), {str(file): new}, TODAY)
    left = [each.problem for each in update.changes if each.problem]
    assert len(again.changes) == len(left), "what was written is what the list says"
    return new.removeprefix(ROUTES), changes, left


def test_prices_are_written_where_they_stand(tmp_path: Path) -> None:
    models = "  a: {provider: openai, name: gpt-9, input_price: 3.00, output_price: 8}   # May\n"
    text, changes, left = updated(tmp_path, models)
    assert changes == [
        ("a", "input_price", Decimal(3), Decimal(2)),
        ("a", "cached_input_price", Decimal(3), Decimal("0.2")),
    ]
    assert not left
    assert text.startswith(
        "  a: {provider: openai, name: gpt-9, input_price: 2.00, output_price: 8, cached_input_price: 0.20}   # May\n"
    )


def test_a_default_that_is_right_is_not_written(tmp_path: Path) -> None:
    models = "  a: {provider: novita, name: flash, input_price: 0.4, output_price: 1}\n"
    assert updated(tmp_path, models)[1:] == ([], [])


def test_deployments_have_prices_of_their_own(tmp_path: Path) -> None:
    models = """\
  a:
    provider: openai
    name: gpt-9
    input_price: 2
    cached_input_price: 0.2
    output_price: 8
    deployments:
    - {provider: azure}
"""
    text, changes, left = updated(tmp_path, models)
    assert [change[:2] for change in changes] == [("a@azure", "input_price"), ("a@azure", "output_price")] and not left
    assert "- {provider: azure, input_price: 2.20, output_price: 8.80}\n" in text


def test_prices_of_the_day_are_compared(tmp_path: Path) -> None:
    models = """\
  a:
    provider: novita
    name: flash
    input_price: 9
    prices:
    - {from: 2026-01-01, input: 8, output: 1}
    - {from: 2026-06-01, input: 0.5, output: 1}
    - {from: 2027-01-01, input: 7, output: 1}
"""
    text, changes, _ = updated(tmp_path, models)
    assert changes == [("a", "input", Decimal("0.5"), Decimal("0.4"))]
    assert text.startswith(models.replace("input: 0.5", "input: 0.40"))


def test_a_model_from_an_alias_is_named(tmp_path: Path) -> None:
    models = """\
  a: &a {provider: novita, name: flash, input_price: 1, output_price: 1}
  b: *a
"""
    text, changes, left = updated(tmp_path, models)
    assert [change[0] for change in changes] == ["a", "b"] and len(left) == 2 and text.startswith(models)
    assert "alias" in left[0]


def test_what_the_list_lacks_and_what_long_prompts_cost(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        ROUTES
        + """\
  a: {provider: openai, name: gpt-9, input_price: 2, cached_input_price: 0.2, output_price: 8, context_tokens: 400000}
  b: {provider: openai, name: gpt-9, input_price: 2, cached_input_price: 0.2, output_price: 8, context_tokens: 200000}
  c: {provider: own, name: gpt-9}
default: {models: [a]}
"""
    )
    found = compare(load(tmp_path, {}, today=TODAY), read(), {}, TODAY)
    assert (found.changes, found.same, found.unlisted) == ((), ("a", "b"), ("c",))
    assert found.dearer == {"a": 200_000}


def test_a_zero_that_stands_for_nobody_pays_this_is_no_price() -> None:
    found = find_model(read(), "x", "https://api.deepseek.com", "flash")
    assert found is not None and found.prices == {"input": Decimal("0.3"), "output": 1}


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"a": 1}', b"{}", b'{"a": {"price": 1}}', b"\xff"])
def test_a_file_that_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(RequestError, match=r"^prices\.json: .*expected"):
        read_price_list(data, "prices.json")


@pytest.mark.parametrize("price", [-1, True, "1", None, 1e300, [1]])
def test_a_price_that_is_none_is_not_taken(price: object) -> None:
    odd = {**LIST, "novita/flash": {"litellm_provider": "novita", "input_cost_per_token": price}}
    assert find_model(read(odd), "novita", "https://api.novita.example/v1", "flash") is None


@pytest.mark.parametrize(
    ("price", "text"), [("2", "2.00"), ("0.125", "0.125"), ("1E-1", "0.10"), ("0", "0"), ("1E+1", "10.00")]
)
def test_prices_are_written_with_two_decimals(price: str, text: str) -> None:
    assert plain(Decimal(price)) == text
