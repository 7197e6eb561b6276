from __future__ import annotations

import json

import pytest

from semroute.dialects.shared.error_bodies import PAGE
from semroute.providers.error_redaction import HIDDEN, SOMEWHERE, place_of, redacted
from semroute.providers.http_provider import MAX_QUOTED_BYTES


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        ("http://10.0.0.5:8000/v1", "no route to http://10.0.0.5:8000/v1, try later"),
        ("http://user:secret@10.0.0.5:8000/v1/", "no route to http://user:secret@10.0.0.5:8000/v1, try later"),
        ("http://user:secret@10.0.0.5:8000/v1", "no route to http://10.0.0.5:8000/v1, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5:8000, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5 port 8000, try later"),
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5 Port: 8000, try later"),
        ("http://10.0.0.5:8000", "no route to 10.0.0.5', port=8000, try later"),  # requests: host='…', port=8000
        ("http://10.0.0.5:8000/v1", "no route to 10.0.0.5, try later"),
        ("https://api.example.com/v1", "no route to API.Example.com:443, try later"),
        ("https://api.example.com/v1", "no route to https://api.example.com/v1, try later"),
        ("http://[::1]:8000/v1", "no route to [::1]:8000, try later"),
        ("http://[::1]:8000/v1", "no route to ::1, try later"),
        ("http://vllm:8000/v1", "no route to vllm:8000, try later"),
        ("http://vllm:8000/v1", "no route to http://vllm, try later"),
        ("http://vllm:8000/v1", "no route to 172.18.0.4:8000, try later"),
        ("http://vllm:8000/v1", "no route to http:\\/\\/172.18.0.4:8000\\/v1, try later"),
        ("https://api.example.com/v1", "no route to https:\\/\\/api.example.com\\/v1, try later"),
        ("https://api.example.com/v1", "no route to https%3A%2F%2Fapi.example.com%2Fv1, try later"),
    ],
)
def test_an_address_is_found_however_it_is_written(base_url: str, text: str) -> None:
    place = place_of(base_url)
    assert place is not None
    assert place.sub(SOMEWHERE, text) == "no route to the provider, try later"


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        ("http://ollama:11434", "ollama does not know the model; 11434 tokens"),
        ("https://api.example.com/v1", "see https://docs.example.com or write to help@myapi.example.com"),
        ("https://api.example.com/v1", "see https://api.example.community/443"),
        ("http://10.0.0.5:8000/v1", "the picture at http://110.0.0.5:80/x.png cannot be read"),
        ("http://10.0.0.5:8000/v1", "at most 8000 tokens"),
    ],
)
def test_what_is_no_address_of_it_stays(base_url: str, text: str) -> None:
    place = place_of(base_url)
    assert place is not None
    assert place.sub(SOMEWHERE, text) == text


@pytest.mark.parametrize("base_url", ["", "nowhere", "http://", "http://[::1/v1", "http://host:99999999/v1"])
def test_an_address_that_cannot_be_read_is_found_nowhere(base_url: str) -> None:
    assert place_of(base_url) is None


@pytest.mark.parametrize("text", ["10.0.0.5" + " " * 60_000, "http://" + "a" * 60_000, "10.0.0." * 10_000])
def test_a_long_text_is_looked_through_once(text: str) -> None:
    place = place_of("http://10.0.0.5:8000/v1")
    assert place is not None
    assert place.sub(SOMEWHERE, text).endswith(text[-1])


INNER = [
    "http://10.0.3.4:8080/v1/chat",
    "http://10.0.3.4/v1",
    "https://gpu-7.corp/v1?key=1",
    "http://vllm-0/v1",
    "http://user:word@vllm-0:8000/v1",
    "https://api.example.com:8443/v1",
    "grpc://embedder:50051",
    "http://[fd00::7]:8000/v1",
    "10.0.3.4",
    "10.0.3.4:8080",
    "192.168.1.20",
    "172.18.0.4:80",
    "127.0.0.1:9000",
    "203.0.113.9:8000",
    "[fd00:12:34::7]:8000",
    "fe80:0:0:0:1:2:3:4",
    "localhost:11434",
    "localhost",
    "vllm.default.svc.cluster.local:8000",
    "gpu-7.internal",
    "api.example.com:8443",
    "vllm-0:8000",
    "host='vllm-0', port=8000",
    "host=vllm-0",
    "[fd00::12]:8000",
    "2001:db8::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.5",
    "::1:8000",
    "http%3A%2F%2F10.2.3.4%3A8000%2Fv1",
    "http:%2F%2Fvllm%3A8000",
    "http:\\/\\/10.2.3.4:8000\\/v1",
    "http:\\u002f\\u002f10.2.3.4:8000\\u002fv1",
    "ip-10-0-1-23",
    "ip-10-0-1-23.eu-west-1.compute.internal",
    "unix:///run/vllm.sock",
]
KEYS = [
    "sk-proj-0123456789abcdef",
    "sk-ant-api03-*********wxyz",
    "Bearer abc.def-0123456789",
    "gsk_0123456789abcdefgh",
    "xai-0123456789abcdefgh",
    "AIzaSyA0123456789abcdefghijklmnop",
    "AKIA0123456789ABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "org-AbCdEfGh0123456789",
    "proj_AbCdEfGh0123456789",
    "arn:aws:iam::123456789012:role/gateway",
    "ghp_0123456789abcdefghij",
    "xoxb-0123456789-abcdef",
    "gateway@acme-prod.iam.gserviceaccount.com",
]


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("told", [*INNER, *KEYS])
def test_what_only_the_owner_may_know_is_hidden(told: str, is_json: bool) -> None:
    if is_json and "\\" in told:  # it is in the form that JSON gives it
        return
    for text in (f"cannot connect to {told}", f"cannot connect to {told} now", f'cannot connect to "{told}"'):
        written = json.dumps({"message": text}) if is_json else text
        found = redacted(written, is_json=is_json)
        expected = text.replace(told, HIDDEN)
        assert (json.loads(found)["message"] if is_json else found) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Project 123456789012 has no access", "Project [hidden] has no access"),
        ("denied for account_id: 'acme-42-eu'", "denied for account_id: '[hidden]'"),
        ("in organization org-AbCdEfGh0123456789 on tokens", "in organization [hidden] on tokens"),
        ("projects/acme-prod/locations/us", "projects/[hidden]/locations/us"),
        ('{"project_number": "123456789012"}', '{"project_number": "[hidden]"}'),
        ("HTTPConnectionPool(host='vllm-0', port=8000): refused", "HTTPConnectionPool([hidden]): refused"),
        ("cannot reach vllm-0:8000, node gpu-7:30000", "cannot reach [hidden], node [hidden]"),
        ("getaddrinfo ENOTFOUND gpu-7.example.com", "getaddrinfo ENOTFOUND [hidden]"),
        ('upstream: "http://gpu-7.example.com/v1"', 'upstream: "[hidden]"'),
        ("GET https://example.com/v1?api_key=abcd1234&x=1", "GET https://example.com/v1?api_key=[hidden]&x=1"),
        ("GET /v1?x=1\\u0026access_token=abcd now", "GET /v1?x=1\\u0026access_token=[hidden] now"),
        ("GET %2Fv1%3Fkey%3Dabcd%26x%3D1", "GET %2Fv1%3Fkey%3D[hidden]%26x%3D1"),
        ("Authorization: Basic dXNlcjp3b3Jk", "Authorization: Basic [hidden]"),
        ("Incorrect API key provided: abcd****wxyz.", "Incorrect API key provided: [hidden]"),
        ("the api key 0123456789abcdef is invalid", "the api key [hidden] is invalid"),
        ("x-api-key: 0123456789abcdef", "x-api-key: [hidden]"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPx", "aws_secret_access_key=[hidden]"),
        ("/subscriptions/0b1f-6471/resourceGroups/prod/x", "/subscriptions/[hidden]/x"),
        ("status 502: <!DOCTYPE html><html><h1>nginx at gpu-7</h1>", "status 502: an HTML page"),
        ('upstream said <html lang="en">\n<body>gpu-7', "upstream said an HTML page"),
    ],
)
def test_accounts_and_pages_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_a_page_inside_json_leaves_it_json() -> None:
    body = json.dumps({"error": {"message": 'upstream: <html lang="en">\n gpu-7</html>', "code": "bad_gateway"}})
    said = {"error": {"message": "upstream: an HTML page", "code": "bad_gateway"}}
    assert json.loads(redacted(body, is_json=True)) == said


@pytest.mark.parametrize(
    "text",
    [
        "ask your org-administrators about sk-learn-helpers",
        "see https://platform.openai.com/account/api-keys for help",
        "https://docs.example.com/errors#context_length",
        "Rate limit reached for gpt-6 on tokens per min (TPM): Limit 30000, Used 29000",
        "max_tokens:4096 is too large, try again at 12:30:45 or at 2026-11-30T12:30:00Z",
        "messages.0.content.1: Input should be a valid string",
        "'messages[3].tool_calls' must be followed by tool messages for call_0123456789abcdef",
        "the project has no access, and its organization must be verified",
        "std::runtime_error in task-0123456789: a<b and c>d",
        "vLLM 0.6.3.1 does not know the image at http://example.com/x.png",
        "expected a::b, std::vector::iterator, add::dead, 1:2:3:4, de:ad:be:ef and 12:30:00:123",
        "the value <head of state> is invalid at line:4000, expected it at data:1234",
        "the API key must be at least 8 characters, api_key: expected a string; model llama3:70b",
        "tokens?limit=5&monkey_business and x?key of it",
        "request id 7f6d2c1e-8a1b-4c3d-9e0f-123456789012",
    ],
)
@pytest.mark.parametrize("is_json", [False, True])
def test_what_callers_need_stays(text: str, is_json: bool) -> None:
    assert redacted(text, is_json=is_json) == text


@pytest.mark.parametrize(
    "piece", ["a.", "a:", "1.", "::", "http://", "sk-", "account ", "<html ", "@a", "host=", "-a.", "a-"]
)
def test_a_hostile_error_is_looked_through_once(piece: str) -> None:
    text = piece * (MAX_QUOTED_BYTES // len(piece))
    assert redacted(f"{text} 10.0.0.5").endswith((HIDDEN, PAGE))
