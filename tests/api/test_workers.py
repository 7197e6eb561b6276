"""Several processes keep one set of books."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.service import Service, until

PROMPT = "I want my money back, right now!"
ROOM = 30
BUDGETS = f"budgets: [{{name: all, usd: {24 * ROOM / 1e6:f}, per: month}}]\n"


def test_workers_share_budgets_log_and_metrics(write_routes: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write_routes(tmp_path / "routes")
    (folder / "budgets.yaml").write_text(BUDGETS)
    with Service(folder, tmp_path / "log", "--workers", "2", FAULTS_KEY="sk-faults-key") as service:
        assert until(lambda: service.log.count("Started worker-") == 2, seconds=60)

        def ask(_: int) -> int:
            # A connection of its own, so that both workers get some.
            body = {"prompt": PROMPT, "model": "ok", "max_tokens": 6}
            return httpx.post(f"{service.url}/complete", json=body, timeout=30, trust_env=False).status_code

        with ThreadPoolExecutor(16) as pool:
            codes = list(pool.map(ask, range(100)))
        assert (codes.count(200), codes.count(402)) == (ROOM, 100 - ROOM)
        assert until(lambda: service.client.get("/stats?by=all").json()["rows"][0]["requests"] == 100)
        text = service.client.get("/metrics").text
        counted = re.findall(r"^semroute_requests_total\{.*\} (\S+)$", text, re.MULTILINE)
        assert sum(map(float, counted)) == 100
        budget = service.client.get("/budgets").json()["budgets"][0]
        assert budget["spent_usd"] == budget["limit_usd"]
