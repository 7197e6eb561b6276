"""Several services with one state: what one of them learns, the others know."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from tests.conftest import ROUTES
from tests.providers.fault_server import FaultServer
from tests.service import Service, until

MODELS = """
providers: {{faults: {{dialect: openai, base_url: "{url}"}}}}
policy: {{retry: {{base_s: 0.01}}, timeouts: {{total_s: 10}}}}
default: {{models: [ok]}}
models:
  ok: {{provider: faults, name: ok}}
  status-500: {{provider: faults, name: status-500}}
  slow: {{provider: faults, name: slow-100}}
  limited: {{provider: faults, name: ok@limited, limits: {{rpm: 20}}}}
  shaky: {{provider: faults, name: status-503@shaky, breaker: {{failures: 3, probe_s: {probe_s}}}}}
"""
PROBE_S = 2
CHARGED = "why was I charged twice"
LOOP = "my python loop never ends, please repair it"

Fleet = list[Service]


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="module", params=["redis", "postgres"])
def fleet(
    request: pytest.FixtureRequest, faults: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Two, each with a log of its own where that is a file."""
    environ = (
        {"SEMROUTE_STATE_URL": request.getfixturevalue("redis_server").new_database()}
        if request.param == "redis"
        else {"SEMROUTE_DATABASE_URL": request.getfixturevalue("postgres").new_database()}
    )
    routes = tmp_path_factory.mktemp("routes")
    (routes / "models.yaml").write_text(MODELS.format(url=faults.url, probe_s=PROBE_S))
    (routes / "routes.yaml").write_text(ROUTES)
    with ExitStack() as running:
        yield [
            running.enter_context(Service(routes, tmp_path_factory.mktemp("service") / "log", **environ))
            for _ in range(2)
        ]


def ask(
    service: Service, path: str = "/complete", *, session: str = "", key: str = "", **body: object
) -> httpx.Response:
    headers = {"x-semroute-session": session} if session else {}
    headers |= {"idempotency-key": key} if key else {}
    return service.client.post(path, json={"prompt": "Hi", **body}, headers=headers)


def test_a_conversation_keeps_its_model_whoever_answers(fleet: Fleet) -> None:
    one, other = fleet
    first = ask(one, session="s", prompt=LOOP).json()
    assert (first["decision"]["model"], first["model"]) == ("status-500", "ok")

    def again() -> dict[str, object]:
        decision: dict[str, object] = ask(other, "/route", session="s", prompt="and now?").json()
        return decision

    assert until(lambda: again()["reason"] == "sticky")
    assert again()["model"] == "ok"


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_gets_the_same_answer_whoever_answers(fleet: Fleet, faults: FaultServer, stream: bool) -> None:
    before = faults.counts["ok"]
    first, second = (ask(each, key=f"k{stream}", model="ok", stream=stream) for each in fleet)
    assert first.content == second.content
    assert (first.status_code, second.headers["idempotent-replayed"]) == (200, "true")
    assert faults.counts["ok"] == before + 1
    assert ask(fleet[1], key=f"k{stream}", model="status-500").status_code == 422


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_waits_for_the_answer_that_another_makes(fleet: Fleet, faults: FaultServer, stream: bool) -> None:
    before = faults.counts["slow-100"]
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, each, key=f"w{stream}", model="slow", stream=stream) for each in fleet * 3]
        answers = [done.result() for done in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert faults.counts["slow-100"] == before + 1


def test_an_open_breaker_is_seen_by_all_and_probed_by_one(fleet: Fleet, faults: FaultServer) -> None:
    one, other = fleet

    def broken(service: Service) -> bool:
        rejected = ask(service, "/route", models=["shaky", "ok"]).json()["rejected"]
        return "circuit breaker is open" in rejected.get("shaky", "")

    assert not broken(other)
    started = time.monotonic()
    assert ask(one, model="shaky").status_code in (502, 503)
    assert broken(one)
    assert until(lambda: broken(other))
    assert 'semroute_breaker_open{model="shaky"} 1.0' in other.client.get("/metrics").text
    calls = faults.counts["status-503@shaky"]
    while faults.counts["status-503@shaky"] < calls + 2:
        for service in fleet:
            assert ask(service, model="auto", models=["shaky", "ok"]).status_code == 200
    # Each on its own would probe after one pause, which makes two.
    assert time.monotonic() - started > 1.5 * PROBE_S


def test_latency_is_one_average(fleet: Fleet) -> None:
    one, other = fleet
    ask(one, model="slow")

    def told(service: Service) -> str:
        lines = service.client.get("/metrics").text.splitlines()
        return next((line for line in lines if 'latency_seconds{model="slow"}' in line), "")

    assert until(lambda: told(other) != "" and told(one) == told(other))


def test_a_providers_limit_is_one_for_all(fleet: Fleet) -> None:
    one, other = fleet
    for _ in range(20):
        assert ask(one, model="limited").status_code == 200
    asked: list[str] = []
    while "ok" not in asked and len(asked) < 8:  # alone it would take 20
        time.sleep(0.25)
        asked.append(ask(other, models=["limited", "ok"]).json()["model"])
    assert asked[-1] == "ok"
