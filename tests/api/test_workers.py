"""Several processes keep one set of books."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.api.test_fleet import LOOP, MODELS
from tests.conftest import ROUTES
from tests.providers.fault_server import FaultServer
from tests.service import Service, until

PROMPT = "I want my money back, right now!"
ROOM = 30
BUDGETS = f"budgets: [{{name: all, usd: {24 * ROOM / 1e6:f}, per: month}}]\n"


def test_workers_share_budgets_log_and_metrics(write_routes: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write_routes(tmp_path / "routes")
    (folder / "budgets.yaml").write_text(BUDGETS)
    with Service(folder, tmp_path / "log", "--workers", "2", FAULTS_KEY="sk-faults-key") as service:
        assert until(lambda: service.log.count("Application startup complete") == 2, seconds=60)

        def ask(_: int) -> int:
            # A connection of its own, so that both workers get some.
            body = {"prompt": PROMPT, "model": "ok", "max_tokens": 6}
            return httpx.post(f"{service.url}/complete", json=body, timeout=30, trust_env=False).status_code

        with ThreadPoolExecutor(16) as pool:
            codes = list(pool.map(ask, range(100)))
        assert (codes.count(200), codes.count(402)) == (ROOM, 100 - ROOM)
        assert until(lambda: service.client.get("/stats?by=all").json()["rows"][0]["requests"] == 100)

        def counted() -> float:
            text = service.client.get("/metrics").text
            return sum(map(float, re.findall(r"^semroute_requests_total\{.*\} (\S+)$", text, re.MULTILINE)))

        assert until(lambda: counted() == 100)
        for _ in range(12):
            answered = httpx.post(f"{service.url}/complete", json={"prompt": "x"}, timeout=30, trust_env=False)
            given = {"decision": answered.headers["x-semroute-decision"], "score": 1}
            assert httpx.post(f"{service.url}/feedback", json=given, timeout=30, trust_env=False).status_code == 200
        budget = service.client.get("/budgets").json()["budgets"][0]
        assert budget["spent_usd"] == budget["limit_usd"]


def test_workers_share_conversations_answers_and_breakers_without_a_server(tmp_path: Path) -> None:
    """Each call has a connection of its own, so that both workers get some."""
    routes = tmp_path / "routes"
    routes.mkdir()
    with FaultServer() as faults:
        (routes / "models.yaml").write_text(MODELS.format(url=faults.url, probe_s=600))
        (routes / "routes.yaml").write_text(ROUTES)
        with Service(routes, tmp_path / "log", "--workers", "2") as service, ThreadPoolExecutor(8) as pool:
            assert until(lambda: service.log.count("Application startup complete") == 2, seconds=60)

            def ask(path: str, headers: dict[str, str], **body: object) -> httpx.Response:
                body = {"prompt": "Hi", **body}
                return httpx.post(f"{service.url}{path}", json=body, headers=headers, timeout=30, trust_env=False)

            def decisions(headers: dict[str, str], **body: object) -> list[dict[str, object]]:
                return [done.json() for done in pool.map(lambda _: ask("/route", headers, **body), range(16))]

            asked = pool.map(lambda _: ask("/complete", {"idempotency-key": "k"}, model="slow"), range(16))
            assert len({answer.content for answer in asked}) == faults.counts["slow-100"] == 1

            talk = {"x-semroute-session": "s"}
            assert ask("/complete", talk, prompt=LOOP).json()["model"] == "ok"
            plans = {"['ok', 'status-500']"}
            assert until(lambda: {str(each["plan"]) for each in decisions(talk, prompt="and now?")} == plans)

            def all_know() -> bool:
                told = decisions({}, models=["shaky", "ok"])
                return all("circuit breaker is open" in str(each["rejected"]) for each in told)

            ask("/complete", {}, model="shaky")
            assert until(all_know)
