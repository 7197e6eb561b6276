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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import msgspec

from semroute.config.schema import Config
from semroute.errors import NoModelError, OverloadedError, ProviderConnectionError, ProviderError, RequestError
from semroute.execution import cascade, strategies
from semroute.execution.attempt import Work
from semroute.execution.classifier import RouteClassifier
from semroute.execution.continuation import Answer
from semroute.execution.contract import ContractProvider
from semroute.execution.deployments import Deployments
from semroute.execution.grading import CallModel, Grader
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
    ChatRequest,
    Chunk,
    Completion,
    Decision,
    Frozen,
    JsonContract,
    Match,
    Model,
    Outcome,
    Record,
    Signals,
)

Result = TypeVar("Result")

MAX_RUNNING = 2048
"""Requests that may be under way at once; further ones are turned away while the others still get through in time."""
MAX_WAITING = 1024
"""Prompts that may wait for an embedding at once; further ones are turned away."""


class Serving(Frozen, frozen=True, kw_only=True):
    """What requests are served with. A reload replaces it whole; a request keeps the one it began with."""

    router: Router
    providers: Mapping[str, Provider]
    """By model id; those that cannot be called are absent."""
    unavailable: dict[str, str]
    """Models that cannot be called, and why."""
    deployments: Deployments
    """What the calls so far have shown of each model. Not replaced by a reload."""
    transport: Transport | None = None
    """For callbacks of checks."""
    classifier: RouteClassifier | None = None

    @classmethod
    def open(
        cls, router: Router, transport: Transport, *, echo: bool = False, deployments: Deployments | None = None
    ) -> Serving:
        """Connect a router's models to their providers; with `echo`, to the offline one.

        `deployments`: those of the `Serving` that this one replaces.
        """
        models = router.config.models
        known = deployments or Deployments()
        known.keep(models.values())
        if echo:
            providers: dict[str, Provider] = dict.fromkeys(models, EchoProvider())
            return cls(router=router, providers=providers, unavailable={}, deployments=known, transport=transport)
        opened = open_providers(router.config, transport, lambda model, told: known.of(model).learn(told))
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
            deployments=known,
            transport=transport,
            classifier=_classifier(router.config),
        )


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

    def __init__(
        self,
        serving: Serving,
        on_record: Callable[[Record], None],
        *,
        max_running: int = MAX_RUNNING,
        sessions: SessionStore | None = None,
    ) -> None:
        """`sessions`: where conversations are remembered; null: in this process."""
        self.serving = serving
        self.running = 0
        """Calls under way."""
        self._max_running = max_running
        self._on_record = on_record
        self._sessions = Sessions() if sessions is None else sessions
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="embed")
        self._waiting = 0

    async def open(self, request: ChatRequest) -> Call:
        """Gather and decide. Raises `RequestError` for names that do not exist, `OverloadedError`."""
        started = time.perf_counter()
        if self.running >= self._max_running:
            raise OverloadedError(f"{self.running} requests are under way already: try again later")
        serving = self.serving
        router = serving.router
        facts = router.read_facts(request)
        choice = router.choose(request, facts)
        reading = (
            await self._in_thread(partial(router.read, facts.text))
            if router.needs_reading(request, facts, choice)
            else None
        )
        attempts: list[Attempt] = []
        if choice is None:
            choice = router.choose_semantic(reading.match if reading is not None else Match(), facts)
            choice = await self._classify(serving, request, facts, choice, attempts)
        choice = stick(router.config, choice, self._sessions.get(request.session) if request.session else None)
        tokens = facts.input_tokens + (facts.max_tokens or 0)
        signals = serving.deployments.signals(serving.unavailable, tokens)
        decision = router.decide(request, facts, choice, signals, reading)
        decision = msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)
        self._remember(request, decision, decision.model)
        if request.explain:
            decision = await self._in_thread(partial(router.explain, decision, facts))
        models, route = router.config.models, router.config.routes.get(choice.route or "")
        work = Work(
            request=request,
            plan=tuple(models[model_id] for model_id in decision.plan),
            providers=_contracted(serving.providers, decision.plan, route.output if route is not None else None),
            policy=choice.policy,
            deployments=serving.deployments,
            input_tokens=tokens,
        )
        return Call(self, serving, work, signals, decision, attempts, started)

    def begin(self) -> None:
        """A call begins to act."""
        self.running += 1

    def end(self, request: ChatRequest, record: Record) -> None:
        """A call has ended, as its record says."""
        self.running -= 1
        if record.outcome == "ok":
            self._remember(request, record.decision, record.model)
        self._on_record(record)

    async def aclose(self) -> None:
        """Wait for what the threads are doing."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _classify(
        self, serving: Serving, request: ChatRequest, facts: Facts, choice: Choice, attempts: list[Attempt]
    ) -> Choice:
        """The classifier's choice, where there is one and it knows; else the semantic one."""
        candidates = choice.compared.candidates
        if serving.classifier is None or not serving.classifier.wanted(candidates[0].route if candidates else None):
            return choice
        work = Work(
            request=request,
            plan=(),
            providers=serving.providers,
            policy=choice.policy,
            deployments=serving.deployments,
            input_tokens=facts.input_tokens,
        )
        label = await serving.classifier.label(facts.text, request.id, caller(work), attempts)
        return choice if label is None else serving.router.choose_classified(label, choice)

    def _remember(self, request: ChatRequest, decision: Decision, model: str | None) -> None:
        """Keep the request's session on a model. What was asked for by name, or by a rule, says nothing of the rest."""
        if request.session and model is not None and decision.reason not in ("rule", "pinned"):
            self._sessions.put(request.session, Remembered(route=decision.route, model=model))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


class Call:
    """One request with its decision. `complete` or `stream` it once."""

    def __init__(
        self,
        gateway: Gateway,
        serving: Serving,
        work: Work,
        signals: Signals,
        decision: Decision,
        attempts: list[Attempt],
        started: float,
    ) -> None:
        """`attempts`: calls that deciding took. `started`: when the request came, by `time.perf_counter()`."""
        self.request = work.request
        self.decision = decision
        self._gateway = gateway
        self._serving = serving
        self._work = work
        self._cascade = work.policy.cascade
        self._signals = signals
        self._attempts = attempts
        self._outcome: Outcome = "running"
        self._started = started
        self._ended: float | None = None

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        elapsed_ms = ((self._ended or time.perf_counter()) - self._started) * 1000
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
        self._gateway.begin()
        with self._recorded():
            self._require_plan()
            completion = await self._act()
        self.end("ok")
        return completion

    async def _act(self) -> Completion:
        if self._cascade is None:
            return await strategies.complete(self._work, self._attempts)
        judges = msgspec.structs.replace(self._work, providers=self._serving.providers)
        grader = Grader(caller(judges), self._serving.router.config.models, self._serving.transport)
        call = caller(self._work)
        return await cascade.complete(self._cascade, self.request, self._work.plan, call, grader, self._attempts)

    async def stream(self) -> Chunks:
        """Act up to the first content; `Chunks` gives the rest, and records at its end. Raises as `complete`."""
        self._gateway.begin()
        with self._recorded():
            self._require_plan()
            if self._cascade is not None:
                return Chunks(self, Whole(await self._act()))
            opened = await strategies.open_stream(self._work, self._attempts)
        return Chunks(self, opened)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Record what does not end well: a failure, or a caller who went away."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.end("cancelled")
            raise
        except BaseException:
            self.end("failed")
            raise

    def end(self, outcome: Outcome) -> None:
        """Record, once."""
        if self._outcome == "running":
            self._outcome, self._ended = outcome, time.perf_counter()
            self._gateway.end(self.request, self.record)

    def _callable_later(self, model: str) -> bool:
        """Whether a model was left out for what it is now, not for what the request asks."""
        return self._signals.why_not(model) is not None

    def _require_plan(self) -> None:
        if not self._work.plan:
            rejected = self.decision.rejected
            if rejected and not any(self._callable_later(model) for model in rejected):
                reasons = "; ".join(f"{model}: {reason}" for model, reason in rejected.items())
                raise RequestError(f"no model of the plan can serve this request: {reasons}")
            raise NoModelError(rejected, retry_after_s=self._work.deployments.retry_after_s(rejected))


class Chunks:
    """A streamed answer that has begun. Iterate it once, and `aclose` it in any case: only then it is recorded."""

    def __init__(self, call: Call, opened: OpenStream | Answer | Whole) -> None:
        self._call = call
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises `ProviderError` where the answer breaks."""
        try:
            async for chunk in self._opened:
                yield chunk
        except ProviderError:
            await self._opened.aclose()
            self._call.end("failed")
            raise
        await self._opened.aclose()
        self._call.end("ok")

    async def aclose(self) -> None:
        """Stop, if it has not ended: the caller has gone."""
        try:
            await self._opened.aclose()
        finally:
            self._call.end("cancelled")


class Whole:
    """A whole answer as a stream."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks."""
        completion = self._completion
        yield Chunk(parts=completion.parts, model=completion.model, id=completion.id)
        yield Chunk(finish_reason=completion.finish_reason, model=completion.model, id=completion.id)
        if completion.usage is not None:
            yield Chunk(usage=completion.usage, model=completion.model, id=completion.id)

    async def aclose(self) -> None:
        """Nothing to close."""


def caller(work: Work) -> CallModel:
    """Calls one model as the plan's models are called, without another to fall back to."""

    async def call(request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
        if model.id not in work.providers:
            raise ProviderConnectionError(f"{model.id} cannot be called")
        return await strategies.complete(msgspec.structs.replace(work, request=request, plan=(model,)), attempts)

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
