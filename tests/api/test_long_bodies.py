from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest

from tests.service import Service

LONG = [{"role": "user", "content": "Hi"}] * 180_000
BODIES: dict[str, tuple[dict[str, Any], int]] = {  # a model that there is not: all the work is ours
    "/route": ({"messages": LONG}, 200),
    "/v1/chat/completions": ({"model": "none", "messages": LONG}, 404),
    "/v1/messages": ({"model": "none", "max_tokens": 5, "messages": LONG}, 404),
    "/v1/responses": ({"model": "none", "input": LONG}, 404),
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
    body, status = BODIES[path]
    content = json.dumps(body)
    started = time.perf_counter()
    answer = service.client.post(path, content=content)
    took = time.perf_counter() - started
    over.set()
    others.join()
    assert answer.status_code == status
    assert max(waits) < took / 2
