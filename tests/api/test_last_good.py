"""A worker that is started again starts whatever has become of its files and its servers meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from semroute.access.api_keys import KeyRing, KeyStore
from semroute.api.app import create_app
from semroute.api.worker_pipe import LastGood, Lifeline
from semroute.caller import Caller
from semroute.config.folder import read_files
from semroute.settings import Settings
from semroute.stores.connect import open_database
from tests.stores.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

ROUTES = """
providers: {e: {dialect: echo}}
models: {m: {provider: e, name: m}}
default: {models: [m]}
"""


class Place:
    """Where a service is: its folder, and a key to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.routes = folder / "routes"
        self.routes.mkdir(parents=True)
        (self.routes / "all.yaml").write_text(ROUTES)
        self.database = folder / "books" / "semroute.db"
        self.database.parent.mkdir()
        settings = {"database_url": f"sqlite:///{self.database}", "workers": 2, **settings}
        self.settings = Settings(routes=str(self.routes), **settings)
        database = open_database(self.settings.database_url)
        self.key, _ = KeyStore(database).create(Caller(id="", name="n", scopes=("complete", "read", "admin")))

        keys = KeyRing()
        keys.refresh(KeyStore(database))
        database.close()
        self.good = LastGood(files=read_files(self.routes), keys=keys.rows)
        """What the worker knew that is no more."""

    @asynccontextmanager
    async def started_again(self) -> AsyncIterator[AsyncTestClient[Litestar]]:
        async with AsyncTestClient(create_app(self.settings, Lifeline(self.good))) as client:
            client.headers["authorization"] = f"Bearer {self.key}"
            yield client


async def warnings(client: AsyncTestClient[Litestar]) -> str:
    return str((await client.get("/health/ready")).json()["warnings"])


async def answers(client: AsyncTestClient[Litestar]) -> bool:
    return (await client.post("/complete", json={"prompt": "hi"})).is_success


# --- what may happen to a place --------------------------------------------------------------------------------------


@contextmanager
def broken_files(place: Place) -> Iterator[str]:
    (place.routes / "all.yaml").write_text("models: 5")
    yield "the route files cannot be used"
    (place.routes / "all.yaml").write_text(ROUTES)


@contextmanager
def no_folder(place: Place) -> Iterator[str]:
    place.routes.rename(place.routes.with_name("moved"))
    yield "no such folder"
    place.routes.with_name("moved").rename(place.routes)


@contextmanager
def no_database(place: Place) -> Iterator[str]:
    place.database.parent.rename(place.routes.with_name("moved"))
    yield "the database cannot be used"
    place.routes.with_name("moved").rename(place.database.parent)


@contextmanager
def locked_database(place: Place) -> Iterator[str]:
    beside = place.database.with_name("semroute-state.db")
    with (
        closing(sqlite3.connect(place.database, isolation_level=None)) as one,
        closing(sqlite3.connect(beside, isolation_level=None)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        yield ""


@contextmanager
def broken_learned_file(place: Place) -> Iterator[str]:
    (place.routes / "difficulty.npz").write_bytes(b"rubbish")
    yield ""
    (place.routes / "difficulty.npz").unlink()


@contextmanager
def no_cache(place: Place) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMROUTE_CACHE_DIR", "/dev/full/cache")
        yield ""


EVENTS: list[Callable[[Place], AbstractContextManager[str]]] = [
    broken_files,
    no_folder,
    no_database,
    locked_database,
    broken_learned_file,
    no_cache,
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
async def test_a_worker_starts_from_the_last_good_form_and_is_well_again_afterwards(
    tmp_path: Path, event: Callable[[Place], AbstractContextManager[str]]
) -> None:
    place = Place(tmp_path)
    async with AsyncExitStack() as stack:
        with event(place) as told:
            client = await stack.enter_async_context(place.started_again())
            assert told in await warnings(client)
            assert await answers(client)
            client.headers.pop("authorization")
            assert not await answers(client)  # the keys are those of before
            client.headers["authorization"] = f"Bearer {place.key}"
        await is_well_again(client)


async def test_a_worker_starts_and_serves_while_its_servers_hang(
    tmp_path: Path, postgres: PostgresServer, redis_server: RedisServer
) -> None:
    place = Place(tmp_path, database_url=postgres.new_database(), state_url=redis_server.new_database())
    async with AsyncExitStack() as stack:
        with postgres.hanging(), redis_server.hanging():
            client = await stack.enter_async_context(place.started_again())
            assert await answers(client)
            for path in ("/decisions", "/stats", "/admin/audit", "/budgets"):
                assert (await client.get(path)).status_code == 503
            assert (await client.post("/feedback", json={"decision": "a", "score": 1})).status_code == 503
            assert (await client.get("/health/live")).is_success
            assert "the database cannot be used" in await warnings(client)
            while "the shared state is unavailable" not in await warnings(client):  # noqa: ASYNC110 - what the processes exchange finds it out
                await asyncio.sleep(0.1)
        await is_well_again(client)
        assert (await client.get("/decisions")).is_success


async def is_well_again(client: AsyncTestClient[Litestar]) -> None:
    app: Any = client.app
    await app.state.reloader.look()
    for _ in range(200):
        await app.state.books.follow_keys()
        assert await answers(client)
        if await warnings(client) == "[]":
            return
        await asyncio.sleep(0.1)
    pytest.fail(await warnings(client))
