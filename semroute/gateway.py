"""The Gateway: each request passes four phases.

gather   facts of the moment: which models can be called
decide   the Router, on values alone; the embedding runs in a thread
act      call the models along the plan
record   what happened, whatever happened
"""

from __future__ import annotations

import asyncio
import datetime
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple

import msgspec

from semroute.access.accounts import Accounts, Hold
from semroute.config.schema import Config
from semroute.errors import BudgetError, LimitError, NoModelError, OverloadedError, ProviderError
from semroute.execution import strategies
from semroute.execution.attempt import Work
from semroute.execution.continuation import Answer
from semroute.execution.deployments import Deployments
from semroute.execution.streaming import OpenStream
from semroute.providers.base import Provider
from semroute.providers.echo import EchoProvider
from semroute.providers.http import open_providers
from semroute.providers.transport import Transport
from semroute.record import Caller, Record
from semroute.router import Router
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts, read_facts
from semroute.routing.pricing import saved_usd
from semroute.stores.content import without_prompt
from semroute.types import Attempt, ChatRequest, Chunk, Completion, Decision, Frozen, Outcome, Text

MAX_FEATURE_CHARS = 64
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
    priced_on: datetime.date | None = None
    """The day, UTC, whose prices the router has; null: it has just been loaded."""

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
            return cls(router=router, providers=providers, unavailable={}, deployments=known)
        opened = open_providers(router.config, transport, lambda model, told: known.of(model).learn(told))
        unavailable = {
            model.id: f"{', '.join(missing)} is not set"
            for model in models.values()
            if (missing := router.config.providers[model.provider].missing_variables)
        }
        providers = {model.id: opened[model.provider] for model in models.values() if model.id not in unavailable}
        return cls(router=router, providers=providers, unavailable=unavailable, deployments=known)


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

    def __init__(
        self,
        serving: Serving,
        on_record: Callable[[Record], None],
        *,
        max_running: int = MAX_RUNNING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.serving = serving
        self.accounts: Accounts | None = None
        """Holds budgets and limits; null: nothing is limited."""
        self.clock = clock
        self.running = 0
        """Calls under way."""
        self._max_running = max_running
        self._on_record = on_record
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="embed")
        self._waiting = 0
        self._room: Callable[[], Awaitable[None]] | None = None
        self._settling: set[asyncio.Task[None]] = set()

    def keep(
        self, on_record: Callable[[Record], None], accounts: Accounts, room: Callable[[], Awaitable[None]]
    ) -> None:
        """Keep books. `room` is awaited before a request begins."""
        self._on_record, self.accounts, self._room = on_record, accounts, room

    async def open(self, request: ChatRequest, caller: Caller = Caller()) -> Call:
        """Gather and decide.

        Raises `RequestError` for names that do not exist, `ForbiddenError` for a route that the key does not allow, and
        `OverloadedError`.
        """
        at, started = self.clock(), time.perf_counter()
        if self._room is not None:
            await self._room()
        if caller.metadata:
            request = msgspec.structs.replace(request, metadata={**request.metadata, **caller.metadata})
        if self.running >= self._max_running:
            raise OverloadedError(f"{self.running} requests are under way already: try again later")
        serving = self._serving_on(datetime.datetime.fromtimestamp(at, datetime.UTC).date())
        router = serving.router
        facts = read_facts(request)
        choice = router.choose(request, facts)
        reading = await self._read(router, facts) if router.needs_reading(request, facts, choice) else None
        if choice is None:
            choice = router.choose_semantic(reading.candidates if reading is not None else (), facts)
        tokens = facts.input_tokens + (facts.max_tokens or 0)
        signals, why = serving.deployments.signals(serving.unavailable, tokens), ""
        if self.accounts is not None:
            signals, why = await self.accounts.signals(router.config, caller, choice.route, signals)
        decision = router.decide(request, facts, choice, signals, reading)
        decision = msgspec.structs.replace(
            decision,
            thrift=signals.thrift,
            explanation=f"{decision.explanation}; {why}, so the choice leans to cheap" if why else decision.explanation,
            latency_ms=(time.perf_counter() - started) * 1000,
        )
        work = Work(
            request=request,
            plan=(),
            providers=serving.providers,
            policy=choice.policy,
            deployments=serving.deployments,
            input_tokens=tokens,
            count_tokens=router.embedder.count_tokens,
        )
        return Call(self, work, decision, Origin(router.config, caller, reading or Reading(), at, started))

    def begin(self) -> None:
        """A call begins to act."""
        self.running += 1

    def end(self, record: Record) -> None:
        """A call has ended, as its record says."""
        self.running -= 1
        self._on_record(record)

    def settle(self, hold: Hold, record: Record) -> None:
        """Count what was spent, behind the answer's back."""
        assert self.accounts is not None
        task = asyncio.get_running_loop().create_task(self.accounts.settle(hold, record))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def aclose(self) -> None:
        """Wait for what the threads are doing, and for what is being counted."""
        if self._settling:
            await asyncio.wait(self._settling)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _serving_on(self, day: datetime.date) -> Serving:
        """What is in service, at the prices of a day."""
        if self.serving.priced_on != day:
            self.serving = msgspec.structs.replace(self.serving, router=self.serving.router.on(day), priced_on=day)
        return self.serving

    async def _read(self, router: Router, facts: Facts) -> Reading:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, router.read, facts.text)
        finally:
            self._waiting -= 1


class Origin(NamedTuple):
    """What a request came from and was decided with."""

    config: Config
    caller: Caller
    reading: Reading
    at: float
    """When it came, by the gateway's clock."""
    started: float
    """The same, by `time.perf_counter()`."""


class Call:
    """One request with its decision. `decided`, `complete` or `stream` it once."""

    def __init__(self, gateway: Gateway, work: Work, decision: Decision, origin: Origin) -> None:
        self.request = work.request
        self.decision = decision
        self._gateway = gateway
        self._work = work
        self._origin = origin
        self._attempts: list[Attempt] = []
        self._outcome: Outcome = "running"
        self._error: str | None = None
        self._hold: Hold | None = None
        self._answer: list[str] = []

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        origin, attempts = self._origin, tuple(self._attempts)
        elapsed_ms = (time.perf_counter() - origin.started) * 1000
        record = Record(
            request_id=self.request.id,
            decision=self.decision,
            attempts=attempts,
            outcome=self._outcome,
            overhead_ms=max(0.0, elapsed_ms - sum(attempt.latency_ms for attempt in attempts)),
            at=origin.at,
            latency_ms=elapsed_ms,
            caller=origin.caller,
            feature=str(self.request.metadata.get("feature") or "")[:MAX_FEATURE_CHARS],
            error=self._error,
        )
        models = origin.config.models
        model, baseline, saved = models.get(record.model or ""), models.get(origin.config.baseline), Decimal(0)
        if self._outcome == "ok" and baseline is not None:
            saved = saved_usd(baseline, record.usage, record.cost_usd)
        return msgspec.structs.replace(record, saved_usd=saved, tier=model.tier if model else "")

    async def decided(self) -> None:
        """Record a request that asked for the decision alone. Raises `LimitError`."""
        self._gateway.begin()
        with self._recorded():
            await self._admit(spends=False)
        self.end("decided")

    async def complete(self) -> Completion:
        """Act and record. Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`, `BudgetError`, `LimitError`."""
        self._gateway.begin()
        with self._recorded():
            await self._admit()
            completion = await strategies.complete(self._work, self._attempts)
        self._answer.append(completion.text)
        self.end("ok")
        return completion

    async def stream(self) -> Chunks:
        """Act up to the first content; `Chunks` gives the rest, and records at its end. Raises as `complete`."""
        self._gateway.begin()
        with self._recorded():
            await self._admit()
            opened = await strategies.open_stream(self._work, self._attempts)
        return Chunks(self, opened)

    def note(self, chunk: Chunk) -> None:
        """Keep what the caller is given, if the log may hold it."""
        if self._origin.config.log.content != "none":
            self._answer += [part.text for part in chunk.parts if isinstance(part, Text)]

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Record, once."""
        if self._outcome != "running":
            return
        self._outcome = outcome
        if error is not None and not isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._error = str(error)
        record = self._for_the_log(self.record)
        if self._hold is not None:
            self._gateway.settle(self._hold, record)
        self._gateway.end(record)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Record what does not end well: a failure, or a caller who went away."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.end("cancelled")
            raise
        except (BudgetError, LimitError) as error:
            self.end("refused", error)
            raise
        except BaseException as error:
            self.end("failed", error)
            raise

    async def _admit(self, *, spends: bool = True) -> None:
        """Reserve what the request may cost. A model without budget leaves the plan."""
        accounts, config = self._gateway.accounts, self._origin.config
        if accounts is not None:
            admitted = await accounts.admit(config, self._origin.caller, self.request, self.decision, spends=spends)
            self._hold, self.decision = admitted
        plan = tuple(config.models[model_id] for model_id in self.decision.plan)
        if spends and not plan:
            rejected = self.decision.rejected
            raise NoModelError(rejected, retry_after_s=self._work.deployments.retry_after_s(rejected))
        self._work = msgspec.structs.replace(self._work, plan=plan)

    def _for_the_log(self, record: Record) -> Record:
        """With the evidence, and with as much of the texts as the log may hold."""
        keep, reading = self._origin.config.log, self._origin.reading
        prompt = "\n".join(message.text for message in self.request.messages)
        attempts = record.attempts
        if any(attempt.error for attempt in attempts) and keep.content != "full":
            attempts = tuple(
                msgspec.structs.replace(attempt, error=without_prompt(attempt.error, prompt)) for attempt in attempts
            )
        return msgspec.structs.replace(
            record,
            attempts=attempts,
            error=record.error if keep.content == "full" else without_prompt(record.error, prompt),
            embedding=reading.embedding if keep.embedding else b"",
            scores=reading.scores,
            routes=tuple(self._origin.config.routes),
            content=keep.content,
            prompt=None if keep.content == "none" else prompt,
            answer=None if keep.content == "none" else "".join(self._answer),
        )


class Chunks:
    """A streamed answer that has begun. Iterate it once, and `aclose` it in any case: only then it is recorded."""

    def __init__(self, call: Call, opened: OpenStream | Answer) -> None:
        self._call = call
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises `ProviderError` where the answer breaks."""
        try:
            async for chunk in self._opened:
                self._call.note(chunk)
                yield chunk
        except ProviderError as error:
            await self._opened.aclose()
            self._call.end("failed", error)
            raise
        await self._opened.aclose()
        self._call.end("ok")

    async def aclose(self) -> None:
        """Stop, if it has not ended: the caller has gone."""
        try:
            await self._opened.aclose()
        finally:
            self._call.end("cancelled")
