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
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import msgspec

from semroute.access.accounts import Accounts, Hold
from semroute.errors import BudgetError, LimitError, NoModelError, OverloadedError
from semroute.execution import strategies
from semroute.execution.attempt import Work
from semroute.execution.streaming import OpenStream
from semroute.providers.base import Provider
from semroute.providers.echo import EchoProvider
from semroute.providers.http import open_providers
from semroute.providers.transport import Transport
from semroute.record import Caller, Record
from semroute.router import Observation, Router
from semroute.routing.decide import Choice
from semroute.routing.facts import Facts, read_facts
from semroute.routing.pricing import saved_usd
from semroute.stores.content import without_prompt
from semroute.types import Attempt, ChatRequest, Chunk, Completion, Decision, Frozen, Outcome, Signals, Text

MAX_FEATURE_CHARS = 64
MAX_WAITING = 1024
"""Prompts that may wait for an embedding at once; further ones are turned away."""


class Serving(Frozen, frozen=True, kw_only=True):
    """What requests are served with. A reload replaces it whole; a request keeps the one it began with."""

    router: Router
    providers: Mapping[str, Provider]
    """By model id; those that cannot be called are absent."""
    unavailable: dict[str, str]
    """Models that cannot be called, and why."""
    priced_on: datetime.date | None = None
    """The day, UTC, whose prices the router has; null: it has just been loaded."""

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
        self,
        serving: Serving,
        on_record: Callable[[Record], None],
        accounts: Accounts | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without `accounts` nothing is limited."""
        self.serving = serving
        self.accounts = accounts
        self.on_record = on_record
        self.clock = clock
        self._room: Callable[[], Awaitable[None]] | None = None
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="embed")
        self._waiting = 0
        self._settling: set[asyncio.Task[None]] = set()

    def keep(
        self, on_record: Callable[[Record], None], accounts: Accounts, room: Callable[[], Awaitable[None]]
    ) -> None:
        """Keep books. `room` is awaited before a request begins."""
        self.on_record, self.accounts, self._room = on_record, accounts, room

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
        serving = self._serving_on(datetime.datetime.fromtimestamp(at, datetime.UTC).date())
        router = serving.router
        facts = read_facts(request)
        choice, observation = router.choose(request, facts), Observation(candidates=())
        if choice is None:
            observation = await self._match(router, facts)
            choice = router.choose_semantic(observation.candidates)
        signals, why = Signals(unavailable=serving.unavailable), ""
        if self.accounts is not None:
            signals, why = await self.accounts.signals(router.config, caller, choice.route, signals)
        decision = router.decide(request, facts, choice, signals)
        decision = msgspec.structs.replace(
            decision,
            thrift=signals.thrift,
            explanation=f"{decision.explanation}; {why}, so the choice leans to cheap" if why else decision.explanation,
            latency_ms=(time.perf_counter() - started) * 1000,
        )
        return Call(self, serving, request, caller, choice, decision, observation, at, started)

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

    async def _match(self, router: Router, facts: Facts) -> Observation:
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} prompts are waiting to be matched already: try again later")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            observations = await loop.run_in_executor(self._threads, router.observe, [facts.text])
        finally:
            self._waiting -= 1
        return observations[0]


class Call:
    """One request with its decision. `decided`, `complete` or `stream` it once."""

    def __init__(
        self,
        gateway: Gateway,
        serving: Serving,
        request: ChatRequest,
        caller: Caller,
        choice: Choice,
        decision: Decision,
        observation: Observation,
        at: float,
        started: float,
    ) -> None:
        """`at` and `started`: when the request came, by the gateway's clock and by `time.perf_counter()`."""
        self.request = request
        self.decision = decision
        self._gateway = gateway
        self._serving = serving
        self._config = serving.router.config
        self._caller = caller
        self._choice = choice
        self._observation = observation
        self._attempts: list[Attempt] = []
        self._outcome: Outcome = "running"
        self._error: str | None = None
        self._hold: Hold | None = None
        self._answer: list[str] = []
        self._at = at
        self._started = started

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        elapsed_ms = (time.perf_counter() - self._started) * 1000
        record = Record(
            request_id=self.request.id,
            decision=self.decision,
            attempts=tuple(self._attempts),
            outcome=self._outcome,
            overhead_ms=max(0.0, elapsed_ms - sum(attempt.latency_ms for attempt in self._attempts)),
            at=self._at,
            latency_ms=elapsed_ms,
            caller=self._caller,
            feature=str(self.request.metadata.get("feature") or "")[:MAX_FEATURE_CHARS],
            error=self._error,
        )
        baseline = self._config.models.get(self._config.baseline)
        saved = Decimal(0)
        if self._outcome == "ok" and baseline is not None:
            saved = saved_usd(baseline, record.usage, record.cost_usd)
        model = self._config.models.get(record.model or "")
        return msgspec.structs.replace(record, saved_usd=saved, tier=model.tier if model else "")

    async def decided(self) -> None:
        """Record a request that asked for the decision alone. Raises `LimitError`."""
        with self._recorded():
            await self._admit(spends=False)
        self._end("decided")

    async def complete(self) -> Completion:
        """Act and record. Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`, `BudgetError`, `LimitError`."""
        with self._recorded():
            await self._admit()
            completion = await strategies.complete(self._work, self._attempts)
        self._answer.append(completion.text)
        self._end("ok")
        return completion

    async def stream(self) -> AsyncGenerator[Chunk]:
        """Act up to the first content; the generator gives the rest, and records at its end. Raises as `complete`."""
        with self._recorded():
            await self._admit()
            opened = await strategies.open_stream(self._work, self._attempts)
        return self._chunks(opened)

    @property
    def _work(self) -> Work:
        if not self.decision.plan:
            raise NoModelError(self.decision.rejected)
        return Work(
            request=self.request,
            plan=tuple(self._config.models[model_id] for model_id in self.decision.plan),
            timeouts=self._choice.policy.timeouts,
            providers=self._serving.providers,
            count_tokens=self._serving.router.embedder.count_tokens,
        )

    async def _admit(self, *, spends: bool = True) -> None:
        accounts, request, decision = self._gateway.accounts, self.request, self.decision
        if accounts is not None:
            admitted = await accounts.admit(self._config, self._caller, request, decision, spends=spends)
            self._hold, self.decision = admitted

    async def _chunks(self, opened: OpenStream) -> AsyncGenerator[Chunk]:
        keeps_text = self._config.log.content != "none"
        with self._recorded():
            try:
                async for chunk in opened:
                    if keeps_text:
                        self._answer += [part.text for part in chunk.parts if isinstance(part, Text)]
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
        except (BudgetError, LimitError) as error:
            self._error = str(error)
            self._end("refused")
            raise
        except BaseException as error:
            self._error = str(error)
            self._end("failed")
            raise

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        record = self._for_the_log(self.record)
        if self._hold is not None:
            self._gateway.settle(self._hold, record)
        self._gateway.on_record(record)

    def _for_the_log(self, record: Record) -> Record:
        """With the evidence, and with as much of the texts as the log may hold."""
        keep = self._config.log
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
            embedding=self._observation.embedding if keep.embedding else b"",
            scores=self._observation.scores,
            routes=tuple(self._config.routes),
            content=keep.content,
            prompt=None if keep.content == "none" else prompt,
            answer=None if keep.content == "none" else "".join(self._answer),
        )
