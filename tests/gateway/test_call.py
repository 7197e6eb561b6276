"""What a call does with the policy that it is under."""

from __future__ import annotations

from pathlib import Path

from semroute import Router
from semroute.dialects.openai.embeddings import Embeddings
from semroute.gateway.acting import Whole
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import Completion, Text, TokenLogprob
from semroute.providers.transport import Transport
from tests.vendors.openai import OpenAIVendor
from tests.vendors.server import VendorServer

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
