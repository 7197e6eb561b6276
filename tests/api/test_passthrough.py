"""Files, batches and moderations, passed on to a provider."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
from litestar.testing import TestClient

from semroute.access.api_keys import KeyStore
from semroute.api.app import create_app
from semroute.caller import Caller
from semroute.providers.raw_forwarding import PassingProvider
from semroute.settings import Settings
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.service import Service, until
from tests.vendors.files import LARGE_BYTES, USAGE, FilesVendor

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

ROUTES = """
providers:
  main: {{dialect: openai, base_url: "{url}", api_key: sk-main-0123456789, headers: {{openai-organization: org-7}},
         passthrough: true}}
  other: {{dialect: responses, base_url: "{url}", api_key: sk-other-0123456789}}
  tight: {{dialect: openai, base_url: "{url}", api_key: sk-tight-0123456789, limits: {{rpm: 2, queue: 0}}}}
  single: {{dialect: openai, base_url: "{url}", api_key: sk-single-0123456789, limits: {{concurrency: 1}}}}
  claude: {{dialect: anthropic, base_url: "{url}", api_key: sk-claude-0123456789}}
  closed: {{dialect: openai, base_url: "{url}", api_key: sk-closed-0123456789, passthrough: false}}
  keyless: {{dialect: openai, base_url: "{url}", api_key: "${{NO_SUCH_KEY}}"}}
models:
  small: {{provider: main, name: gpt-x, input_price: 1, output_price: 2}}
  halved: {{provider: other, name: gpt-x, input_price: 1, output_price: 2, batch_share: 0.25}}
  close: {{provider: tight, name: gpt-y}}
  guard: {{provider: other, name: omni-moderation-x}}
default: {{models: [small]}}
"""
KEYS = {
    "plain": Caller(scopes=("route", "complete")),
    "model": Caller(scopes=("route", "complete"), models=("small",)),
    "money": Caller(scopes=("route", "complete"), usd_per_day=Decimal(5)),
    "allowed": Caller(scopes=("route", "complete", "passthrough"), models=("small",)),
    "routes only": Caller(scopes=("route",)),
    "slow": Caller(scopes=("route", "complete"), requests_per_minute=1),
    "one": Caller(scopes=("route", "complete"), concurrency=1),
    "tokens": Caller(scopes=("route", "complete"), tokens_per_minute=1000),
    "mine": Caller(scopes=("route", "complete")),
    "theirs": Caller(scopes=("route", "complete")),
    "ann": Caller(scopes=("route", "complete"), team="search"),
    "bob": Caller(scopes=("route", "complete"), team="search"),
    "eve": Caller(scopes=("route", "complete"), team="ads"),
    "admin": Caller(),
}
MAX_UPLOAD_BYTES = 8_000_000


class Served(NamedTuple):
    service: Service
    vendor: FilesVendor
    keys: dict[str, str]

    def call(self, method: str, path: str, key: str = "admin", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[key]}", **more.pop("headers", {})}
        return self.service.client.request(method, path, headers=headers, **more)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("passthrough")
    (folder / "routes").mkdir()
    database = SqliteDatabase(folder / "semroute.db")
    migrate(database)
    keys = {name: KeyStore(database).create(caller)[0] for name, caller in KEYS.items()}
    database.close()
    with FilesVendor() as vendor:
        (folder / "routes" / "all.yaml").write_text(ROUTES.format(url=vendor.url))
        limits = {"SEMROUTE_MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES), "SEMROUTE_MAX_BODY_BYTES": "1000000"}
        options = {**limits, "SEMROUTE_MAX_BODIES_BYTES": "1000000", "SEMROUTE_KEEP_RESPONSES_H": "0"}
        with Service(folder / "routes", folder / "log", **options) as service:
            yield Served(service, vendor, keys)


def test_a_file_is_uploaded_as_it_is_with_our_key_and_no_other_header(served: Served) -> None:
    data = b"\x00\xff" * 1000
    answer = served.call(
        "POST",
        "/v1/files?purpose=batch",
        files={"file": ("a.jsonl", data)},
        data={"purpose": "batch"},
        headers={"cookie": "mine", "openai-organization": "mine", "x-mine": "1", "openai-beta": "x"},
    )
    assert answer.json() == {"id": "file-1", "object": "file", "bytes": len(served.vendor.last.body)}
    seen = served.vendor.last
    assert (seen.method, seen.path) == ("POST", "/v1/files?purpose=batch")
    assert data in seen.body
    assert seen.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert seen.headers["authorization"] == "Bearer sk-main-0123456789"
    assert seen.headers["openai-organization"] == "org-7"
    assert served.keys["admin"] not in str(seen)
    assert not {"cookie", "x-mine", "openai-beta", "x-forwarded-for"} & seen.headers.keys()
    assert not {"set-cookie", "x-their-account"} & {name.lower() for name in answer.headers}
    assert answer.headers["x-semroute-provider"] == "main"


def test_uploads_may_be_larger_than_bodies_and_are_bounded(served: Served) -> None:
    form = {"content-type": "multipart/form-data; boundary=b"}
    assert served.call("POST", "/v1/files", content=b"x" * 7_000_000, headers=form).json()["bytes"] == 7_000_000
    pieces = (b"y" * 100_000 for _ in range(50))
    assert served.call("POST", "/v1/files", content=pieces, headers=form).json()["bytes"] == 5_000_000
    assert served.vendor.last.headers["transfer-encoding"] == "chunked"
    assert set(served.vendor.last.body) == {ord("y")}
    before = len(served.vendor.seen)
    whole = served.call("POST", "/v1/files", content=b"x" * (MAX_UPLOAD_BYTES + 1), headers=form)
    assert (whole.status_code, len(served.vendor.seen)) == (413, before)
    growing = served.call("POST", "/v1/files", content=(b"y" * 100_000 for _ in range(100)), headers=form)
    assert growing.status_code == 413
    assert "over the limit of 8000000 bytes" in growing.json()["error"]["message"]
    assert served.call("POST", "/v1/batches", content=b"x" * 1_000_001, headers=form).status_code == 415
    assert served.call("POST", "/v1/moderations", json={"input": "x" * 1_000_001}).status_code == 413


def test_a_compressed_upload_is_refused_as_it_is_passed_on_unread(served: Served) -> None:
    before, form = len(served.vendor.seen), {"content-type": "multipart/form-data; boundary=b"}
    packed = served.call("POST", "/v1/files", content=b"x", headers={**form, "content-encoding": "gzip"})
    assert (packed.status_code, len(served.vendor.seen)) == (415, before)
    assert "content-encoding: got 'gzip', expected none" in packed.json()["error"]["message"]
    plain = served.call("POST", "/v1/files", content=b"x" * 2_000_000, headers={**form, "content-encoding": "identity"})
    assert plain.json()["bytes"] == 2_000_000


def test_a_provider_that_answers_before_the_end_is_heard(served: Served) -> None:
    form = {"content-type": "multipart/form-data; boundary=b"}
    answer = served.call("POST", "/v1/files?early=1", content=b"x" * 7_000_000, headers=form)
    assert (answer.status_code, answer.json()["error"]["message"]) == (413, "too large for us")
    assert served.call("GET", "/v1/files").status_code == 200


def test_a_file_is_downloaded_in_pieces(served: Served) -> None:
    process = psutil.Process(served.service.process.pid)
    before = process.memory_info().rss
    with served.service.client.stream(
        "GET", "/v1/files/file-large/content", headers={"authorization": f"Bearer {served.keys['admin']}"}
    ) as answer:
        size = sum(len(piece) for piece in answer.iter_bytes())
        grown = process.memory_info().rss - before
    assert size == LARGE_BYTES
    assert answer.headers["content-type"] == "application/jsonl"
    assert grown < LARGE_BYTES / 2
    html = served.call("GET", "/v1/files/file-html/content")
    assert html.text == "<script>alert(1)</script>"
    assert html.headers["content-disposition"] == "attachment"
    assert html.headers["x-content-type-options"] == "nosniff"
    odd = served.call("GET", "/v1/files/file-odd/content")
    assert (odd.status_code, odd.text, odd.headers["content-type"]) == (200, "odd", "application/octet-stream")


def test_a_download_that_is_cut_does_not_look_whole(served: Served) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        served.call("GET", "/v1/files/file-cut/content")


def test_a_caller_who_leaves_ends_the_call(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.keys['admin']}"}
    with served.service.client.stream("GET", "/v1/files/file-endless/content", headers=headers) as answer:
        pieces = answer.iter_bytes()  # without a name, it would be closed at once, and the call with it
        assert next(pieces)
    assert served.vendor.gone.wait(60)


def test_a_caller_who_leaves_behind_an_upload_ends_the_call(served: Served) -> None:
    head = (
        "POST /v1/files?hang=1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        f"authorization: Bearer {served.keys['one']}\r\ncontent-length: 100000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.service.port)) as caller:
        caller.sendall(head.encode() + b"x" * 100_000)
        assert until(lambda: "hang" in served.vendor.last.path)
        assert served.call("GET", "/v1/files", "one").status_code == 429
    assert until(lambda: served.call("GET", "/v1/files", "one").status_code == 200, 30)


def test_all_calls_reach_their_places(served: Served) -> None:
    calls = [
        ("GET", "/v1/files?limit=2&after=file-9&provider=main", "/v1/files?limit=2&after=file-9"),
        ("GET", "/v1/files/file-1", "/v1/files/file-1"),
        ("DELETE", "/v1/files/file-1", "/v1/files/file-1"),
        ("GET", "/v1/files/file-1/content", "/v1/files/file-1/content"),
        ("POST", "/v1/batches", "/v1/batches"),
        ("GET", "/v1/batches", "/v1/batches"),
        ("GET", "/v1/batches/b", "/v1/batches/b"),
        ("POST", "/v1/batches/b/cancel", "/v1/batches/b/cancel"),
        ("POST", "/openai/v1/moderations", "/v1/moderations"),
    ]
    for method, path, reached in calls:
        body = {"a": 1} if method == "POST" and "cancel" not in path else None
        answer = served.call(method, path, json=body) if body else served.call(method, path)
        assert answer.status_code == 200, answer.text
        assert (served.vendor.last.method, served.vendor.last.path) == (method, reached)
        assert json.loads(served.vendor.last.body or b"null") == body


def test_a_provider_is_named_or_the_one_that_the_route_files_choose(served: Served) -> None:
    def key_of(path: str = "/v1/moderations", headers: dict[str, str] | None = None, **body: Any) -> str:
        answer = served.call("POST", path, json={"input": "x", **body}, headers=headers or {})
        assert answer.status_code == 200, answer.text
        return served.vendor.last.headers["authorization"].removeprefix("Bearer ")

    assert key_of() == "sk-main-0123456789"
    assert key_of(path="/v1/moderations?provider=other") == "sk-other-0123456789"
    assert served.vendor.last.path == "/v1/moderations"
    assert key_of(headers={"x-semroute-provider": "other"}) == "sk-other-0123456789"
    assert "x-semroute-provider" not in served.vendor.last.headers
    assert key_of(model="guard") == "sk-other-0123456789"
    assert json.loads(served.vendor.last.body) == {"input": "x", "model": "omni-moderation-x"}
    assert key_of(model="omni-moderation-latest") == "sk-main-0123456789"
    assert json.loads(served.vendor.last.body)["model"] == "omni-moderation-latest"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/files?provider=nowhere", 404, "expected one that does: main, other, tight, single, keyless"),
        ("/v1/files?provider=claude", 404, "does not take files"),
        ("/v1/files?provider=closed", 404, "does not take files"),
        ("/v1/files?provider=http://127.0.0.1:9/", 404, "does not take files"),
        ("/v1/files?provider=keyless", 503, "NO_SUCH_KEY"),
        ("/v1/files/..", 404, ""),
        ("/v1/files/%2e%2e", 404, ""),
        ("/v1/files/a%2fb", 404, ""),
        ("/v1/files/..%2f..%2fadmin/content", 404, ""),
        ("/v1/files/a%3fb", 404, "expected letters, digits"),
        ("/v1/files/a%0d%0ax:%20y", 404, "expected letters, digits"),
        ("/v1/files/%23a/content", 404, "expected letters, digits"),
    ],
)
def test_nothing_but_a_providers_own_calls_can_be_reached(served: Served, path: str, status: int, words: str) -> None:
    before = len(served.vendor.seen)
    answer = served.call("GET", path)
    assert (answer.status_code, len(served.vendor.seen)) == (status, before)
    assert words in answer.json()["error"]["message"]


def test_refusals_are_the_providers_own_and_tell_nothing_of_ours(served: Served) -> None:
    lost = served.call("GET", "/v1/files/file-none")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "gone")
    busy = served.call("GET", "/v1/files/file-busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    key = served.call("GET", "/v1/files/file-key")
    assert key.status_code == 502
    assert "got the key" in key.text
    assert "sk-main" not in key.text
    assert served.vendor.url.split("/")[2] not in key.text
    inner = served.call("GET", "/v1/files/file-inner")
    assert (inner.status_code, inner.json()["error"]["message"]) == (409, "locked by [hidden] for [hidden]")


def test_a_key_with_limits_that_do_not_hold_there_needs_the_scope(served: Served) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/moderations", {"json": {"input": "x"}}),
        ("POST", "/v1/files", {"files": {"file": b"x"}}),
        ("GET", "/v1/files", {}),
        ("GET", "/v1/files/file-1", {}),
        ("GET", "/v1/files/file-1/content", {}),
        ("DELETE", "/v1/files/file-1", {}),
        ("POST", "/v1/batches", {"json": {"id": "file-1"}}),
        ("GET", "/v1/batches", {}),
        ("GET", "/v1/batches/file-1", {}),
        ("POST", "/v1/batches/file-1/cancel", {}),
    ]
    for key, allowed in (("plain", 1), ("admin", 1), ("allowed", 1), ("model", 0), ("money", 0), ("routes only", 0)):
        before = len(served.vendor.seen)
        statuses = {served.call(method, path, key, **more).status_code for method, path, more in calls}
        assert (statuses, len(served.vendor.seen) - before) == ({200} if allowed else {403}, allowed * len(calls))
    assert "may not use files" in served.call("GET", "/v1/files", "model").json()["error"]["message"]
    assert served.service.client.get("/v1/files").status_code == 401


def test_limits_of_requests_count_these_calls_too(served: Served) -> None:
    assert served.call("GET", "/v1/files", "slow").status_code == 200
    limited = served.call("GET", "/v1/files", "slow")
    assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_the_tokens_of_a_batch_do_not_count_as_tokens_of_the_minute(served: Served) -> None:
    make(served, "tokens", "batch-late", "batches")
    assert served.call("GET", "/v1/batches/batch-late", "tokens").json()["usage"] == USAGE
    chat = {"model": "small", "messages": [{"role": "user", "content": "x"}], "max_tokens": 500}
    assert served.call("POST", "/v1/chat/completions", "tokens", json=chat).status_code == 502  # this vendor has none


def test_a_vendor_may_say_created(served: Served) -> None:
    def create() -> httpx.Response:
        body = {"id": "batch-new", "metadata": "created"}
        return served.call("POST", "/v1/batches", "mine", json=body, headers={"idempotency-key": "created"})

    first = create()
    assert first.status_code == 201
    assert until(lambda: create().headers.get("idempotent-replayed") == "true")
    assert served.call("GET", "/v1/batches/batch-new", "mine").status_code == 200  # it is known to be the caller's


def test_limits_of_requests_at_once_count_these_calls_too(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.keys['one']}"}
    make(served, "one", "file-endless")
    with served.service.client.stream("GET", "/v1/files/file-endless/content", headers=headers) as answer:
        pieces = answer.iter_bytes()  # without a name, it would be closed at once, and the call with it
        assert next(pieces)
        limited = served.call("GET", "/v1/files", "one")
        assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert until(lambda: served.call("GET", "/v1/files", "one").status_code == 200)


def test_limits_of_the_provider_count_these_calls_too(served: Served) -> None:
    assert served.call("GET", "/v1/files?provider=tight").status_code == 200
    assert served.call("POST", "/v1/files?provider=tight", files={"file": b"x"}).status_code == 200
    seen = len(served.vendor.seen)
    for method, path in (("POST", "/v1/batches?provider=tight"), ("GET", "/v1/files/f?provider=tight")):
        limited = served.call(method, path)
        assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert "its provider tight, 2 requests a minute, is used up" in limited.json()["error"]["message"]
        assert 0 < int(limited.headers["retry-after"]) <= 30
    chat = {"model": "close", "messages": [{"role": "user", "content": "x"}]}
    assert "its provider tight" in served.call("POST", "/v1/chat/completions", json=chat).json()["error"]["message"]
    assert len(served.vendor.seen) == seen


def test_limits_of_the_provider_at_once_count_these_calls_too(served: Served) -> None:
    headers = {"authorization": f"Bearer {served.keys['admin']}"}
    path = "/v1/files/file-endless/content?provider=single"
    with served.service.client.stream("GET", path, headers=headers) as answer:
        pieces = answer.iter_bytes()  # without a name, it would be closed at once, and the call with it
        assert next(pieces)
        limited = served.call("GET", "/v1/files?provider=single")
        assert limited.status_code == 429
        assert "1 calls to its provider single are under way" in limited.json()["error"]["message"]
    assert until(lambda: served.call("GET", "/v1/files?provider=single").status_code == 200)


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/batches/b/cancel", "/v1/moderations"])
def test_an_idempotency_key_sends_a_call_once(served: Served, path: str) -> None:
    def call(key: str = "mine", *, query: str = "", **body: str) -> httpx.Response:
        headers = {"idempotency-key": f"once {path}"}
        return served.call("POST", path + query, key, json={"model": "x", **body}, headers=headers)

    served.call("POST", "/v1/batches", "mine", json={"id": "b"})
    served.call("POST", "/v1/batches?provider=other", "mine", json={"id": "b"})
    seen, first = len(served.vendor.seen), call()
    assert first.status_code == 200
    assert until(lambda: call().headers.get("idempotent-replayed") == "true")
    again = call()
    assert (again.content, again.headers["x-semroute-decision"]) == (
        first.content,
        first.headers["x-semroute-decision"],
    )
    assert len(served.vendor.seen) == seen + 1
    for other in (call(metadata="y"), call(query="?provider=other")):
        assert (other.status_code, len(served.vendor.seen)) == (422, seen + 1)
    assert call("admin").status_code == 200
    assert len(served.vendor.seen) == seen + 2


def test_a_call_that_failed_is_sent_again_for_the_same_idempotency_key(served: Served) -> None:
    seen = len(served.vendor.seen)
    for sent in (1, 2):
        answer = served.call("DELETE", "/v1/files/file-none", headers={"idempotency-key": "failed"})
        assert (answer.status_code, len(served.vendor.seen)) == (404, seen + sent)


def test_an_upload_with_an_idempotency_key_is_refused_before_it_is_sent(served: Served) -> None:
    seen = len(served.vendor.seen)
    answer = served.call("POST", "/v1/files", files={"file": b"x"}, headers={"idempotency-key": "upload"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "idempotency-key")
    assert "leave out this header" in answer.json()["error"]["message"]
    assert len(served.vendor.seen) == seen


def test_each_call_has_a_record_and_a_batch_is_counted_once(served: Served) -> None:
    def record(answer: httpx.Response) -> dict[str, Any]:
        path = f"/decisions/{answer.headers['x-semroute-decision']}"
        assert until(lambda: served.call("GET", path, "admin").status_code == 200)
        found: dict[str, Any] = served.call("GET", path, "admin").json()
        return found

    first = record(served.call("GET", "/v1/batches/batch-done"))
    assert (first["model"], first["input_tokens"], first["output_tokens"]) == (
        "small",
        USAGE["input_tokens"],
        USAGE["output_tokens"],
    )
    assert Decimal(str(first["cost_usd"])) == Decimal("0.0012")
    cheaper = record(served.call("GET", "/v1/batches/batch-done?provider=other"))
    assert (cheaper["model"], Decimal(str(cheaper["cost_usd"]))) == ("halved", Decimal("0.0003"))
    again = record(served.call("GET", "/v1/batches/batch-done"))
    assert (again["model"], again["input_tokens"], again["outcome"]) == ("main:batches", 0, "ok")
    failed = record(served.call("GET", "/v1/files/file-none"))
    assert (failed["model"], failed["outcome"]) == ("main:files", "failed")


def test_a_call_that_ends_in_a_way_that_nobody_expects_is_recorded_and_gives_its_place_back(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    routes, url = tmp_path / "routes", f"sqlite:///{tmp_path / 'log.db'}"
    routes.mkdir()
    (routes / "all.yaml").write_text(ROUTES.format(url=served.vendor.url))
    database = SqliteDatabase(tmp_path / "log.db")
    migrate(database)
    key = KeyStore(database).create(KEYS["one"])[0]
    database.close()
    monkeypatch.setattr(PassingProvider, "ask", ask)
    settings = Settings(routes=str(routes), database_url=url, host="127.0.0.1")
    with TestClient(create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        headers = {"authorization": f"Bearer {key}"}
        for _ in range(2):  # the key may make one call at a time
            assert client.get("/v1/files", headers=headers).status_code == 500
    database = SqliteDatabase(tmp_path / "log.db")
    outcomes = [row["outcome"] for row in SqlLog(database).page(Query())]
    database.close()
    assert outcomes == ["failed", "failed"]


def test_a_page_of_another_site_uploads_nothing(served: Served) -> None:
    before = len(served.vendor.seen)
    answer = served.call("POST", "/v1/files", files={"file": b"x"}, headers={"origin": "https://evil.example"})
    assert (answer.status_code, len(served.vendor.seen)) == (403, before)
    for path in ("/v1/chat/completions", "/v1/batches", "/complete"):
        assert served.call("POST", path, files={"file": b"x"}).status_code == 415


@pytest.mark.parametrize("path", ["/v1/files/", "/openai/v1/files", "/openai/v1/files/"])
def test_a_file_is_uploaded_at_the_other_spellings_of_the_address(served: Served, path: str) -> None:
    answer = served.call("POST", path, files={"file": b"x"})
    assert (answer.status_code, served.vendor.seen[-1].path) == (200, "/v1/files")
    assert served.call("GET", path).status_code == 200
    assert served.vendor.seen[-1].path == "/v1/files"


def test_where_no_response_is_kept_a_second_turn_is_refused_by_name(served: Served) -> None:
    for body in (
        r'"previous_response_id": "resp_1"',
        r'"input": [{"type": "item_reference", "id": "msg_1"}]',
        r'"previous_response_id": "resp_1"',
        r'"previous_response_id": "resp_1"',
        r'"input": [{"type": "item_reference", "id": "msg_1"}]',
    ):
        answer = served.call("POST", "/v1/responses", content=f'{{"model": "small", "input": "x", {body}}}')
        assert answer.status_code == 400
        assert "SEMROUTE_KEEP_RESPONSES_H is 0" in answer.json()["error"]["message"]


# --- who made them ----------------------------------------------------------------------------------------------------


def make(served: Served, key: str, id_: str, kind: str = "files", query: str = "") -> None:
    form = {"content-type": "multipart/form-data; boundary=b"}
    body = json.dumps({"id": id_}).encode()
    sent = {"content": body, "headers": form} if kind == "files" else {"json": {"id": id_}}
    assert served.call("POST", f"/v1/{kind}{query}", key, **sent).json()["id"] == id_


@pytest.mark.parametrize("kind", ["files", "batches"])
def test_a_key_sees_what_it_made_and_others_do_not(served: Served, kind: str) -> None:
    make(served, "mine", "thing", kind)
    calls = [("GET", f"/v1/{kind}/thing")]
    calls += [("GET", "/v1/files/thing/content")] if kind == "files" else [("POST", "/v1/batches/thing/cancel")]
    for method, path in calls:
        before = len(served.vendor.seen)
        refused = served.call(method, path, "theirs")
        assert (refused.status_code, len(served.vendor.seen)) == (404, before)
        assert refused.json()["error"]["message"].endswith("'thing'")
        never = served.call(method, path.replace("thing", "other"), "theirs")
        assert never.json()["error"]["message"] == refused.json()["error"]["message"].replace("thing", "other")
        assert served.call(method, path, "mine").status_code == 200
        assert served.call(method, path, "admin").status_code == 200
        elsewhere = served.call(method, f"{path}?provider=other", "mine")
        assert elsewhere.status_code == 404


def test_a_team_shares_what_it_made(served: Served) -> None:
    make(served, "ann", "shared")
    assert served.call("GET", "/v1/files/shared", "bob").status_code == 200
    assert served.call("GET", "/v1/files/shared", "eve").status_code == 404
    assert served.call("GET", "/v1/files/shared", "mine").status_code == 404


def test_a_file_that_is_deleted_is_forgotten(served: Served) -> None:
    make(served, "mine", "gone-soon")
    assert served.call("DELETE", "/v1/files/gone-soon", "theirs").status_code == 404
    assert served.call("DELETE", "/v1/files/gone-soon", "mine").status_code == 200
    assert served.call("GET", "/v1/files/gone-soon", "mine").status_code == 404


def test_a_batch_names_the_callers_own_files_alone(served: Served) -> None:
    make(served, "mine", "input")
    body = {"input_file_id": "input", "endpoint": "/v1/responses"}
    assert served.call("POST", "/v1/batches", "mine", json=body).status_code == 200
    before = len(served.vendor.seen)
    refused = served.call("POST", "/v1/batches", "theirs", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "input_file_id")
    assert len(served.vendor.seen) == before
    listed = served.call("POST", "/v1/batches", "theirs", json={"input_files": ["input"]})
    assert (listed.status_code, listed.json()["error"]["param"]) == (404, "input_files")
    make(served, "theirs", "own")
    twice = b'{"input_file_id": "input", "input_file_id": "own"}'
    served.call("POST", "/v1/batches", "theirs", content=twice, headers={"content-type": "application/json"})
    assert served.vendor.last.body == b'{"input_file_id":"own"}'


def test_what_a_batch_made_is_its_makers(served: Served) -> None:
    make(served, "mine", "batch-outputs", "batches")
    assert served.call("GET", "/v1/files/file-output", "mine").status_code == 404
    assert served.call("GET", "/v1/batches/batch-outputs", "admin").status_code == 200
    assert served.call("GET", "/v1/files/file-output/content", "mine").status_code == 200
    assert served.call("GET", "/v1/files/file-output/content", "theirs").status_code == 404


@pytest.mark.parametrize("kind", ["files", "batches"])
def test_a_list_holds_what_the_caller_made(served: Served, kind: str) -> None:
    make(served, "eve", "file-2", kind)
    make(served, "eve", "file-7", kind)
    path = f"/v1/{kind}?limit=3"
    assert [each["id"] for each in served.call("GET", path, "admin").json()["data"]] == ["file-1", "file-2", "file-3"]
    first = served.call("GET", path, "eve").json()
    ends = (first["first_id"], first["last_id"], first["has_more"])
    assert ([each["id"] for each in first["data"]], *ends) == (["file-2"], "file-2", "file-2", True)
    # The page that follows has nothing of this caller: the one after that is given.
    last = served.call("GET", f"{path}&after=file-3", "eve").json()
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (["file-7"], False)
    assert served.vendor.last.path == f"/v1/{kind}?limit=3&after=file-6"
    nothing = served.call("GET", path, "bob")
    assert (nothing.json()["data"], nothing.json()["has_more"], nothing.json()["last_id"]) == ([], False, None)
