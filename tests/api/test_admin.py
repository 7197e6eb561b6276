from __future__ import annotations

import datetime
import re

import pytest

from semroute.api import models_endpoints
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.routes import Default
from tests.conftest import SCENARIOS
from tests.service import Service


def test_models_lists_auto_routes_and_models(service: Service) -> None:
    listed = service.client.get("/v1/models").json()
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert ids[:3] == ["auto", "auto:billing", "auto:coding"]
    assert set(SCENARIOS) <= set(ids)
    assert all(model["object"] == "model" for model in listed["data"])


def test_routes_describes_what_is_in_service(service: Service) -> None:
    body = service.client.get("/routes").json()
    billing = body["routes"][0]
    assert billing["name"] == "billing"
    assert billing["description"] == "Invoices, refunds and payment problems."
    assert (billing["utterances"], billing["models"]) == (5, ["ok"])
    assert body["default"] == ["ok"]


def test_ready_names_what_cannot_be_called(service: Service) -> None:
    body = service.client.get("/health/ready").json()
    assert body["status"] == "ready"
    assert "keyless cannot be called: NO_SUCH_KEY is not set" in body["warnings"]


def test_openapi_describes_the_bodies(service: Service) -> None:
    schema = service.client.get("/schema/openapi.json").json()
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["required"] == ["messages"]
    for path in ("/route", "/complete", "/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"):
        body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert {"model", "models", "metadata", "cost_quality"} <= set(body["properties"]), path
    assert {"/route", "/complete", "/v1/models", "/routes", "/health/live", "/admin/reload"} <= set(schema["paths"])


def test_the_page_of_the_schema_loads_nothing(service: Service) -> None:
    page = service.client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "POST /v1/chat/completions" in page.text
    assert "<td><code>messages</code><td>array, required" in page.text
    assert not re.search(r"https?://|<script|<link|@import|url\(", page.text)


def test_one_model_can_be_looked_up(service: Service) -> None:
    found = service.client.get("/v1/models/auto:billing").json()
    assert (found["id"], found["object"], found["metadata"]["description"]) == (
        "auto:billing",
        "model",
        "Invoices, refunds and payment problems.",
    )
    assert service.client.get("/v1/models/ok", headers={"anthropic-version": "2023-06-01"}).json()["type"] == "model"
    missing = service.client.get("/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_probe_may_ask_for_the_head_alone(service: Service, path: str) -> None:
    answer = service.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("name", "written", "told"),
    [
        ("gpt-5-mini", None, "2026-12-11"),
        ("x", datetime.date(2027, 2, 1), "2027-02-01"),
        ("gpt-6-luna", None, ""),
    ],
    ids=["known", "written", "none"],
)
def test_a_model_that_is_shut_down_soon_says_when(name: str, written: datetime.date | None, told: str) -> None:
    model = Model(id="m", provider="p", name=name, shutdown_date=written)
    config = Config(providers={}, models={"m": model}, routes={}, default=Default(models=("m",)))
    assert [listed.shutdown_date for listed in models_endpoints.listed(config, Caller()) if listed.id == "m"] == [told]


def test_a_dry_run_says_what_a_reload_would_change(service: Service) -> None:
    before = service.client.get("/routes").json()["config_version"]
    answer = service.client.post("/admin/reload", params={"dry_run": "true"})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["dry_run"], told["config_version"], told["error"]) == (True, before, None)
    assert told["summary"] == "0 of 10 utterances are decided otherwise (0.0%)"
    assert (told["diff"]["compared"], told["diff"]["changed"]) == (10, 0)
    refused = service.client.post("/admin/reload", params={"dry_run": "perhaps"})
    assert refused.status_code == 400
    assert "dry_run: got 'perhaps', expected true or false" in refused.json()["error"]["message"]
