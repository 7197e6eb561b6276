"""The same calls at the addresses that vendors' libraries insist on."""

from __future__ import annotations

import httpx
import pytest

from semroute.api.path_aliases import PREFIXES, canonical
from tests.providers.scenarios import TEXT
from tests.service import Service

SAY = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("prefix", [*PREFIXES, ""])
def test_a_vendors_prefix_leads_to_the_same_calls(prefix: str) -> None:
    assert canonical(f"{prefix}/chat/completions") == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/openai/v1/models/a/b", "/v1/models/a/b"),
        ("/v1beta/openai/embeddings", "/v1/embeddings"),
        ("/v1/openai/responses/resp_1/input_items", "/v1/responses/resp_1/input_items"),
        ("/api/anthropic/v1/messages", "/v1/messages"),
        ("/inference/v1/completions", "/v1/completions"),
        # What is served as it is.
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/api/chat", "/api/chat"),
        ("/openai/v1", "/openai/v1"),
        ("/openai/v1x/models", "/openai/v1x/models"),
        ("/files", "/files"),
        ("/routes", "/routes"),
        ("/xopenai/v1/models", "/xopenai/v1/models"),
    ],
)
def test_only_what_follows_a_prefix_moves(path: str, served: str) -> None:
    assert canonical(path) == served


def test_nothing_but_the_calls_of_v1_is_behind_a_prefix() -> None:
    assert {served for served in PREFIXES.values()} == {"/v1"}
    for prefix in PREFIXES:
        for path in ("/admin/reload", "/../admin/reload", "//admin/reload", "/%2e%2e/admin"):
            assert canonical(f"{prefix}{path}").startswith("/v1/")


def test_calls_lists_and_errors_are_those_of_openai_behind_a_prefix(service: Service) -> None:
    client = service.client
    for prefix in ("/openai/v1", "/v1beta/openai", "/api/paas/v4", "/compatible-mode/v1", ""):
        whole = client.post(f"{prefix}/chat/completions", json={"model": "ok", "messages": SAY})
        assert whole.json()["choices"][0]["message"]["content"] == TEXT
        streamed = client.post(f"{prefix}/chat/completions", json={"model": "ok", "messages": SAY, "stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert "ok" in [model["id"] for model in client.get(f"{prefix}/models").json()["data"]]
        unknown = client.post(f"{prefix}/chat/completions", json={"model": "nope", "messages": SAY})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    lost = client.get("/openai/v1/nothing")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")


def test_azures_older_addresses_name_the_model(service: Service) -> None:
    def ask(name: str, call: str, **body: object) -> httpx.Response:
        path = f"/openai/deployments/{name}/{call}?api-version=2024-10-21"
        return service.client.post(path, json=body, headers={"api-key": "any"})

    done = ask("ok", "chat/completions", messages=SAY, model="something else")
    assert (done.json()["choices"][0]["message"]["content"], done.headers["x-semroute-model"]) == (TEXT, "ok")
    assert ask("auto:billing", "chat/completions", messages=SAY).headers["x-semroute-route"] == "billing"
    lost = ask("nope", "chat/completions", messages=SAY)
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "model_not_found")
    assert ask("nope", "embeddings", input="x").json()["error"]["code"] == "model_not_found"
