"""Vendors whose streams break off after the first piece of text, and the service in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dialects.test_broken_streams import TOLD
from tests.service import Service
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import GREETING, Vendor, VendorServer, event
from tests.vendors.world import NAMES, PATHS

SERVED: dict[str, Vendor] = {
    "openai": OpenAIVendor(),
    "responses": ResponsesVendor(),
    "anthropic": AnthropicVendor(),
    "gemini": GeminiVendor(),
}


class Breaking(Vendor):
    """A vendor whose streams end after the first piece of text; `last` is what it says then."""

    def __init__(self, vendor: Vendor, last: bytes = b"") -> None:
        self._vendor = vendor
        self._last = last

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return self._vendor.streamed(path, body)

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        return self._vendor.answer(path, headers, body)

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        for each in self._vendor.events(path, headers, body):
            yield each
            if GREETING[0].encode() in each:
                break
        if self._last:
            yield self._last


class Recorded(Vendor):
    """Sends pieces as the service did, each as a chunk of HTTP of its own."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return True

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        yield from self._pieces


@dataclass
class BrokenWorld:
    """The service, and the vendors by the names of their models."""

    service: Service
    vendors: dict[str, VendorServer]


@contextmanager
def broken_world(folder: Path) -> Iterator[BrokenWorld]:
    """For each dialect a model that says why it breaks off, one that does not, and one that is limited for ever."""
    providers, models, vendors = [], [], dict[str, VendorServer]()
    with ExitStack() as stack:
        for dialect, vendor in SERVED.items():
            name, data = TOLD[dialect]["overloaded"]
            for provider, kind in (
                (f"told-{dialect}", Breaking(vendor, event(data, name))),
                (f"cut-{dialect}", Breaking(vendor)),
            ):
                vendors[provider] = server = stack.enter_context(VendorServer(kind))
                url = server.url + PATHS[dialect]
                providers.append(f'  {provider}: {{dialect: {dialect}, base_url: "{url}", api_key: sk-vendor-key-01}}')
                models.append(f"  {provider}: {{provider: {provider}, name: {NAMES[dialect]}, {PATIENT}}}")
            models.append(f"  limited-{dialect}: {{provider: cut-{dialect}, name: status-429, {PATIENT}}}")
        lines = ["providers:", *providers, "models:", *models, "default: {models: [told-openai]}"]
        lines += ["policy: {stream: {on_break: error}, retry: {base_s: 0.01}}"]
        (folder / "routes").mkdir()
        (folder / "routes" / "all.yaml").write_text("\n".join(lines))
        yield BrokenWorld(stack.enter_context(Service(folder / "routes", folder / "log")), vendors)


PATIENT = "breaker: {failures: 10000, min_calls: 10000}"
"""Their failures are what the tests ask for."""
