"""What an error answer says of another try, and how it can be found again."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from semroute.api.error_responses import retry_headers, status_of
from semroute.errors import (
    BudgetError,
    ChecksFailedError,
    LimitError,
    NoModelError,
    OverloadedError,
    PlanExhaustedError,
    ProviderServerError,
    ProviderTimeoutError,
    RateLimitedError,
    RequestError,
    SemrouteError,
)
from tests.execution.rig import rig
from tests.providers.fault_server import FaultServer
from tests.service import Service

LIMITED = RateLimitedError("m")
NO = {"x-should-retry": "false"}


def failed(retry_after_s: float | None = None) -> PlanExhaustedError:
    return PlanExhaustedError("m", last=LIMITED, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("error", "attempts", "headers"),
    [
        # It was tried three times, or by several models: nothing is known that would make another try better.
        (failed(), 3, NO),
        (PlanExhaustedError("m", last=ProviderServerError("m", status=500)), 3, NO),
        (ChecksFailedError("m"), 2, NO),
        # Of several models, one can be asked again: soon, or later than clients wait for.
        (failed(2.5), 4, {"retry-after": "3"}),
        (failed(600), 4, {"retry-after": "600", **NO}),
        # It was tried once: a client may try again, at the right time where that is known.
        (failed(30), 1, {"retry-after": "30"}),
        (failed(), 1, {"retry-after": "1"}),
        (PlanExhaustedError("m", last=ProviderTimeoutError("m")), 1, {}),
        # No model was asked.
        (NoModelError({"m": "its circuit breaker is open"}, retry_after_s=8), 0, {"retry-after": "8"}),
        (NoModelError({"m": "NO_KEY is not set"}), 0, NO),
        (OverloadedError("m"), 0, {"retry-after": "1"}),
        (LimitError("m", retry_after_s=40), 0, {"retry-after": "40"}),
        (BudgetError("m", retry_after_s=4000), 0, {"retry-after": "4000"}),
        (RequestError("m"), 0, {}),
        (SemrouteError("m"), 0, NO),
    ],
)
def test_a_client_tries_again_where_that_helps(error: SemrouteError, attempts: int, headers: dict[str, str]) -> None:
    assert retry_headers(error, status_of(error), attempts) == headers


async def test_a_pause_is_told_that_was_too_long_to_wait_for(faults: FaultServer) -> None:
    async with rig(faults) as running:
        error = await running.error("retry-after-600", "status-500")
        assert isinstance(error, PlanExhaustedError)
        assert error.retry_after_s == 600
        error = await running.error("status-429", "status-500")
        assert isinstance(error, PlanExhaustedError)
        assert error.retry_after_s is None


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/complete"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_for_good_is_not_worth_another_try(service: Service, path: str, stream: bool) -> None:
    said = [{"role": "user", "content": "Hi"}]
    inputs: dict[str, dict[str, Any]] = {"/v1/responses": {"input": "Hi"}, "/v1/completions": {"prompt": "Hi"}}
    asked = inputs.get(path, {"messages": said, "max_tokens": 9})
    body = {"model": "status-429", "stream": stream, **asked}
    response = service.client.post(path, json=body)
    assert (response.status_code, response.headers["x-semroute-attempts"]) == (429, "3")
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers


# --- errors before a decision -----------------------------------------------------------------------------------------

PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/ok:generateContent", "/complete"]
WRONG: dict[str, tuple[int, dict[str, Any]]] = {
    "no JSON": (400, {"content": b"{"}),
    "too large": (413, {"content": b" " * 11_000_000}),
    "another type": (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    "another host": (403, {"content": b"{}", "headers": {"host": "example.com"}}),
    "another site": (403, {"content": b"{}", "headers": {"origin": "https://example.com"}}),
    "another method": (405, {"method": "PUT"}),
    "an empty key": (400, {"content": b"{}", "headers": {"idempotency-key": ""}}),
}


SAID = {"model": "nothing", "messages": [{"role": "user", "content": "Hi"}]}
UNKNOWN: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SAID,
    "/v1/responses": {"model": "nothing", "input": "Hi"},
    "/v1/messages": {**SAID, "max_tokens": 9},
    "/v1beta/models/nothing:generateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
    "/complete": {"model": "nothing", "prompt": "Hi"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_before_a_decision_has_an_id(service: Service, path: str, wrong: str) -> None:
    status, asked = WRONG[wrong]
    request: dict[str, Any] = {"method": "POST", "url": path, **asked}
    response = service.client.request(**request)
    assert response.status_code == status
    found(response, path)


@pytest.mark.parametrize(("path", "body"), UNKNOWN.items())
def test_an_unknown_model_has_an_id(service: Service, path: str, body: dict[str, Any]) -> None:
    response = service.client.post(path, json=body)
    assert response.status_code == 404
    found(response, path)


def found(response: httpx.Response, path: str) -> None:
    request_id = response.headers["x-request-id"]
    assert len(request_id) > 10
    assert response.headers["request-id"] == request_id
    assert "x-semroute-decision" not in response.headers
    body = json.loads(response.content)
    if path.startswith("/v1/messages"):
        assert body["request_id"] == request_id
    else:  # the others have no field for it
        assert set(body) == {"error"}


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing", "/nothing"])
def test_a_path_that_is_none_has_an_id(service: Service, path: str) -> None:
    response = service.client.post(path, content=b"{}")
    assert response.status_code == 404
    found(response, path)


def test_each_request_has_an_id_of_its_own(service: Service) -> None:
    ids = {service.client.post("/v1/messages", content=b"{").headers["request-id"] for _ in range(3)}
    assert len(ids) == 3
