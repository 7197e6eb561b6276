"""A broken stream that goes on with another model is one whole answer, also where provider and client speak alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.clients.drivers import DRIVERS
from tests.service import Service
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import GREETING, Vendor, VendorServer
from tests.vendors.world import NAMES, PATHS

VENDORS: dict[str, Vendor] = {
    "openai": OpenAIVendor(),
    "responses": ResponsesVendor(),
    "anthropic": AnthropicVendor(),
    "gemini": GeminiVendor(),
}


class Breaking(Vendor):
    """A vendor whose streams end after the first piece of text."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return self._vendor.streamed(path, body)

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        for event in self._vendor.events(path, headers, body):
            yield event
            if GREETING[0].encode() in event:
                return


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, VendorServer]]]:
    folder = tmp_path_factory.mktemp("continued")
    servers: dict[str, VendorServer] = {}
    providers, models, routes = [], [], []
    with ExitStack() as stack:
        for dialect, vendor in VENDORS.items():
            for name, kind in ((dialect, vendor), (f"broken-{dialect}", Breaking(vendor))):
                servers[name] = stack.enter_context(VendorServer(kind))
                url = servers[name].url + PATHS[dialect]
                breaker = "breaker: {failures: 1000, min_calls: 1000}"
                providers.append(f'  {name}: {{dialect: {dialect}, base_url: "{url}", api_key: sk-vendor-key-0123}}')
                models.append(f"  {name}: {{provider: {name}, name: {NAMES[dialect]}, {breaker}}}")
            plan = f"models: [broken-{dialect}, {dialect}]"
            routes.append(f"  - {{name: to-{dialect}, utterances: [{dialect} one, {dialect} two], {plan}}}")
        lines = ["providers:", *providers, "models:", *models, "routes:", *routes]
        lines += ["default: {models: [openai]}"]
        (folder / "routes").mkdir()
        (folder / "routes" / "all.yaml").write_text("\n".join(lines))
        yield stack.enter_context(Service(folder / "routes", folder / "log")), servers


@pytest.mark.parametrize("provider", VENDORS)
@pytest.mark.parametrize("client", DRIVERS)
def test_a_continued_answer_is_whole(
    running: tuple[Service, dict[str, VendorServer]], client: str, provider: str
) -> None:
    service, servers = running
    asked = [servers[name] for name in (f"broken-{provider}", provider)]
    before = [len(server.requests) for server in asked]
    driver = DRIVERS[client](service.url)
    got = driver.stream(f"auto:to-{provider}")
    driver.client.close()
    assert (got.text, got.finish) == ("".join(GREETING), driver.finishes["stop"])
    assert [len(server.requests) for server in asked] == [count + 1 for count in before]
