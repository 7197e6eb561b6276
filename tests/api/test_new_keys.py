"""A key that has just been made, revoked or rotated, as a service sees it that knows nothing of that yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from semroute.access.api_keys import MAX_STRANGERS, KeyRing, KeyStore
from semroute.api import accounting
from semroute.api.app import create_app
from semroute.caller import Caller, Scope
from semroute.settings import Settings
from semroute.stores.interfaces import Database, Row
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import database as database

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

ROUTES = "providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}\ndefault: {models: [m]}\n"
SAY = [{"role": "user", "content": "hello"}]
CALLS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "route": ("POST", "/route", {"prompt": "x"}),
    "complete": ("POST", "/complete", {"prompt": "x"}),
    "chat": ("POST", "/v1/chat/completions", {"model": "auto", "messages": SAY}),
    "messages": ("POST", "/v1/messages", {"model": "auto", "messages": SAY, "max_tokens": 9}),
    "counted": ("POST", "/v1/messages/count_tokens", {"model": "auto", "messages": SAY}),
    "gemini": ("POST", "/v1beta/models/auto:generateContent", {"contents": [{"parts": [{"text": "x"}]}]}),
    "text": ("POST", "/v1/completions", {"model": "auto", "prompt": "x"}),
    "ollama": ("POST", "/api/chat", {"model": "auto", "messages": SAY, "stream": False}),
    "models": ("GET", "/v1/models", None),
    "routes": ("GET", "/routes", None),
    "stats": ("GET", "/stats", None),
    "audit": ("GET", "/admin/audit", None),
}
UNSERVED: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "moderations": ("POST", "/v1/moderations", {"input": "x"}),
    "batch": ("POST", "/v1/batches", {"input_file_id": "x"}),
    "files": ("GET", "/v1/files", None),
    "response": ("GET", "/v1/responses/resp_x", None),
    "forget": ("DELETE", "/v1/responses/resp_x", None),
}
"""Calls that come to nothing with the routes here, but only once the key is known."""
STRANGE = f"sr-{'a' * 12}-{'b' * 43}"


class Counting(KeyStore):
    """Counts how often it is asked, and asks."""

    asked = 0

    def changes(self, since: int | None) -> tuple[int, list[Row] | None]:
        self.asked += 1
        return super().changes(since)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncTestClient[Litestar]]:
    """A service that looks for changes only when somebody makes it."""
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "all.yaml").write_text(ROUTES)
    settings = Settings(
        routes=str(tmp_path / "routes"),
        database_url=f"sqlite:///{tmp_path}/semroute.db",
        access="keys",
        metrics=False,
        decision_log=False,
    )
    async with AsyncTestClient(create_app(settings)) as opened:
        yield opened


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who sends an unknown key makes the service look."""
    monkeypatch.setattr(accounting, "KEYS_EVERY_S", 3600.0)


@pytest.fixture
def elsewhere(tmp_path: Path, client: AsyncTestClient[Litestar]) -> KeyStore:
    """The same database, as another process has it."""
    return KeyStore(SqliteDatabase(tmp_path / "semroute.db"))


async def status(client: AsyncTestClient[Litestar], token: str, call: str = "complete") -> int:
    method, path, body = (CALLS | UNSERVED)[call]
    answer = await client.request(method, path, json=body, headers={"authorization": f"Bearer {token}"})
    return answer.status_code


async def test_a_new_key_works_at_its_first_use_whatever_it_is_used_for(
    rarely: None, client: AsyncTestClient[Litestar], elsewhere: KeyStore
) -> None:
    scopes: tuple[Scope, ...] = ("route", "complete", "read", "admin")
    told = {call: await status(client, elsewhere.create(Caller(scopes=scopes))[0], call) for call in CALLS}
    assert told == dict.fromkeys(CALLS, 200)
    unserved = {call: await status(client, elsewhere.create(Caller())[0], call) for call in UNSERVED}
    assert unserved == {"moderations": 400, "batch": 400, "files": 400, "response": 404, "forget": 404}


async def test_a_new_secret_works_at_its_first_use_and_ends_the_old_one(
    rarely: None, client: AsyncTestClient[Litestar], elsewhere: KeyStore
) -> None:
    old, caller = elsewhere.create(Caller())
    assert await status(client, old) == 200
    new = elsewhere.rotate(caller.id)
    assert new is not None
    assert [await status(client, token) for token in (new, old)] == [200, 401]


async def test_a_revoked_key_stops_once_the_next_look_is_over(
    client: AsyncTestClient[Litestar], elsewhere: KeyStore
) -> None:
    assert accounting.KEYS_EVERY_S <= 0.1
    books: accounting.Books = client.app.state.books
    token, caller = elsewhere.create(Caller())
    assert await status(client, token) == 200
    elsewhere.revoke(caller.id)
    await books.look_for_keys()
    assert await status(client, token) == 401


async def test_unknown_keys_do_not_make_the_database_work(
    rarely: None, client: AsyncTestClient[Litestar], elsewhere: KeyStore
) -> None:
    books: accounting.Books = client.app.state.books
    books.keys = counting = Counting(books.database)
    assert {await status(client, STRANGE) for _ in range(20)} == {401}
    assert counting.asked == 1  # it was looked for once
    together = await asyncio.gather(*(books.look_for_keys() for _ in range(accounting.MAX_WAITING + 10)))
    assert together.count(True) == accounting.MAX_WAITING  # the others are refused at once
    assert counting.asked <= 3
    asked = counting.asked
    for other in ("", "sk-something-else", "sr-short", "sr-" + "x" * 60):
        assert await status(client, other) == 401
    assert counting.asked == asked  # they are none of ours
    token, _ = elsewhere.create(Caller())
    assert await status(client, token) == 200


async def test_while_the_database_is_away_an_unknown_key_is_refused_and_later_looked_for_again(
    rarely: None, client: AsyncTestClient[Litestar], elsewhere: KeyStore, tmp_path: Path
) -> None:
    books: accounting.Books = client.app.state.books
    token, _ = elsewhere.create(Caller())
    rename = "ALTER TABLE {} RENAME TO {}"
    database = SqliteDatabase(tmp_path / "semroute.db")
    with database.transaction() as session:
        session.run(rename.format("revisions", "away"))
    assert await status(client, token) == 401
    assert books.trouble is not None
    with database.transaction() as session:
        session.run(rename.format("away", "revisions"))
    database.close()
    await books.follow_keys()
    assert await status(client, token) == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda store, id_: store.create(Caller()),
        lambda store, id_: store.revoke(id_),
        lambda store, id_: store.rotate(id_),
    ],
    ids=["create", "revoke", "rotate"],
)
def test_each_change_of_a_key_is_seen_by_one_number(
    database: Database, change: Callable[[KeyStore, str], object]
) -> None:
    store = KeyStore(database)
    _, caller = store.create(Caller())
    revision, rows = store.changes(None)
    assert rows is not None
    assert len(rows) == 1
    assert store.changes(revision) == (revision, None)
    change(store, caller.id)
    later, changed = store.changes(revision)
    assert later > revision
    assert changed not in (None, rows)


def test_the_memory_of_unknown_keys_is_bounded_and_ends_with_a_change() -> None:
    ring = KeyRing()
    for number in range(MAX_STRANGERS):
        ring.note_stranger(str(number).encode())
    assert ring.is_stranger(b"0")
    ring.note_stranger(b"one more")
    assert (ring.is_stranger(b"0"), ring.is_stranger(b"one more")) == (False, True)
    ring.take([(b"", '{"id": "k"}', 0.0, None, None)])
    assert not ring.is_stranger(b"one more")
