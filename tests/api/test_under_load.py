"""The books of a running service, under load: a budget that many want at once, and servers that go away."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psycopg
import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service, until
from tests.stores.servers import PostgresServer, RedisServer

# 8 tokens by the rule of four bytes, and 4 of the message: as many as the provider will report.
PROMPT = "I want my money back, right now!"
COST = Decimal("0.000024")
ROUTES = """
providers: {{faults: {{dialect: openai, base_url: "{url}"}}}}
models:
  ok: {{provider: faults, name: ok, input_price: 1, output_price: 2}}
  slow: {{provider: faults, name: slow-30, input_price: 1, output_price: 2}}
default: {{models: [ok]}}
budgets: [{{name: all, usd: {usd}, per: month}}]
"""
ROOM, CALLERS = 100, 1000


def routes(folder: Path, url: str, usd: Decimal) -> Path:
    folder.mkdir()
    (folder / "all.yaml").write_text(ROUTES.format(url=url, usd=usd))
    return folder


def budget(service: Service) -> dict[str, Decimal]:
    # Keys have budgets too, and are in a database that may have been away a moment ago.
    assert until(lambda: service.client.get("/budgets").status_code == 200)
    found: dict[str, Decimal] = service.client.get("/budgets").json(parse_float=Decimal)["budgets"][0]
    return found


@pytest.mark.parametrize("back_end", ["sqlite", "postgres", "redis"])
def test_of_a_thousand_at_once_exactly_those_that_fit_are_served(
    request: pytest.FixtureRequest, tmp_path: Path, back_end: str
) -> None:
    environ = {}
    if back_end == "postgres":
        environ["SEMROUTE_DATABASE_URL"] = request.getfixturevalue("postgres").new_database()
    elif back_end == "redis":
        environ["SEMROUTE_STATE_URL"] = request.getfixturevalue("redis_server").new_database()

    async def ask_all(url: str) -> list[int]:
        body = {"prompt": PROMPT, "model": "slow", "max_tokens": 6}
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as client:

            async def ask() -> int:
                async with client.post("/complete", json=body) as response:
                    return response.status

            return await asyncio.gather(*(ask() for _ in range(CALLERS)))

    with FaultServer() as faults:
        folder = routes(tmp_path / "routes", faults.url, COST * ROOM)
        with Service(folder, tmp_path / "log", **environ) as service, ThreadPoolExecutor(1) as pool:
            asking = pool.submit(asyncio.run, ask_all(service.url))
            spent = []
            while not asking.done():
                spent.append(budget(service)["spent_usd"])
                time.sleep(0.05)
            codes = asking.result()
            assert (codes.count(200), codes.count(402)) == (ROOM, CALLERS - ROOM)
            assert max(spent) == budget(service)["limit_usd"] == COST * ROOM
            assert until(lambda: budget(service)["spent_usd"] == COST * ROOM)
            assert len(faults.requests) == ROOM
            assert until(lambda: service.client.get("/stats?by=all").json()["rows"][0]["requests"] == CALLERS)
            row = service.client.get("/stats?by=all").json(parse_float=Decimal)["rows"][0]
            assert row["cost_usd"] == COST * ROOM


def test_models_that_race_do_not_pass_the_limit(tmp_path: Path) -> None:
    """What is not consumed of a reservation is free again, so more are served than fit at once; never too many."""
    limit = COST * 10
    with FaultServer() as faults:
        folder = routes(tmp_path / "routes", faults.url, limit)
        (folder / "policy.yaml").write_text("policy: {hedge_after_ms: 0}")
        with Service(folder, tmp_path / "log") as service, ThreadPoolExecutor(8) as pool:

            def ask(_: int) -> int:
                body = {"prompt": PROMPT, "models": ["slow", "ok"], "max_tokens": 6}
                return httpx.post(f"{service.url}/complete", json=body, timeout=30, trust_env=False).status_code

            codes = list(pool.map(ask, range(60)))
            assert set(codes) == {200, 402}

            def settled() -> bool:
                rows = service.client.get("/stats?by=all").json(parse_float=Decimal)["rows"]
                return (rows[0]["requests"], rows[0]["cost_usd"]) == (60, budget(service)["spent_usd"])

            assert until(settled)
            # A race took at most 24 for each of its two models, and ended with at least 24 + 12.
            assert limit - 2 * COST < budget(service)["spent_usd"] <= limit
            assert codes.count(200) < len(faults.requests) <= 2 * codes.count(200)


class Load:
    """Callers that ask until they are told to stop. `answered`: decision id -> when."""

    def __init__(self, service: Service, callers: int = 6) -> None:
        self.answered: dict[str, float] = {}
        self.failed: list[str] = []
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 100) -> bool:
        """Wait for so many further answers."""
        goal = len(self.answered) + count
        return until(lambda: len(self.answered) >= goal or bool(self.failed)) and self.failed == []

    def _ask(self, number: int) -> None:
        asked = 0
        with httpx.Client(base_url=self._service.url, trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                asked += 1
                headers = {"x-semroute-session": f"s{number}"}
                if asked % 3 == 0:
                    headers["idempotency-key"] = f"{number}-{asked}"
                body: dict[str, Any] = {"prompt": PROMPT, "model": "ok", "max_tokens": 6, "stream": asked % 2 == 0}
                response = client.post("/complete", json=body, headers=headers)
                if response.status_code != 200 or '"error":{' in response.text:
                    self.failed.append(f"{response.status_code}: {response.text}")
                self.answered[response.headers["x-semroute-decision"]] = time.time()


def test_postgres_and_redis_go_away_and_no_request_notices(
    tmp_path: Path, postgres: PostgresServer, redis_server: RedisServer
) -> None:
    database = postgres.new_database()
    environ = {"SEMROUTE_DATABASE_URL": database, "SEMROUTE_STATE_URL": redis_server.new_database()}
    with FaultServer() as faults:
        folder = routes(tmp_path / "routes", faults.url, Decimal(100))
        with Service(folder, tmp_path / "log", **environ) as service:

            def warnings() -> str:
                return str(service.client.get("/health/ready").json()["warnings"])

            with Load(service) as load:
                assert load.more(), load.failed
                redis_server.stop_process()
                assert load.more(), load.failed
                assert until(lambda: "the shared state is unavailable" in warnings())
                postgres.stop_process()
                assert load.more(), load.failed
                assert until(lambda: "the decision log cannot be written" in warnings())
                redis_server.start_process()
                assert load.more(), load.failed
                postgres.start_process()
                assert load.more(), load.failed
                assert until(lambda: warnings() == "[]")
                redis_server.stop_process()
                redis_server.start_process()
                assert load.more(), load.failed
            assert load.failed == []
            assert len(faults.requests) == len(load.answered)
            cost = COST * len(load.answered)
            # What could not be settled is, after the next request that finds the state back.
            assert until(lambda: budget(service)["spent_usd"] == cost), (budget(service), cost)
        with psycopg.connect(database) as connection:
            rows = connection.execute("SELECT id, cost FROM decisions").fetchall()
        assert {id_ for id_, _ in rows} == set(load.answered)
        assert Decimal(sum(cost for _, cost in rows)).scaleb(-12) == cost
