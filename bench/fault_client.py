"""Ask a gateway, and judge the answer as a plain careful client would."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal, NamedTuple

import httpx

from bench.fault_cases import Case
from semroute.dialects.sse import EventParser
from tests.providers.fault_server import FaultServer

Verdict = Literal["pass", "partial", "safe", "fail"]
"""How good an outcome is. `pass`: as it should be. `partial`: an answer that is not quite right, or one that broke off
and said so. `safe`: a clear error in time, with no text before it. `fail`: the caller still waits, or takes something
wrong for an answer."""


class Result(NamedTuple):
    """The result of one case."""

    passed: bool
    outcome: str
    attempts: int
    """Calls that reached the fault provider."""
    wall_s: float
    note: str = ""
    model: str | None = None
    verdict: Verdict = "pass"


class Seen(NamedTuple):
    """What the caller got."""

    outcome: str
    text: str = ""
    model: str | None = None
    usage: dict[str, Any] | None = None
    detail: str = ""


class Client:
    """A client of one gateway, in OpenAI's dialect."""

    def __init__(self, base_url: str, key: str, prefix: str, provider: FaultServer) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, trust_env=False, headers={"authorization": f"Bearer {key}"})
        self._prefix = prefix
        self._provider = provider

    async def ask(self, case: Case) -> Result:
        """Send one request, and check everything about the answer."""
        loop = asyncio.get_running_loop()
        names = [case.model(scenario) for scenario in case.plan]
        before = sum(self._provider.counts[name] for name in names)
        started = loop.time()
        try:
            async with asyncio.timeout(case.wall_s + 5):
                seen = await self._ask(case)
        except TimeoutError:
            seen = Seen("hung")
        except httpx.HTTPError as error:
            seen = Seen("broken", detail=f"{type(error).__name__}: {error}")
        wall_s = loop.time() - started
        attempts = sum(self._provider.counts[name] for name in names) - before
        problems = list(_problems(case, seen, attempts, wall_s, names))
        note = "; ".join(problems) or seen.detail[:60]
        verdict: Verdict = _verdict(seen, wall_s <= case.wall_s) if problems else "pass"
        return Result(not problems, seen.outcome, attempts, wall_s, note, seen.model, verdict)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, case: Case) -> Seen:
        body = {
            "model": self._prefix + case.name,
            "messages": [{"role": "user", "content": "Say something."}],
            "stream": case.stream,
        }
        if case.stream:
            body["stream_options"] = {"include_usage": True}
        async with self._http.stream("POST", "chat/completions", json=body, timeout=None) as response:
            if response.status_code != 200:
                text = (await response.aread()).decode("utf-8", "replace")
                kind = "error" if response.status_code >= 500 or response.status_code == 429 else "refused"
                known = "error" in _decoded(text)
                return Seen(kind if known else "broken", detail=f"{response.status_code} {text}")
            model = response.headers.get("x-semroute-model")
            if case.stream:
                return await _read_stream(case, response, model)
            answer = _decoded((await response.aread()).decode("utf-8", "replace"))
        text = answer["choices"][0]["message"]["content"] if answer.get("choices") else ""
        outcome = "complete" if text == case.text else "truncated"
        return Seen(outcome, text, model or answer.get("model"), answer.get("usage"))


async def _read_stream(case: Case, response: httpx.Response, model: str | None) -> Seen:
    text, usage, finished, error = "", None, False, None
    parser = EventParser()
    received = [event async for piece in response.aiter_bytes() for event in parser.feed(piece)]
    for each in received:
        event = _decoded(each.data.decode())
        error = event.get("error", error)
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            text += (choice.get("delta") or {}).get("content") or ""
            finished = finished or bool(choice.get("finish_reason"))
    if error is not None:
        return Seen("error", text, model, usage, json.dumps(error))
    whole = finished and (text == case.text or _but_one(case, text))
    return Seen("complete" if whole else "truncated", text, model, usage)


def _verdict(seen: Seen, in_time: bool) -> Verdict:
    """Return the verdict on a case that did not pass."""
    if not in_time or seen.outcome not in ("complete", "error", "refused"):
        return "fail"
    return "partial" if seen.text else "safe"


def _but_one(case: Case, text: str) -> bool:
    """Return whether only the text of a malformed chunk is missing. A gateway may skip a chunk that it cannot read."""
    words = case.text.split(" ")
    return "malformed" in case.name and any(
        text == " ".join(words[:place] + words[place + 1 :]) for place in range(len(words))
    )


def _problems(case: Case, seen: Seen, attempts: int, wall_s: float, names: list[str]) -> Any:
    if seen.outcome not in case.accept:
        yield f"got {seen.outcome}, expected {' or '.join(case.accept)}: {seen.detail or seen.text!r}"[:300]
    if not case.attempts[0] <= attempts <= case.attempts[1]:
        yield f"got {attempts} attempts, expected {case.attempts[0]} to {case.attempts[1]}"
    if wall_s > case.wall_s:
        yield f"took {wall_s:.1f} s, expected at most {case.wall_s:g} s"
    if seen.outcome != "complete":
        return
    if case.served_by is not None and seen.model != names[case.served_by]:
        yield f"expected {names[case.served_by]} to answer, got {seen.model}"
    if not seen.usage or seen.usage.get("prompt_tokens", 0) <= 0:
        yield f"got the usage {seen.usage}, expected prompt_tokens above 0"


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
