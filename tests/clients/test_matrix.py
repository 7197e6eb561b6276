"""Every client dialect against every provider dialect, with the vendors' own SDKs. Generates the table in the docs.

`WRITE_MATRIX=1 pytest tests/clients/test_matrix.py` writes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import semroute.dialects
from tests.clients.drivers import DRIVERS, Driver, Got
from tests.vendors.server import GREETING, JSON_ANSWER, RESULT, SEEN
from tests.vendors.world import World

PAGE = Path(semroute.dialects.__file__).with_name("README.md")
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->"
PROVIDERS = ("openai", "responses", "anthropic", "gemini", "bedrock")
CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})]
green: dict[tuple[str, str], list[str]] = {}


def expected_usage(driver: Driver, provider: str) -> dict[str, int]:
    """Gemini does not tell what it wrote to its cache, nor Bedrock how much was thought."""
    if provider == "bedrock":
        said = 10 if driver.dialect == "gemini" else driver.usage["output"]
        return {**driver.usage, "output": said, "reasoning": 0}
    if provider != "gemini" or driver.dialect == "gemini":
        return driver.usage
    fresh = 3 if driver.dialect == "anthropic" else 0
    return {**driver.usage, "input": driver.usage["input"] + fresh, "written": 0}


def plain(driver: Driver, provider: str) -> None:
    got = driver.plain(provider)
    assert (got.text, got.finish) == ("".join(GREETING), driver.finishes["stop"])
    assert got.usage == expected_usage(driver, provider)


def stream(driver: Driver, provider: str) -> None:
    got = driver.stream(provider)
    assert (got.text, got.finish) == ("".join(GREETING), driver.finishes["stop"])
    assert got.usage == expected_usage(driver, provider)


def called(driver: Driver, got: Got) -> None:
    assert (got.calls, got.finish, got.text) == (CALLS, driver.finishes["tools"], "")


def tools(driver: Driver, provider: str) -> None:
    called(driver, driver.call(provider))
    assert driver.answer_tools(provider).text == "".join(RESULT)


def stream_tools(driver: Driver, provider: str) -> None:
    called(driver, driver.stream_tools(provider))


def image(driver: Driver, provider: str) -> None:
    assert driver.image(provider).text == "".join(SEEN)


def schema(driver: Driver, provider: str) -> None:
    assert driver.schema(provider).text == "".join(JSON_ANSWER)


def error(driver: Driver, provider: str) -> None:
    for model, status in (("400", 400), ("429", 429), ("500", 502)):
        with pytest.raises(driver.error) as caught:
            driver.plain(f"{provider}-{model}")
        told = caught.value
        response: httpx.Response = vars(told)["response"]
        assert response.status_code == status
        assert "the vendor says no" in response.text


CASES: dict[str, Callable[[Driver, str], None]] = {
    "plain": plain,
    "stream": stream,
    "tools": tools,
    "stream+tools": stream_tools,
    "image": image,
    "JSON schema": schema,
    "error": error,
}


@pytest.fixture(scope="module")
def drivers(world: World) -> Iterator[dict[str, Driver]]:
    opened = {name: kind(world.service.url) for name, kind in DRIVERS.items()}
    yield opened
    for driver in opened.values():
        driver.client.close()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", DRIVERS)
def test_a_client_is_served_by_any_provider(client: str, provider: str, case: str, drivers: dict[str, Driver]) -> None:
    CASES[case](drivers[client], provider)
    green.setdefault((client, provider), []).append(case)


def test_the_table_in_the_docs_shows_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    if sum(map(len, green.values())) < len(DRIVERS) * len(PROVIDERS) * len(CASES):
        pytest.skip("needs every case above")
    head = f"| client | provider | {' | '.join(CASES)} |\n|---|---|{'---|' * len(CASES)}\n"
    rows = [
        f"| {client} | {provider} | {' | '.join('✓' if case in green[client, provider] else '✗' for case in CASES)} |\n"
        for client in DRIVERS
        for provider in PROVIDERS
    ]
    table = head + "".join(rows)
    with capsys.disabled():
        sys.stdout.write(f"\n{table}")
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    written = before + BEGIN + table + END + rest.split(END)[1]
    if os.environ.get("WRITE_MATRIX"):
        PAGE.write_text(written, "utf-8")
    assert written == PAGE.read_text("utf-8"), "run: WRITE_MATRIX=1 pytest tests/clients/test_matrix.py"
