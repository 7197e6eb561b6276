"""A gateway with trials in this process, and a real HTTP server that plays all models."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from semroute import Router
from semroute.access.trial_budget import TrialBudget
from semroute.dialects.openai.client import OpenAI
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import Completion
from semroute.providers.transport import Transport
from semroute.record import Record, Trial
from semroute.stores.memory import MemoryState
from semroute.trials.kinds import trial_kinds
from semroute.trials.trial_runner import Trials
from tests.vendors.server import Cut, Refused, Vendor, VendorServer

MODELS = """
providers:
  local: {{dialect: openai, base_url: "{url}/v1", api_key: sk-none-0123456789, {provider}
models:
  small: {{provider: local, name: small-1, tier: simple, input_price: 1, output_price: 2, {small}
  large: {{provider: local, name: large-1, tier: complex, input_price: 10, output_price: 20, {large}
  judge: {{provider: local, name: judge-1, input_price: 5, output_price: 5}}
default: {{models: [small]}}
log: {{content: {content}}}
"""
TLS = ssl.create_default_context()
Says = str | dict[str, Any] | Exception | Callable[[dict[str, Any]], "Says"]


class Cast(Vendor):
    """Answers for each model by name as it was told: with a text, a message, an error, or what a function returns."""

    def __init__(self, **says: Says) -> None:
        self.says = {f"{name}-1": said for name, said in says.items()}
        self.leave = threading.Event()
        """Ends the waiting of `wait`."""
        self.asked = threading.Semaphore(0)
        """Released when a call waits."""
        self.usage: dict[str, int] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}

    def wait(self, body: dict[str, Any]) -> Says:
        """Answer nothing until the test is over."""
        self.asked.release()
        self.leave.wait(20)
        return Cut()

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        message = self._message(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]} | {
            "usage": self.usage
        }

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        message = self._message(body)
        pieces: list[dict[str, Any]] = [{"content": word} for word in str(message["content"] or "").split(" ")]
        for call in message.get("tool_calls") or ():
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            begun = {**call, "function": {"name": name, "arguments": ""}}
            pieces += [{"tool_calls": [{"index": 0, **begun}]}]
            pieces += [{"tool_calls": [{"index": 0, "function": {"arguments": each}}]} for each in arguments]
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        for delta, finish in [*((piece, None) for piece in pieces), ({}, reason)]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            yield f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
        yield b"data: [DONE]\n\n"

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self.says[body["model"]]
        while callable(said):
            said = said(body)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, dict) else {"role": "assistant", "content": said}


def failing(status: int = 500, **headers: str) -> Refused:
    return Refused(status, {"error": {"message": "broken"}}, {name.replace("_", "-"): v for name, v in headers.items()})


def calling(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def routes_yaml(url: str, text: str, **given: str) -> str:
    """Return a route file. `given`: the end of an entry, by name, and what the log keeps of texts."""
    ends = {"provider": "}", "small": "}", "large": "}", "content": "none", **given}
    models = MODELS.format(url=url, **ends)
    return (models.replace("default: {models: [small]}\n", "") if "default:" in text else models) + text


class Stage:
    """One service. `trials` and `drops` are what became of the trials."""

    before: Router | None = None
    """The router of the stage before: its embedder is used again."""

    def __init__(self, folder: Path, cast: Cast, server: VendorServer, text: str, **given: str) -> None:
        (folder / "routes.yaml").write_text(routes_yaml(server.url, text, **given))
        self.server, self.cast = server, cast
        self.records: list[Record] = []
        self.trials: list[Trial] = []
        self.drops: list[tuple[str, str]] = []
        self.state = MemoryState()
        self.budget = TrialBudget(self.state)
        self._for_answers = Transport(tls=TLS)
        self.in_service = InService(Serving.open(Router.load(folder, previous=Stage.before), self._for_answers))
        Stage.before = self.in_service.serving.router
        self._changed = asyncio.Event()
        self._transport = Transport(tls=TLS)
        self.runner = Trials(
            trial_kinds(self._transport),
            self.budget,
            self._written,
            on_trial=self._tried,
            on_drop=self._dropped,
            rng=random.Random(5),
            looked=self._idle,
            used=lambda: 0.0,
        )
        self.gateway = Gateway(self.in_service, self.records.append)
        wanted = self.runner.wanted(self.in_service.config())
        self.gateway.recorder.trials = self.runner if wanted else None
        self._n = 0
        self._running: asyncio.Task[None] | None = None

    async def _written(self, trials: Sequence[Trial]) -> None:
        pass

    async def _idle(self) -> float:
        return 0.0

    def _tried(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._changed.set()

    def _dropped(self, purpose: str, reason: str, count: int) -> None:
        self.drops += [(purpose, reason)] * count
        self._changed.set()

    @property
    def deployments(self) -> Any:
        return self.in_service.serving.deployments

    async def ask(self, text: str = "What is the capital?", *, stream: bool = False, **body: Any) -> str:
        """Ask as a caller does, and return the text of the answer."""
        self._n += 1
        asked = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": stream, **body}
        call = await self.gateway.open(OpenAI().parse_request(asked, f"{self._n:028x}"))
        if not stream:
            return (await call.complete()).text
        parts = [part async for chunk in await call.stream() for part in chunk.parts]
        return Completion(parts=tuple(parts), finish_reason="stop", usage=None, model="").text

    async def outcomes(self, count: int) -> None:
        """Wait until so many trials were made or dropped."""
        async with asyncio.timeout(20):
            while len(self.trials) + len(self.drops) < count:
                self._changed.clear()
                await self._changed.wait()

    def bodies(self, name: str) -> list[dict[str, Any]]:
        """What a model was asked."""
        return [seen.body for seen in self.server.requests if seen.body["model"] == f"{name}-1"]

    def stop(self) -> None:
        """Stop making trials, as a service does at its end."""
        assert self._running is not None
        self._running.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._running = asyncio.create_task(self.runner.run())
        try:
            yield
        finally:
            self.stop()
            await asyncio.wait([self._running])
            await self.gateway.aclose()
            await self._transport.aclose()
            await self._for_answers.aclose()
