"""What a call does with the policy that it is under."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from semroute import Router
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.embeddings import Embeddings
from semroute.gateway.acting import Whole
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import Completion, Text, TokenLogprob
from semroute.providers.transport import Transport
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import Vendor, VendorServer

ROUTES = """
providers: {{vendor: {{dialect: openai, base_url: "{url}/v1", api_key: sk-vendor-key-0123}}}}
models: {{embed: {{provider: vendor, name: text-embedding-x}}}}
default: {{models: [embed]}}
policy: {{cascade: {{checks: {{min_chars: 1}}, on_exhausted: error}}}}
"""


async def test_an_embedding_is_not_checked_as_a_text(tmp_path: Path) -> None:
    with VendorServer(OpenAIVendor()) as vendor:
        (tmp_path / "routes.yaml").write_text(ROUTES.format(url=vendor.url))
        transport = Transport()
        gateway = Gateway(InService(Serving.open(Router.load(tmp_path), transport)), lambda _: None)
        call = await gateway.open(Embeddings().parse_request({"model": "embed", "input": "hello"}, "r"))
        completion = await call.complete()
        await gateway.aclose()
        await transport.aclose()
    assert b"embedding" in completion.raw
    assert [attempt.escalated for attempt in call.account.record.attempts] == [None]


async def test_a_whole_answer_as_a_stream_has_all_that_was_asked_for() -> None:
    likely = (TokenLogprob(token="hi", logprob=-0.5),)
    whole = Whole(Completion(parts=(Text(text="hi"),), finish_reason="stop", usage=None, model="m", logprobs=likely))
    assert [chunk.logprobs async for chunk in whole] == [likely, ()]


SPECIAL = """
providers: {{vendor: {{dialect: {dialect}, base_url: "{url}{version}", api_key: sk-vendor-key-0123}}}}
models:
  one:
    provider: vendor
    name: {name}
    input_price: 1
    output_price: 1
    special_prices:
    - {{service_tier: {tier}, above_tokens: 1, input_price: 50, output_price: 0}}
default: {{models: [one]}}
"""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("vendor", "dialect", "version", "name"),
    [
        (OpenAIVendor, "openai", "/v1", "gpt-6-luna"),
        (ResponsesVendor, "responses", "/v1", "gpt-6-luna"),
        (AnthropicVendor, "anthropic", "", "claude-haiku-5-5"),
    ],
)
async def test_a_call_costs_what_the_tier_that_served_it_costs(
    tmp_path: Path, vendor: type[Vendor], dialect: str, version: str, name: str, stream: bool
) -> None:
    costs = {}
    with VendorServer(vendor()) as server:
        for tier in ("default", "priority"):
            said = SPECIAL.format(url=server.url, dialect=dialect, version=version, name=name, tier=tier)
            (tmp_path / "routes.yaml").write_text(said)
            transport = Transport()
            gateway = Gateway(InService(Serving.open(Router.load(tmp_path), transport)), lambda _: None)
            body = {"model": "one", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
            call = await gateway.open(OpenAI().parse_request(body, "r"))
            if stream:
                async for _ in await call.stream():
                    pass
            else:
                await call.complete()
            await gateway.aclose()
            await transport.aclose()
            [attempt] = call.account.record.attempts
            costs[tier] = (attempt.cost_usd, attempt.usage)
    usage = costs["default"][1]
    assert usage.input_tokens > 1
    assert costs["default"][0] == Decimal(usage.input_tokens * 50) / 1_000_000, "the vendor served it as `default`"
    assert costs["priority"] == (Decimal(usage.input_tokens + usage.output_tokens) / 1_000_000, usage)
