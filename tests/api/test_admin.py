from __future__ import annotations

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
    assert {"/route", "/complete", "/v1/models", "/routes", "/health/live", "/admin/reload"} <= set(schema["paths"])
    assert service.client.get("/schema").status_code == 200
