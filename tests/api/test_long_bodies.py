from __future__ import annotations

import json
import threading
import time

import httpx
import pytest

from tests.service import Service

LONG = [{"role": "user", "content": "Hi"}] * 50_000
BODIES = {
    "/route": {"messages": LONG},
    "/v1/chat/completions": {"model": "ok", "messages": LONG},
    "/v1/messages": {"model": "ok", "max_tokens": 5, "messages": LONG},
    "/v1/responses": {"model": "ok", "input": LONG},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_long_request_does_not_hold_up_the_others(service: Service, path: str) -> None:
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, trust_env=False) as client:
            while not over.is_set():
                started = time.perf_counter()
                client.get("/health/live")
                waits.append(time.perf_counter() - started)

    others = threading.Thread(target=ask)
    others.start()
    body = json.dumps(BODIES[path])
    started = time.perf_counter()
    answer = service.client.post(path, content=body)
    took = time.perf_counter() - started
    over.set()
    others.join()
    assert answer.status_code == 200
    assert max(waits) < took / 2
