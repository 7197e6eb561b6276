"""Every vendor's server, and the real service in front of them: what the tests with real clients run against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.service import Service
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.bedrock import BedrockVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import VendorServer

NAMES = {
    "openai": "gpt-x",
    "responses": "gpt-x",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-flash",
    "bedrock": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""Each vendor's model, by the provider's dialect; its id is the dialect's."""
PATHS = {"openai": "/v1", "responses": "/v1", "anthropic": "", "gemini": "/v1beta", "bedrock": ""}
STATUSES = (400, 401, 404, 429, 500, 529)


@dataclass
class World:
    """The service, and the vendors by dialect."""

    service: Service
    vendors: dict[str, VendorServer]


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        vendors = {
            "openai": stack.enter_context(VendorServer(OpenAIVendor())),
            "responses": stack.enter_context(VendorServer(ResponsesVendor())),
            "anthropic": stack.enter_context(VendorServer(AnthropicVendor())),
            "gemini": stack.enter_context(VendorServer(GeminiVendor())),
            "bedrock": stack.enter_context(VendorServer(BedrockVendor())),
        }
        routes = folder / "routes"
        routes.mkdir(parents=True)
        (routes / "all.yaml").write_text(_routes(vendors))
        yield World(stack.enter_context(Service(routes, folder / "log")), vendors)


def _routes(vendors: dict[str, VendorServer]) -> str:
    lines = ["providers:"]
    lines += [
        f'  {name}: {{dialect: {name}, base_url: "{server.url}{PATHS[name]}", api_key: sk-vendor-key-0123}}'
        for name, server in vendors.items()
    ]
    azure, groq = vendors["openai"].url, f"{vendors['openai'].url}/v1"
    lines += [
        f'  azure: {{preset: azure, base_url: "{azure}", api_key: sk-azure-key-0123}}',
        f'  groq: {{preset: groq, base_url: "{groq}", api_key: sk-groq-key-0123}}',
        "models:",
    ]
    features = "features: [tools, json, vision, reasoning]"
    patient = "breaker: {failures: 10000, min_calls: 10000}"  # their failures are what the tests ask for
    prices = "input_price: 1, output_price: 2"
    for name in vendors:
        lines.append(f"  {name}: {{provider: {name}, name: {NAMES[name]}, {prices}, {features}}}")
        lines += [
            f"  {name}-{status}: {{provider: {name}, name: status-{status}, {features}, {patient}}}"
            for status in STATUSES
        ]
    lines += [
        f"  claude-old: {{provider: anthropic, name: claude-3-5-haiku-latest, {features}}}",
        f"  azure: {{provider: azure, name: my-deployment, {features}}}",
        f"  groq: {{provider: groq, name: llama, {features}}}",
        "  embed: {provider: openai, name: text-embedding-x, input_price: 1}",
        "  vectors: {provider: gemini, name: gemini-embedding-x, input_price: 1}",
        "default: {models: [openai]}",
        "routes:",
        "  - name: weather",
        "    description: What the sky does.",
        "    utterances: [what is the weather, will it rain today, is it warm outside, how cold is it, is there snow]",
        "    models: [openai-500, gemini-429, anthropic]",
    ]
    return "\n".join(lines) + "\n"
