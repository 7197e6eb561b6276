"""An `Idempotency-Key` in every dialect: the same call again, another call, and a call that broke."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.providers.fault_server import FaultServer
from tests.service import Service

TURN = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/complete": {"prompt": "Hi"},
    "/v1/chat/completions": {"messages": TURN},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/messages": {"messages": TURN, "max_tokens": 100},
    "/v1/responses": {"input": "Hi"},
    "/v1beta/models/{model}:": {"contents": [{"parts": [{"text": "Hi"}]}]},
    "/api/chat": {"messages": TURN},
    "/api/generate": {"prompt": "Hi"},
}


def ask(service: Service, path: str, model: str, key: str, *, stream: bool, **more: Any) -> httpx.Response:
    body = {**BODIES[path], **more}
    if "{model}" in path:
        path = path.format(model=model) + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    else:
        body |= {"model": model, "stream": stream}
    return service.client.post(path, json=body, headers={"idempotency-key": f"{key} {path} {stream}"})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_the_same_call_gets_the_same_answer_and_another_call_an_error(
    service: Service, faults: FaultServer, path: str, stream: bool
) -> None:
    before = faults.counts["ok"]
    first, again = (ask(service, path, "ok", "same", stream=stream) for _ in range(2))
    assert (first.status_code, "idempotent-replayed" in first.headers) == (200, False)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    other = ask(service, path, "ok", "same", stream=stream, metadata={"a": "b"})
    assert (other.status_code, "used for another request" in other.text) == (422, True)
    assert faults.counts["ok"] == before + 1


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_that_broke_is_made_again(service: Service, faults: FaultServer, path: str) -> None:
    calls = []
    for _ in range(2):
        before = faults.counts["cut-after-2"]
        answer = ask(service, path, "cut-after-2", "broken", stream=True)
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
        calls.append(faults.counts["cut-after-2"] - before)
    assert calls[0] == calls[1] > 0
