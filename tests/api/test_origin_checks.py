"""Who is let in before a request is read: by unit for what headers may say, and from outside for what is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar.types import HTTPScope

from semroute.access.callers import Access
from semroute.api.origin_checks import OriginGate
from semroute.config.schema.service import Cors
from semroute.errors import ForbiddenError, MediaTypeError
from semroute.settings import Settings
from tests.conftest import ROUTES, models_yaml
from tests.providers.fault_server import FaultServer
from tests.service import Service

OPEN = Settings()
CLOSED = Settings(api_key="caller-key")
HERE = {"host": "127.0.0.1:8000"}
EVIL, FRIEND = "http://evil.example", "https://app.example.com"
CORS = Cors(origins=(FRIEND,))


def refusal(
    settings: Settings,
    headers: dict[str, str] | list[tuple[str, str]],
    method: str = "POST",
    path: str = "/complete",
    client: str = "127.0.0.1",
    cors: Cors | None = CORS,
) -> str:
    """Why a request is refused; empty: it is let in."""
    sent = headers.items() if isinstance(headers, dict) else headers
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "client": (client, 50_000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent],
    }
    gate = OriginGate(Access(settings), lambda: cors)
    found = gate.look(cast("HTTPScope", scope))
    try:
        gate.check(cast("HTTPScope", scope), found, welcome=gate.welcomes(found))
    except (ForbiddenError, MediaTypeError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:1", "[::1]", "[::1]:8000", "127.8.9.1:80"]
)
def test_without_a_key_this_machine_is_served(host: str) -> None:
    assert refusal(OPEN, {"host": host}) == refusal(OPEN, {"host": host}, "GET", "/decisions") == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:8000 evil",
        "192.168.0.1:8000",
        "0.0.0.0:8000",
        "[::2]",
        "127.0.0.1, evil.example",
        "",
        "é",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/messages"), ("GET", "/decisions"), ("GET", "/ui")])
def test_without_a_key_no_other_name_leads_here(host: str, method: str, path: str) -> None:
    told = refusal(OPEN, {"host": host} if host else {}, method, path)
    assert "there is no key, so only programs on this machine are served" in told
    assert "SEMROUTE_API_KEY" in told
    assert refusal(OPEN, {"host": host}, "GET", "/health/live") == ""
    assert refusal(CLOSED, {"host": host}, method, path) == ""


def test_two_hosts_are_no_host() -> None:
    assert "expected localhost" in refusal(OPEN, [("host", "localhost"), ("host", "evil.example")])


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip"]
)
def test_without_a_key_a_proxy_passes_on_nobody_from_elsewhere(header: str) -> None:
    assert "a proxy passes on for '203.0.113.9'" in refusal(OPEN, {**HERE, header: "203.0.113.9"})
    assert refusal(OPEN, {**HERE, header: "127.0.0.1, 203.0.113.9"})
    assert refusal(OPEN, {**HERE, header: "127.0.0.1, ::1"}) == ""
    assert "'203.0.113.9'" in refusal(OPEN, {**HERE, "forwarded": 'for="[::1]:80";host=localhost, For=203.0.113.9'})
    assert refusal(OPEN, {**HERE, "forwarded": 'for="[::1]:80";host=localhost;proto=https'}) == ""
    assert refusal(CLOSED, {**HERE, header: "203.0.113.9"}) == ""


def test_without_a_key_nobody_from_elsewhere_is_served_whatever_the_server_listens_on() -> None:
    assert "a call from 203.0.113.9" in refusal(OPEN, HERE, client="203.0.113.9")
    assert refusal(OPEN, HERE, client="::1") == ""


@pytest.mark.parametrize("settings", [OPEN, CLOSED, Settings(insecure=True)])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("said", "let_in"),
    [
        ({}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "https://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, True),
        ({"origin": FRIEND, "sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": EVIL}, False),
        ({"origin": EVIL, "sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
        ({"origin": "null", "sec-fetch-site": "none"}, False),
        ({"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:3000"}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"}, False),
        ({"origin": FRIEND + ".evil.example"}, False),
        ({"origin": FRIEND.upper()}, False),
    ],
)
def test_pages_of_other_origins_change_nothing(
    settings: Settings, method: str, said: dict[str, str], let_in: bool
) -> None:
    for path in ("/complete", "/v1/chat/completions", "/admin/reload", "/feedback", "/feedback/links"):
        told = refusal(settings, {**HERE, **said}, method, path)
        assert (told == "") is let_in
        assert let_in or "add its origin to `cors: {origins: [...]}`" in told
    assert refusal(settings, {**HERE, **said}, "GET", "/routes") == ""


def test_a_proxy_may_rename_the_host_where_a_key_is_needed() -> None:
    renamed = {**HERE, "origin": "https://gateway.example.com", "sec-fetch-site": "same-origin"}
    assert refusal(CLOSED, renamed) == ""
    assert "web page of 'https://gateway.example.com'" in refusal(OPEN, renamed)


def test_any_page_is_welcome_where_the_route_files_say_so() -> None:
    anywhere = Cors(origins=("*",))
    for origin in (EVIL, "null"):
        assert refusal(CLOSED, {**HERE, "origin": origin}, cors=anywhere) == ""
        assert refusal(CLOSED, {**HERE, "origin": origin}, cors=None)
    assert "expected localhost" in refusal(OPEN, {"host": "evil.example", "origin": EVIL}, cors=anywhere)


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("application/vnd.api+json", True),
        ("application/x-www-form-urlencoded", True),  # what curl's -d says of any body
        ("", True),
        ("text/plain", False),
        ("text/plain;charset=UTF-8", False),
        ("text/plain; application/json", False),
        ("multipart/form-data; boundary=x", False),
        ("application/xml", False),
    ],
)
def test_what_is_said_to_be_something_else_is_not_read_as_json(kind: str, taken: bool) -> None:
    told = refusal(CLOSED, {**HERE, "content-type": kind})
    assert (told == "") is taken
    assert taken or f"content-type: got {kind!r}, expected application/json" in told


def test_a_signed_link_is_all_that_its_page_needs() -> None:
    said = {**HERE, "origin": "null", "content-type": "multipart/form-data; boundary=x"}
    assert refusal(CLOSED, said, path="/feedback/IjAxMjMi.aSvJcA.x-9_Zq") == ""


@pytest.mark.parametrize(
    "path",
    [
        "/feedback/",
        "/feedback//",
        "/feedback/links/",
        "/feedback/0123",
        "/feedback/0123.4",
        "/feedback/..",
        "/feedback/a.b.c/d",
    ],
)
def test_only_what_has_a_signature_is_taken_for_a_signed_link(path: str) -> None:
    for settings in (OPEN, CLOSED):
        assert "a web page of" in refusal(settings, {**HERE, "origin": EVIL}, path=path)
        assert "expected application/json" in refusal(settings, {**HERE, "content-type": "text/plain"}, path=path)


# --- from outside -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(faults: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("gate")
    (folder / "routes").mkdir()
    (folder / "routes" / "models.yaml").write_text(models_yaml(faults.url))
    (folder / "routes" / "routes.yaml").write_text(f"{ROUTES}\ncors: {{origins: ['{FRIEND}']}}\n")
    with Service(folder / "routes", folder / "log", FAULTS_KEY="sk-faults-0123456789") as running:
        yield running


SAY = [{"role": "user", "content": "Hi"}]
CALLS: dict[str, dict[str, Any]] = {
    "/complete": {"prompt": "Hi", "model": "ok"},
    "/v1/chat/completions": {"messages": SAY, "model": "ok"},
    "/v1/messages": {"messages": SAY, "model": "ok", "max_tokens": 9},
    "/v1/responses": {"input": "Hi", "model": "ok"},
    "/v1beta/models/ok:generateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
}


def test_the_start_and_the_health_say_who_is_served(service: Service) -> None:
    assert service.log.count("access is loopback: programs on this machine") == 1
    assert service.client.get("/health/ready").json()["access"] == "loopback"


@pytest.mark.parametrize("path", CALLS)
def test_a_page_that_is_allowed_reads_answers_streams_and_errors(service: Service, path: str) -> None:
    page = {"origin": FRIEND, "sec-fetch-site": "cross-site"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, x-stainless-os"}
    asked = service.client.options(path, headers=page | asks)
    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == FRIEND
    assert asked.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert asked.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    streamed = path.replace(":generate", ":streamGenerate")
    answers = [
        service.client.post(path, json=CALLS[path], headers=page),
        service.client.post(streamed, json={**CALLS[path], "stream": True}, headers=page),
        service.client.post(path, content=b"{", headers={**page, "content-type": "application/json"}),
        service.client.post(path, content=b"{}", headers={**page, "content-type": "text/plain"}),
        service.client.get("/nowhere", headers=page),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 415, 404]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "origin" in answer.headers["vary"].lower()
    for answer in answers[:2]:
        exposed = answer.headers["access-control-expose-headers"]
        assert {"x-semroute-model", "x-semroute-attempts", "x-request-id"} <= set(exposed.split(", "))


@pytest.mark.parametrize("path", CALLS)
def test_other_pages_are_refused_in_the_callers_dialect(service: Service, path: str) -> None:
    asks = service.client.options(path, headers={"origin": EVIL, "access-control-request-method": "POST"})
    refused = [
        service.client.post(path, json=CALLS[path], headers={"origin": EVIL}),
        service.client.post(path, json=CALLS[path], headers={"host": "evil.example"}),
        service.client.post(path, json=CALLS[path], headers={"content-type": "text/plain"}),
    ]
    assert [answer.status_code for answer in (asks, *refused)] == [403, 403, 403, 415]
    assert not any("access-control-allow-origin" in answer.headers for answer in (asks, *refused))
    error = refused[0].json()["error"]
    shape = {"/v1/messages": ("type", "permission_error"), "/complete": ("code", "forbidden")}
    field, word = shape.get(path, ("status", "PERMISSION_DENIED") if "v1beta" in path else ("type", "permission_error"))
    assert error[field] == word
    assert EVIL in error["message"]


def test_what_is_refused_leaves_no_row(service: Service) -> None:
    for path in (*CALLS, "/admin/reload", "/admin/budgets/reset?counter=x", "/feedback"):
        for said in ({"origin": EVIL}, {"host": "evil.example"}, {"content-type": "text/plain"}):
            assert service.client.post(path, content=b"{}", headers=said).status_code in (403, 415)
    assert all(row["allowed"] for row in service.client.get("/admin/audit").json()["audit"])
    assert service.client.get("/decisions?outcome=refused").json()["decisions"] == []
    counted = 'semroute_refused_requests_total{code="unsupported_media_type"}'
    assert counted in service.client.get("/metrics").text


def test_a_page_follows_what_the_route_files_allow(service: Service) -> None:
    """A reload changes who is welcome."""
    other = "https://other.example.com"
    written = service.folder / "routes.yaml"
    before = written.read_text()

    def status() -> int:
        return service.client.post("/complete", json=CALLS["/complete"], headers={"origin": other}).status_code

    assert status() == 403
    try:
        written.write_text(before.replace(FRIEND, other))
        assert service.client.post("/admin/reload").status_code == 200
        assert status() == 200
    finally:
        written.write_text(before)
        assert service.client.post("/admin/reload").status_code == 200
    assert status() == 403


def test_plain_programs_need_say_nothing(service: Service) -> None:
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as bare:
        for kind in ({}, {"content-type": "application/x-www-form-urlencoded"}):
            answer = bare.post("/complete", content=b'{"prompt": "Hi", "model": "ok"}', headers=kind)
            assert answer.status_code == 200
