"""Every note in `/health/ready` has a way back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from semroute.access.callers import Access
from semroute.api.accounting import LOST_S, Books
from semroute.api.admin import MAX_TOLD
from semroute.api.app import create_app
from semroute.api.worker_pipe import Lifeline
from semroute.caller import Caller
from semroute.config.load import load
from semroute.config.schema.service import LogSettings
from semroute.settings import Settings
from semroute.stores.decision_log import SqlLog
from semroute.stores.log_writer import LogWriter
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.service import until
from tests.stores.conftest import Clock
from tests.stores.test_decision_log import record

ROUTES = "providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}\ndefault: {models: [m]}\n"


@pytest.fixture
def lifeline() -> Lifeline:
    return Lifeline()


@pytest.fixture
def books(tmp_path: Path, lifeline: Lifeline) -> Books:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "all.yaml").write_text(ROUTES)
    config = load(tmp_path / "routes")
    (tmp_path / "books").mkdir()
    settings = Settings(database_url=f"sqlite:///{tmp_path}/books/semroute.db", metrics=False)
    return Books(settings, lambda: config, lifeline)


async def spoil_log(books: Books) -> None:
    assert books.writer is not None
    books.writer.put(record(1))
    while not books.warnings:
        assert not await asyncio.to_thread(books.writer.flush, 0.1)


async def mend_log(books: Books) -> None:
    assert books.writer is not None
    assert await asyncio.to_thread(books.writer.flush, 30)


async def spoil_keys(books: Books) -> None:
    await books.follow_keys()


async def mend_keys(books: Books) -> None:
    await books.follow_keys()


async def spoil_state(books: Books) -> None:
    await books.state.get("a")


async def mend_state(books: Books) -> None:
    while len(books.warnings) > 0:
        await books.state.look()
        await asyncio.sleep(0.05)


Do = Callable[[Books], Awaitable[None]]


@pytest.mark.parametrize(
    ("table", "file", "spoil", "mend", "note"),
    [
        ("bodies", "semroute.db", spoil_log, mend_log, "the decision log cannot be written"),
        ("keys", "semroute.db", spoil_keys, mend_keys, "the database cannot be used"),
        ("entries", "semroute-state.db", spoil_state, mend_state, "the shared state is unavailable"),
    ],
)
async def test_what_is_away_is_told_of_until_it_is_back(
    books: Books, tmp_path: Path, table: str, file: str, spoil: Do, mend: Do, note: str
) -> None:
    assert books.warnings == []
    database = SqliteDatabase(tmp_path / "books" / file)
    with database.transaction() as session:
        session.run(f"ALTER TABLE {table} RENAME TO away")
    await spoil(books)
    [told] = books.warnings
    assert told.startswith(note)
    with database.transaction() as session:
        session.run(f"ALTER TABLE away RENAME TO {table}")
    database.close()
    await mend(books)
    assert books.warnings == []
    await books.aclose()


async def test_other_workers_are_told_of_as_long_as_they_are_missing(books: Books, lifeline: Lifeline) -> None:
    lifeline.notes = ("worker 2 does not serve: no reason",)
    assert books.warnings == list(lifeline.notes)
    lifeline.notes = ()
    assert books.warnings == []
    await books.aclose()


async def test_a_worker_that_starts_after_the_keys_are_gone_serves_nobody_without_one(
    books: Books, lifeline: Lifeline, tmp_path: Path
) -> None:
    books.keys.create(Caller(name="web"))
    await books.follow_keys()
    database = SqliteDatabase(tmp_path / "books" / "semroute.db")
    with database.transaction() as session:
        session.run("DELETE FROM keys")
    await books.follow_keys()
    assert lifeline.good.keys == []
    settings = Settings(database_url=f"sqlite:///{tmp_path}/books/semroute.db", access="loopback", metrics=False)
    config = load(tmp_path / "routes")
    later = Books(settings, lambda: config, Lifeline(lifeline.good))
    assert Access(settings, later.ring).openness == "keys"
    database.close()
    await later.aclose()
    await books.aclose()


async def test_a_key_that_cannot_be_read_keeps_no_other_key_out(books: Books, tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "books" / "semroute.db")
    with database.transaction() as session:
        session.run("INSERT INTO keys VALUES ('a', x'00', 'no JSON', 0, NULL, NULL, 0)")
    await books.follow_keys()
    assert books.warnings == []
    _, web = books.keys.create(Caller(name="web"))
    await books.follow_keys()
    assert books.ring.get(web.id) is not None
    database.close()
    await books.aclose()


def test_lost_records_are_told_of_for_a_while(tmp_path: Path) -> None:
    monotonic, log = Clock(), SqlLog(SqliteDatabase(tmp_path / "log.db"))
    writer = LogWriter(log, lambda: LogSettings(queue=1), monotonic=monotonic)  # it has no tables yet, and waits
    assert not writer.lost_within(LOST_S)
    assert (writer.put(record(1)), writer.put(record(2))) == (True, False)
    assert writer.lost_within(LOST_S)
    migrate(log.database)
    assert until(writer.flush)
    assert writer.lost_within(LOST_S)
    monotonic.now += LOST_S
    assert not writer.lost_within(LOST_S)
    assert writer.dropped == 1  # the count stays
    assert writer.close()
    log.database.close()


BREAKERS = """
providers: {p: {base_url: "http://127.0.0.1:9/v1", api_key: k}}
models: {m: {provider: p, name: m, breaker: {failures: 1, probe_s: 3600}}}
default: {models: [m]}
policy: {retry: {max_attempts: 1}}
"""


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
async def test_an_open_breaker_is_told_to_those_who_may_know_and_no_host_is(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "all.yaml").write_text(BREAKERS)
    settings = Settings(
        routes=str(tmp_path / "routes"),
        database_url=f"sqlite:///{tmp_path}/semroute.db",
        api_key="api-key",
        admin_key="admin-key",
        metrics=False,
    )

    async def told(client: AsyncTestClient[Litestar], key: str) -> Any:
        return (await client.get("/health/ready", headers={"authorization": f"Bearer {key}"})).json()

    async with AsyncTestClient(create_app(settings)) as client:
        assert (await told(client, "admin-key"))["status"] == "ready"
        body = {"prompt": "x"}
        failed = await client.post("/complete", json=body, headers={"authorization": "Bearer api-key"})
        assert failed.status_code >= 500
        shown = await told(client, "admin-key")
        assert shown["status"] == "degraded"
        [warning] = shown["warnings"]
        assert warning.startswith("m: its circuit breaker is open, the next probe is in ")
        for stranger in ("api-key", "", "wrong"):
            assert (await told(client, stranger))["warnings"] == [
                "1 warnings: send a key with the scope 'read' to see them"
            ]
        deployments = client.app.state.gateway.serving.deployments
        model = client.app.state.gateway.serving.router.config.models["m"]
        for number in range(MAX_TOLD + 5):
            one = replace(model, id=f"m{number}")
            deployments.of(one).begin(1).end("fault")
        deployments.at("embeddings").of(model).begin(1).end("fault")
        warnings = (await told(client, "admin-key"))["warnings"]
        assert len(warnings) == MAX_TOLD + 1
        assert warnings[-1] == "and 7 more models whose circuit breaker is open"
        assert "127.0.0.1" not in str(warnings)
        deployments.of(model).breaker.close()
        assert not any(each.startswith("m:") for each in (await told(client, "admin-key"))["warnings"])
