from __future__ import annotations

import json
from typing import Any

import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service

MESSAGES = [{"role": "user", "content": "hello"}]

BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "got an empty body, expected a JSON object"),
    (b"{bad", "got text that is not JSON at byte 1, expected a JSON object"),
    (b'{"messages": "\xff\xfe"}', "got text that is not UTF-8 at byte 14, expected a JSON object"),
    (b"[1, 2]", "expected an object"),
    (b"[" * 100_000, "nested too deeply"),
    (
        b'{"messages": [{"role": "user", "content": "x"}], "extra": ' + b"[" * 950 + b"]" * 950 + b"}",
        "at most 128 levels",
    ),
    (b'{"messages": []}', "messages: got an empty list, expected at least one message"),
    (b'{"messages": "hi"}', 'messages: got "hi", expected a list'),
    (b'{"messages": [{"role": "wizard", "content": "x"}]}', 'messages[0].role: got "wizard", expected one of system'),
    (b'{"messages": [{"content": "x"}]}', "role"),
    (b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "messages[0].content[0]"),
    (b'{"messages": [{"role": "user", "content": [{}]}]}', "messages[0].content[0].type"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_body_is_told_in_openais_shape(service: Service, body: bytes, message: str) -> None:
    response = service.client.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "got neither of `prompt` and `messages`"),
        ({"prompt": "x", "messages": MESSAGES}, "got both of `prompt` and `messages`"),
        ({"prompt": "  "}, "$.prompt: got an empty prompt"),
        ({"prompt": 7}, "$.prompt: got 7, expected"),
        ({"promt": "x"}, "did you mean `prompt`?"),
        ({"prompt": "x", "max_tokens": "many"}, "$.max_tokens: got"),
    ],
)
def test_a_bad_native_body_is_told_in_our_shape(service: Service, body: dict[str, Any], message: str) -> None:
    for path in ("/route", "/complete"):
        response = service.client.post(path, json=body)
        assert response.status_code == 400
        assert message in response.json()["error"]["message"]
        assert response.json()["error"]["retryable"] is False


def test_a_fault_is_told_where_it_is_whatever_else_the_body_holds(service: Service) -> None:
    body = {"seed": 1, "messages": [{"role": "user", "content": "x", "name": "me"}], "temperature": "hot"}
    error = service.client.post("/v1/chat/completions", json=body).json()["error"]
    assert error["param"] == "temperature"
    assert error["message"].startswith('temperature: got "hot", expected a number')


@pytest.mark.parametrize("kind", [["json_object"], {}, 7])
def test_an_odd_response_format_is_no_defect(service: Service, kind: object) -> None:
    response = service.client.post("/complete", json={"prompt": "x", "response_format": {"type": kind}})
    assert response.status_code < 500


def test_a_very_long_name_is_not_told_whole(service: Service) -> None:
    for body in ({"prompt": "x", "model": "m" * 100_000}, {"prompt": "x", "k" * 100_000: 1}):
        response = service.client.post("/complete", json=body)
        assert response.status_code in {400, 404}
        assert len(response.text) < 2000


def test_what_no_model_can_do_is_the_requests_fault(service: Service) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    body = {"messages": [{"role": "user", "content": [picture]}], "model": "auto:billing"}
    response = service.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "lacks vision" in response.json()["error"]["message"]
    assert "retry-after" not in response.headers


def test_a_list_of_models_holds_model_ids(service: Service) -> None:
    response = service.client.post("/route", json={"prompt": "x", "models": ["auto"]})
    assert response.status_code == 400
    assert "expected model ids alone" in response.json()["error"]["message"]


def test_an_unknown_model_or_route_is_404_with_the_close_names(service: Service) -> None:
    unknown = service.client.post("/v1/chat/completions", json={"messages": MESSAGES, "model": "status-501"})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert "did you mean status-50" in unknown.json()["error"]["message"]
    route = service.client.post("/route", json={"prompt": "x", "model": "auto:biling"})
    assert route.status_code == 404
    assert "did you mean billing?" in route.json()["error"]["message"]


def test_a_body_over_the_limit_is_413(service: Service) -> None:
    response = service.client.post("/route", content=b'{"prompt": "' + b"x" * 11_000_000 + b'"}')
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"
    assert "10000000 bytes" in response.json()["error"]["message"]


def test_a_body_over_the_limit_is_413_however_it_is_sent(service: Service) -> None:
    pieces = (b'{"prompt": "' + b"x" * 1_000_000 for _ in range(11))  # without a length
    response = service.client.post("/v1/chat/completions", content=pieces)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"


def test_a_path_with_a_slash_at_its_end_is_the_same(service: Service) -> None:
    for path in ("/v1/chat/completions", "/v1/chat/completions/"):
        answered = service.client.post(path, json={"messages": MESSAGES})
        assert answered.status_code == 200
        assert answered.json()["object"] == "chat.completion"
        assert "x-semroute-decision" in answered.headers
        refused = service.client.post(path, json={"messages": []})
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_prompt_just_under_the_limit_is_decided(service: Service) -> None:
    response = service.client.post("/route", json={"prompt": "refund " * 1_400_000})
    assert response.status_code == 200


@pytest.mark.parametrize("prompt", ["\x00", "\u202e", "é" * 5000, "🙂" * 1000])
def test_odd_text_is_decided(service: Service, prompt: str) -> None:
    assert service.client.post("/route", json={"prompt": prompt}).status_code == 200


def test_a_lone_surrogate_is_refused_or_decided_but_never_breaks(service: Service) -> None:
    response = service.client.post("/route", content=json.dumps({"prompt": "\ud800"}).encode())
    assert response.status_code in {200, 400}


@pytest.mark.parametrize(
    ("body", "headers", "place"),
    [
        ({"cost_quality": 5}, {}, "cost_quality: got 5"),
        ({"metadata": {"cost_quality": "high"}}, {}, 'metadata.cost_quality: got "high"'),
        ({}, {"x-semroute-cost-quality": "nan"}, 'x-semroute-cost-quality: got "nan"'),
    ],
)
@pytest.mark.parametrize("path", ["/route", "/complete", "/v1/chat/completions", "/v1/messages"])
def test_a_bad_dial_is_refused_everywhere(
    service: Service, path: str, body: dict[str, Any], headers: dict[str, str], place: str
) -> None:
    said: dict[str, Any] = {"model": "ok", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    refused = service.client.post(path, json=said | body, headers=headers)
    assert refused.status_code == 400
    at = "$." if path in ("/route", "/complete") and not headers else ""
    assert refused.json()["error"]["message"] == f"{at}{place}, expected a number from 0 to 1"


def test_an_error_in_a_continued_conversation_counts_the_callers_own_items(service: Service) -> None:
    first = service.client.post("/v1/responses", json={"model": "ok", "input": "Hi"}).json()
    named = {"type": "item_reference", "id": first["output"][0]["id"]}
    for before in ({"previous_response_id": first["id"]}, {}):
        body = {
            "model": "ok",
            "input": [named, {"role": "user", "content": "a"}, {"role": "x", "content": "b"}],
            **before,
        }
        refused = service.client.post("/v1/responses", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[2].role")
        assert refused.json()["error"]["message"].startswith('input[2].role: got "x", expected')


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions"])
def test_the_dial_goes_to_no_provider(service: Service, faults: FaultServer, path: str) -> None:
    body = {"model": "ok", "cost_quality": 0.25, "messages": [{"role": "user", "content": "Hi"}]}
    response = service.client.post(path, json=body)
    assert response.status_code == 200
    assert "cost_quality" not in faults.requests[-1].body


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_an_answer_has_a_token_at_least(service: Service, max_tokens: int) -> None:
    refused = service.client.post("/complete", json={"prompt": "Hi", "max_tokens": max_tokens})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "max_tokens")


def test_the_native_format_takes_all_fields_of_its_page(service: Service) -> None:
    body = {"prompt": "Hi", "strict": True, "cost_quality": 0.25}
    response = service.client.post("/route", json=body)
    assert (response.status_code, response.json()["cost_quality"]) == (200, 0.25)
    message = service.client.post("/complete", json={"prompt": "Hi", "stric": True}).json()["error"]["message"]
    assert "did you mean `strict`?" in message and "`cost_quality`" in message


def test_unknown_paths_and_methods_keep_the_dialect(service: Service) -> None:
    native = service.client.get("/nothing")
    assert (native.status_code, native.json()["error"]["code"]) == (404, "not_found")
    openai = service.client.get("/v1/nothing")
    assert (openai.status_code, openai.json()["error"]["type"]) == (404, "invalid_request_error")
    method = service.client.get("/route")
    assert (method.status_code, method.headers["allow"]) == (405, "POST, OPTIONS")
    assert method.json()["error"]["message"] == "/route: got GET, expected POST or OPTIONS"


def test_the_service_stays_up_after_all_of_this(service: Service) -> None:
    assert service.client.get("/health/live").json() == {"status": "alive"}
    assert "Traceback" not in service.log
