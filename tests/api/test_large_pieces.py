"""Pieces of a stream that take long to write hold nobody up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from semroute.api import completions
from semroute.api.app import create_app
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.anthropic.client_stream import AnthropicStream
from semroute.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

ROUTES = "providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}\ndefault: {models: [m]}\n"
ASKED = {"model": "m", "max_tokens": 99, "stream": True, "messages": [{"role": "user", "content": "one two three"}]}


def on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize(("most", "here"), [(0, False), (10_000, True)])
async def test_what_takes_long_is_written_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, here: bool
) -> None:
    (tmp_path / "all.yaml").write_text(ROUTES)
    settings = Settings(routes=str(tmp_path), database_url="memory:", api_key="k", metrics=False, decision_log=False)
    seen = dict[str, set[bool]]()

    def noted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def written(*arguments: Any) -> Any:
            seen.setdefault(name, set()).add(on_a_loop())
            return original(*arguments)

        monkeypatch.setattr(owner, name, written)

    monkeypatch.setattr(completions, "MANY_PARTS", most)
    monkeypatch.setattr(completions, "LONG_STREAM_PARTS", most)
    noted(AnthropicStream, "chunk")
    noted(AnthropicStream, "end")
    noted(Anthropic, "render_completion")
    async with AsyncTestClient(create_app(settings)) as client:
        answer = await client.post("/v1/messages", json=ASKED, headers={"x-api-key": "k"})
        whole = await client.post("/v1/messages", json={**ASKED, "stream": False}, headers={"x-api-key": "k"})
    assert "message_stop" in answer.text and whole.status_code == 200
    assert seen["render_completion"] == {here}
    assert seen["end"] == {here}
    assert here in seen["chunk"]
