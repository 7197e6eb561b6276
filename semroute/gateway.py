"""The Gateway: each request passes four phases.

gather   facts of the moment: which models can be called
decide   the Router, on values alone; the embedding runs in a thread
act      call the models along the plan
record   what happened, whatever happened
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import msgspec

from semroute.errors import NoModelError, OverloadedError
from semroute.execution import strategies
from semroute.execution.attempt import Work
from semroute.execution.sessions import Sessions, SessionStore
from semroute.execution.streaming import OpenStream
from semroute.providers.base import Provider
from semroute.providers.echo import EchoProvider
from semroute.providers.http import open_providers
from semroute.providers.transport import Transport
from semroute.router import Router
from semroute.routing.decide import Choice
from semroute.routing.facts import Facts
from semroute.routing.sticky import Remembered, stick
from semroute.types import (
    Attempt,
    Candidate,
    ChatRequest,
    Chunk,
    Completion,
    Decision,
    Frozen,
    Outcome,
    Record,
    Signals,
)

Result = TypeVar("Result")

MAX_WAITING = 1024
"""Prompts that may wait for an embedding at once; further ones are turned away."""


class Serving(Frozen, frozen=True, kw_only=True):
    """What requests are served with. A reload replaces it whole; a request keeps the one it began with."""

    router: Router
    providers: Mapping[str, Provider]
    """By model id; those that cannot be called are absent."""
    unavailable: dict[str, str]
    """Models that cannot be called, and why."""

    @classmethod
    def open(cls, router: Router, transport: Transport, *, echo: bool = False) -> Serving:
        """Connect a router's models to their providers; with `echo`, to the offline one."""
        models = router.config.models
        if echo:
            return cls(router=router, providers=dict.fromkeys(models, EchoProvider()), unavailable={})
        opened = open_providers(router.config, transport)
        unavailable = {
            model.id: f"{', '.join(missing)} is not set"
            for model in models.values()
            if (missing := router.config.providers[model.provider].missing_variables)
        }
        providers = {model.id: opened[model.provider] for model in models.values() if model.id not in unavailable}
        return cls(router=router, providers=providers, unavailable=unavailable)


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

    def __init__(
        self, serving: Serving, on_record: Callable[[Record], None], sessions: SessionStore | None = None
    ) -> None:
        """`sessions`: where conversations are remembered; null: in this process."""
        self.serving = serving
        self._on_record = on_record
        self._sessions = Sessions() if sessions is None else sessions
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="embed")
        self._waiting = 0

    async def open(self, request: ChatRequest) -> Call:
        """Gather and decide. Raises `RequestError` for names that do not exist, `OverloadedError`."""
        started = time.perf_counter()
        serving = self.serving
        signals = Signals(unavailable=serving.unavailable)
        router = serving.router
        facts = router.read_facts(request)
        choice = router.choose(request, facts)
        if choice is None:
            choice = router.choose_semantic(await self._match(router, facts), facts)
        choice = stick(router.config, choice, self._sessions.get(request.session) if request.session else None)
        decision = router.decide(request, facts, choice, signals)
        decision = msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)
        self._remember(request, decision, decision.model)
        if request.explain:
            decision = await self._in_thread(partial(router.explain, decision, facts))
        return Call(serving, request, choice, decision, started, self._ended)

    async def aclose(self) -> None:
        """Wait for what the threads are doing."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _match(self, router: Router, facts: Facts) -> tuple[Candidate, ...]:
        return (await self._in_thread(lambda: router.match([facts.text])))[0]

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _remember(self, request: ChatRequest, decision: Decision, model: str | None) -> None:
        """Keep the request's session on a model. What was asked for by name, or by a rule, says nothing of the rest."""
        if request.session and model is not None and decision.reason in ("semantic", "default", "sticky"):
            self._sessions.put(request.session, Remembered(route=decision.route, model=model))

    def _ended(self, request: ChatRequest, record: Record) -> None:
        if record.outcome == "ok":
            self._remember(request, record.decision, record.model)
        self._on_record(record)


class Call:
    """One request with its decision. `complete` or `stream` it once."""

    def __init__(
        self,
        serving: Serving,
        request: ChatRequest,
        choice: Choice,
        decision: Decision,
        started: float,
        on_end: Callable[[ChatRequest, Record], None],
    ) -> None:
        """`started`: when the request came, by `time.perf_counter()`. `on_end` is told how it went, once."""
        models = serving.router.config.models
        self.request = request
        self.decision = decision
        self._work = Work(
            request=request,
            plan=tuple(models[model_id] for model_id in decision.plan),
            timeouts=choice.policy.timeouts,
            providers=serving.providers,
        )
        self._attempts: list[Attempt] = []
        self._outcome: Outcome = "running"
        self._started = started
        self._on_end = on_end

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        elapsed_ms = (time.perf_counter() - self._started) * 1000
        attempts = tuple(self._attempts)
        return Record(
            request_id=self.request.id,
            decision=self.decision,
            attempts=attempts,
            outcome=self._outcome,
            overhead_ms=max(0.0, elapsed_ms - sum(attempt.latency_ms for attempt in attempts)),
        )

    async def complete(self) -> Completion:
        """Act and record. Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`."""
        with self._recorded():
            self._require_plan()
            completion = await strategies.complete(self._work, self._attempts)
        self._end("ok")
        return completion

    async def stream(self) -> AsyncGenerator[Chunk]:
        """Act up to the first content; the generator gives the rest, and records at its end. Raises as `complete`."""
        with self._recorded():
            self._require_plan()
            opened = await strategies.open_stream(self._work, self._attempts)
        return self._chunks(opened)

    async def _chunks(self, opened: OpenStream) -> AsyncGenerator[Chunk]:
        with self._recorded():
            try:
                async for chunk in opened:
                    yield chunk
            finally:
                await opened.aclose()
        self._end("ok")

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Record what does not end well: a failure, or a caller who went away."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._end("cancelled")
            raise
        except BaseException:
            self._end("failed")
            raise

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._on_end(self.request, self.record)

    def _require_plan(self) -> None:
        if not self._work.plan:
            raise NoModelError(self.decision.rejected)
