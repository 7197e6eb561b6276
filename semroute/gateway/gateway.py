"""Gathers and decides; a `Call` acts and records."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

import msgspec

from semroute.access.accounts import Accounts, Hold
from semroute.caller import Caller
from semroute.decision import Decision, Match, Signals
from semroute.dialects.dialect import EMBEDDINGS, endpoint_of
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.execution.check_processes import Examiner
from semroute.execution.judge_health import Judges
from semroute.execution.model_call import Work
from semroute.execution.sessions import Sessions, SessionStore
from semroute.gateway.act import caller as call_one
from semroute.gateway.call import Call, Origin
from semroute.gateway.encoder_threads import Readers
from semroute.gateway.serving import Serving
from semroute.messages import ChatRequest
from semroute.record import Attempt, Record
from semroute.router import Router
from semroute.routing import model_aliases
from semroute.routing.decide import AUTO, Choice
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts
from semroute.routing.sticky import Remembered, stick

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY_S = 86_400


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

    def __init__(
        self,
        serving: Serving,
        on_record: Callable[[Record], None],
        *,
        threads: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.serving = serving
        self.accounts: Accounts | None = None
        """Holds budgets and limits; None: nothing is limited."""
        self.sessions: SessionStore = Sessions()
        """Which model each conversation is on."""
        self.clock = clock
        self.running = 0
        """Calls under way."""
        self._on_record = on_record
        self._readers = Readers(threads)
        self.examiner = Examiner()
        """Checks answers."""
        self.judges = Judges()
        """Which judges of answers failed."""
        self._room: Callable[[], Awaitable[None]] | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def keep(
        self, on_record: Callable[[Record], None], accounts: Accounts, room: Callable[[], Awaitable[None]]
    ) -> None:
        """Keep books. `room` is awaited before a request begins."""
        self._on_record, self.accounts, self._room = on_record, accounts, room

    async def open(self, request: ChatRequest, caller: Caller = Caller()) -> Call:
        """Gather and decide.

        Raises `RequestError` for names that do not exist, and `OverloadedError`.
        """
        at, started, session = self.clock(), time.perf_counter(), _session(request, caller)
        if self._room is not None:
            await self._room()
        if caller.metadata:
            request = msgspec.structs.replace(request, metadata={**request.metadata, **caller.metadata})
        serving = self._serving_on(datetime.date.fromordinal(_EPOCH + int(at // _DAY_S)))
        router = serving.router
        asked, request = request, _resolved(router, request)
        read = partial(router.read_facts, request)
        facts = await self._readers.run(read) if request.long else read()
        choice = _choose(router, request, facts, caller)
        reading = await self._readers.read(router, facts.text) if router.needs_reading(request, facts, choice) else None
        attempts: list[Attempt] = []
        tokens = facts.input_tokens + (facts.max_tokens or 0)
        deployments = serving.deployments.at(endpoint_of(request))
        signals, why = Signals(), ""

        def call(choice: Choice, decision: Decision) -> Call:
            sent = request
            if facts.max_tokens is not None:  # what a model's window leaves depends on the input
                sent = msgspec.structs.replace(request, input_tokens=facts.input_tokens)
            work = Work(
                request=sent,
                plan=(),
                providers=serving.providers,
                policy=choice.policy,
                deployments=deployments,
                caller=caller.id,
                input_tokens=tokens,
                sent_tokens=facts.input_tokens if request.long else 0,
                count_tokens=router.embedder.count_tokens,
            )
            origin = Origin(serving, caller, reading or Reading(), signals, at, started)
            return Call(self, work, decision, origin, attempts)

        try:
            if choice is None:
                choice = router.choose_semantic(reading.match if reading is not None else Match(), facts)
                choice = await self._classify(serving, request, facts, choice, attempts, caller)
            choice = stick(router.config, choice, await self.sessions.get(session) if session else None, facts)
            signals = deployments.signals(serving.unavailable, tokens)
            if self.accounts is not None:
                signals, why = await self.accounts.signals(router.config, caller, choice.route, signals)
            decision = router.decide(request, facts, choice, signals, reading)
            decision = msgspec.structs.replace(
                decision,
                thrift=signals.thrift,
                explanation=decision.explanation
                + model_aliases.told(asked, request)
                + (f"; {why}, so the choice leans to cheap" if why else ""),
                latency_ms=(time.perf_counter() - started) * 1000,
            )
            if request.explain:
                decision = await self._readers.run(partial(router.explain, decision, facts))
        except BaseException as error:
            if attempts and choice is not None:  # what deciding took is spent, though nothing comes of it
                call(choice, router.decide(request, facts, choice, signals, reading)).undecided(error)
            raise
        return call(choice, decision)

    def admit(self, request: ChatRequest, caller: Caller, decision: Decision) -> None:
        """A call may act: what is refused is not what its conversation is about."""
        self._remember(_session(request, caller), decision, decision.model)

    def begin(self) -> None:
        """A call begins."""
        self.running += 1

    def end(self, request: ChatRequest, record: Record) -> None:
        """A call has ended, as its record says."""
        self.running -= 1
        if record.outcome == "ok":
            self._remember(_session(request, record.caller), record.decision, record.model)
        self._on_record(record)

    def settle(self, hold: Hold, record: Record) -> None:
        """Count what was spent, behind the answer's back."""
        assert self.accounts is not None
        self._later(self.accounts.settle(hold, record))

    async def aclose(self) -> None:
        """Wait for what the threads are doing, and for what is being counted and remembered."""
        if self._writing:
            await asyncio.wait(self._writing)
        self._readers.close()
        await self.examiner.aclose()

    def _serving_on(self, day: datetime.date) -> Serving:
        """What is in service, at the prices of a day."""
        if self.serving.priced_on != day:
            self.serving = msgspec.structs.replace(self.serving, router=self.serving.router.on(day), priced_on=day)
        return self.serving

    async def _classify(
        self,
        serving: Serving,
        request: ChatRequest,
        facts: Facts,
        choice: Choice,
        attempts: list[Attempt],
        caller: Caller,
    ) -> Choice:
        """The classifier's choice, where there is one and it knows; else the semantic one."""
        candidates, config = choice.compared.candidates, serving.router.config
        if serving.classifier is None or not serving.classifier.wanted(candidates[0].route if candidates else None):
            return choice
        assert config.classifier is not None
        model = config.models[config.classifier.model]
        if self.accounts is not None and await self.accounts.exhausted(config, caller, model.id):
            return choice
        if facts.max_tokens is not None:  # what a model's window leaves depends on the input
            request = msgspec.structs.replace(request, input_tokens=facts.input_tokens)
        work = Work(
            request=request,
            plan=(),
            providers=serving.providers,
            policy=choice.policy,
            deployments=serving.deployments,
            caller=caller.id,
            input_tokens=facts.input_tokens,
        )
        label = await serving.classifier.label(facts.text, request.id, model, call_one(work), attempts)
        return choice if label is None else serving.router.choose_classified(label, choice)

    def _remember(self, session: str, decision: Decision, model: str | None) -> None:
        """Keep a session on a model. What was asked for by name, or by a rule, says nothing of the rest."""
        if session and model is not None and decision.reason not in ("rule", "pinned"):
            self._later(self.sessions.put(session, Remembered(route=decision.route, model=model)))

    def _later(self, writing: Coroutine[None, None, None]) -> None:
        """Write to the shared state behind the answer's back."""
        task = asyncio.get_running_loop().create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _choose(router: Router, request: ChatRequest, facts: Facts, caller: Caller) -> Choice | None:
    """As `Router.choose`. A key for some routes or models is not told what others there are."""
    try:
        return router.choose(request, facts)
    except (UnknownModelError, UnknownRouteError) as error:
        if not caller.restricted:
            raise
        raise type(error)(f"{str(error).rpartition('; ')[0]}; see /v1/models", param=error.param) from None


def _resolved(router: Router, request: ChatRequest) -> ChatRequest:
    """The request by the names that there are here. Raises `RequestError` where embeddings would be routed."""
    found = model_aliases.resolved(router.config, request)
    if found is not request and endpoint_of(request) == EMBEDDINGS and found.model.partition(":")[0] == AUTO:
        told = f"model {request.model!r} is an alias of {found.model}"
        raise RequestError(f"{told}, expected a model's id: embeddings are not routed", param="model")
    return found


def _session(request: ChatRequest, caller: Caller) -> str:
    """The name of a request's conversation; empty: none. Two callers never share one."""
    return f"{caller.id}\0{request.session}" if request.session else ""
