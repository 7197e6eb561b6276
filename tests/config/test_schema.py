from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from semroute.config.jsonschema import field_docs, json_schema
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.route_file import RouteFile

SHIPPED = sorted((Path(__file__).parents[2] / "routes").glob("*.yaml"))


def errors(document: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [error.message for error in validator.iter_errors(document)]


def properties() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}.{field}", property_)
        for name, component in json_schema()["$defs"].items()
        for field, property_ in component["properties"].items()
    ]


def test_the_schema_is_a_schema_and_json() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert json.dumps(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_files_are_valid(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_every_field_is_described() -> None:
    assert [name for name, property_ in properties() if not property_.get("description")] == []


def test_a_description_is_the_line_under_the_field() -> None:
    route = json_schema()["$defs"]["Route"]
    assert route["properties"]["models"]["description"] == (
        "Model ids, tried in this order unless the policy says otherwise."
    )


def test_unknown_keys_are_invalid_everywhere() -> None:
    assert {component["additionalProperties"] for component in json_schema()["$defs"].values()} == {False}
    assert errors({"routez": []})
    assert errors({"abstain": {"treshold": 0.5}})


@pytest.mark.parametrize("price", [0, 0.15, 30])
def test_prices_are_numbers(price: float) -> None:
    assert errors({"models": {"m": {"provider": "p", "name": "m", "input_price": price}}}) == []
    assert errors({"models": {"m": {"provider": "p", "name": "m", "cached_input_price": price}}}) == []


@pytest.mark.parametrize("price", [-1, "cheap", [1]])
def test_other_prices_are_invalid(price: object) -> None:
    assert errors({"models": {"m": {"provider": "p", "name": "m", "input_price": price}}})


def test_every_property_with_a_decimal_default_has_a_number() -> None:
    prices = ((name, property_) for name, property_ in properties() if name.endswith("_price"))
    defaults = {name: property_["default"] for name, property_ in prices if "default" in property_}
    assert defaults == {
        "ModelEntry.input_price": 0,
        "ModelEntry.cached_input_price": None,
        "ModelEntry.cache_write_price": None,
        "ModelEntry.cache_write_1h_price": None,
        "ModelEntry.reasoning_price": None,
        "ModelEntry.output_price": 0,
        "DeploymentSettings.input_price": None,
        "DeploymentSettings.cached_input_price": None,
        "DeploymentSettings.cache_write_price": None,
        "DeploymentSettings.cache_write_1h_price": None,
        "DeploymentSettings.reasoning_price": None,
        "DeploymentSettings.output_price": None,
        "SpecialPrices.cached_input_price": None,
        "SpecialPrices.cache_write_price": None,
        "SpecialPrices.cache_write_1h_price": None,
        "SpecialPrices.reasoning_price": None,
    }


def test_inherited_fields_are_described() -> None:
    docs = field_docs(ProviderSettings)
    assert docs["dialect"].startswith("Its wire format.")
    assert docs["missing_variables"].startswith("Environment variables")


def test_a_provider_shows_no_secret() -> None:
    provider = ProviderSettings(id="p", dialect="openai", api_key="sk-secret", headers={"x": "sk-secret"})
    assert "sk-secret" not in repr(provider)


def test_the_structs_accept_what_they_render() -> None:
    written = {"models": {"m": {"provider": "p", "name": "m", "input_price": 0.15}}}
    file = msgspec.convert(written, RouteFile)
    assert msgspec.convert(msgspec.to_builtins(file), RouteFile) == file
