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

import msgspec

from semroute.config.schema import Config
from semroute.errors import NoModelError, OverloadedError, ProviderConnectionError
from semroute.execution import cascade, strategies
from semroute.execution.attempt import Work
from semroute.execution.classifier import RouteClassifier
from semroute.execution.contract import ContractProvider
from semroute.execution.grading import CallModel, Grader
from semroute.execution.streaming import OpenStream
from semroute.providers.base import Provider
from semroute.providers.echo import EchoProvider
from semroute.providers.http import open_providers
from semroute.providers.transport import Transport
from semroute.router import Router
from semroute.routing.decide import Choice
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts, read_facts
from semroute.types import (
    Attempt,
    ChatRequest,
    Chunk,
    Completion,
    Decision,
    Frozen,
    JsonContract,
    Model,
    Outcome,
    Record,
    Signals,
    Timeouts,
)

MAX_WAITING = 1024
"""Prompts that may wait for an embedding at once; further ones are turned away."""


class Serving(Frozen, frozen=True, kw_only=True):
    """What requests are served with. A reload replaces it whole; a request keeps the one it began with."""

    router: Router
    providers: Mapping[str, Provider]
    """By model id; those that cannot be called are absent."""
    unavailable: dict[str, str]
    """Models that cannot be called, and why."""
    transport: Transport | None = None
    """For callbacks of checks."""
    classifier: RouteClassifier | None = None

    @classmethod
    def open(cls, router: Router, transport: Transport, *, echo: bool = False) -> Serving:
        """Connect a router's models to their providers; with `echo`, to the offline one."""
        models = router.config.models
        if echo:
            echoes = dict.fromkeys(models, EchoProvider())
            return cls(router=router, providers=echoes, unavailable={}, transport=transport)
        opened = open_providers(router.config, transport)
        unavailable = {
            model.id: f"{', '.join(missing)} is not set"
            for model in models.values()
            if (missing := router.config.providers[model.provider].missing_variables)
        }
        providers = {model.id: opened[model.provider] for model in models.values() if model.id not in unavailable}
        return cls(
            router=router,
            providers=providers,
            unavailable=unavailable,
            transport=transport,
            classifier=_classifier(router.config),
        )


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

    def __init__(self, serving: Serving, on_record: Callable[[Record], None]) -> None:
        self.serving = serving
        self._on_record = on_record
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="embed")
        self._waiting = 0

    async def open(self, request: ChatRequest) -> Call:
        """Gather and decide. Raises `RequestError` for names that do not exist, `OverloadedError`."""
        started = time.perf_counter()
        serving = self.serving
        signals = Signals(unavailable=serving.unavailable)
        router = serving.router
        facts = read_facts(request)
        choice = router.choose(request, facts)
        reading = await self._read(router, facts) if router.needs_reading(request, facts, choice) else None
        attempts: list[Attempt] = []
        if choice is None:
            choice = router.choose_semantic(reading.candidates if reading is not None else (), facts)
            choice = await self._classify(serving, request, facts, choice, attempts)
        decision = router.decide(request, facts, choice, signals, reading)
        decision = msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)
        return Call(serving, request, choice, decision, started, self._on_record, attempts)

    async def aclose(self) -> None:
        """Wait for what the threads are doing."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _classify(
        self, serving: Serving, request: ChatRequest, facts: Facts, choice: Choice, attempts: list[Attempt]
    ) -> Choice:
        """The classifier's choice, where there is one and it knows; else the semantic one."""
        candidates = choice.match.candidates
        if serving.classifier is None or not serving.classifier.wanted(candidates[0].route if candidates else None):
            return choice
        call = caller(serving.providers, choice.policy.timeouts)
        label = await serving.classifier.label(facts.text, request.id, call, attempts)
        return choice if label is None else serving.router.choose_classified(label, choice)

    async def _read(self, router: Router, facts: Facts) -> Reading:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, router.read, facts.text)
        finally:
            self._waiting -= 1


class Call:
    """One request with its decision. `complete` or `stream` it once."""

    def __init__(
        self,
        serving: Serving,
        request: ChatRequest,
        choice: Choice,
        decision: Decision,
        started: float,
        on_record: Callable[[Record], None],
        attempts: list[Attempt] | None = None,
    ) -> None:
        """`started`: when the request came, by `time.perf_counter()`. `attempts`: calls that deciding took."""
        models = serving.router.config.models
        route = serving.router.config.routes.get(choice.route or "")
        self._cascade = choice.policy.cascade
        self._models = models
        self._transport = serving.transport
        self.request = request
        self.decision = decision
        self._work = Work(
            request=request,
            plan=tuple(models[model_id] for model_id in decision.plan),
            timeouts=choice.policy.timeouts,
            providers=_contracted(serving.providers, decision.plan, route.output if route is not None else None),
        )
        self._judges = serving.providers
        self._attempts: list[Attempt] = [] if attempts is None else attempts
        self._outcome: Outcome = "running"
        self._started = started
        self._on_record = on_record

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

    @property
    def held(self) -> bool:
        """Whether a streamed answer is held back until it passed its checks."""
        return self._cascade is not None

    async def complete(self) -> Completion:
        """Act and record. Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`."""
        with self._recorded():
            self._require_plan()
            completion = await self._act()
        self._end("ok")
        return completion

    async def _act(self) -> Completion:
        if self._cascade is None:
            return await strategies.complete(self._work, self._attempts)
        grader = Grader(caller(self._judges, self._work.timeouts), self._models, self._transport)
        call = caller(self._work.providers, self._work.timeouts)
        return await cascade.complete(self._cascade, self.request, self._work.plan, call, grader, self._attempts)

    async def stream(self) -> AsyncGenerator[Chunk]:
        """Act up to the first content; the generator gives the rest, and records at its end. Raises as `complete`."""
        with self._recorded():
            self._require_plan()
            if self._cascade is not None:
                return self._whole(await self._act())
            opened = await strategies.open_stream(self._work, self._attempts)
        return self._chunks(opened)

    async def _whole(self, completion: Completion) -> AsyncGenerator[Chunk]:
        """A whole answer as a stream of one piece."""
        with self._recorded():
            yield Chunk(parts=completion.parts, model=completion.model, id=completion.id)
            yield Chunk(finish_reason=completion.finish_reason, model=completion.model, id=completion.id)
            if completion.usage is not None:
                yield Chunk(usage=completion.usage, model=completion.model, id=completion.id)
        self._end("ok")

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
        self._on_record(self.record)

    def _require_plan(self) -> None:
        if not self._work.plan:
            raise NoModelError(self.decision.rejected)


def caller(providers: Mapping[str, Provider], timeouts: Timeouts) -> CallModel:
    """Calls one model as the plan's models are called, without another to fall back to."""

    async def call(request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
        if model.id not in providers:
            raise ProviderConnectionError(f"{model.id} cannot be called")
        work = Work(request=request, plan=(model,), timeouts=timeouts, providers=providers)
        return await strategies.complete(work, attempts)

    return call


def _contracted(
    providers: Mapping[str, Provider], plan: tuple[str, ...], contract: JsonContract | None
) -> Mapping[str, Provider]:
    if contract is None:
        return providers
    return {model: ContractProvider(providers[model], contract) for model in plan}


def _classifier(config: Config) -> RouteClassifier | None:
    if config.classifier is None:
        return None
    return RouteClassifier(config.classifier, config.routes, config.models[config.classifier.model])
