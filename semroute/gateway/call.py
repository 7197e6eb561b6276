"""One request on its way: admitted, acted on, recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from semroute.access.accounts import Accounts, Hold
from semroute.access.meters import KINDS, Kind
from semroute.access.permissions import refusal
from semroute.access.reservations import Ask
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.decision import Decision, Signals
from semroute.dialects.dialect import CHAT, endpoint_of
from semroute.errors import (
    BudgetError,
    ContextLengthError,
    ForbiddenError,
    LimitError,
    NoModelError,
    ProviderError,
    RequestError,
    SemrouteError,
)
from semroute.execution import cascade, fallback
from semroute.execution.grading import Grader
from semroute.execution.model_call import Work
from semroute.execution.output_contract import Contract
from semroute.execution.stream_recovery import Answer
from semroute.execution.streaming import OpenStream
from semroute.gateway.act import Whole, caller
from semroute.gateway.serving import Serving
from semroute.messages import Chunk, Completion, Text, Usage
from semroute.record import Attempt, Outcome, Record, cost_usd, served
from semroute.routing.difficulty import Reading
from semroute.routing.policy import is_too_long
from semroute.routing.pricing import saved_usd
from semroute.routing.scoring import Floats
from semroute.stores.log_content import without_prompt

if TYPE_CHECKING:
    from semroute.gateway.gateway import Gateway

MAX_FEATURE_CHARS = 64


class Origin(NamedTuple):
    """What a request came from and was decided with."""

    serving: Serving
    caller: Caller
    reading: Reading
    signals: Signals
    at: float
    """When it came, by the gateway's clock."""
    started: float
    """The same, by `time.perf_counter()`."""

    @property
    def config(self) -> Config:
        """What was in service."""
        return self.serving.router.config


class Call:
    """One request with its decision. `decided`, `complete` or `stream` it once."""

    def __init__(
        self, gateway: Gateway, work: Work, decision: Decision, origin: Origin, attempts: list[Attempt]
    ) -> None:
        """`attempts`: calls that deciding took."""
        self.request = work.request
        self.decision = decision
        self._gateway = gateway
        self._work = work
        self._origin = origin
        self._config = origin.config
        # Only answers have a text that could be checked.
        is_chat = endpoint_of(work.request) == CHAT
        self._cascade = work.policy.cascade if is_chat else None
        route = self._config.routes.get(decision.route or "")
        self._contract = route.output if route is not None and is_chat else None
        self._attempts = attempts
        self._ended: float | None = None
        self._outcome: Outcome = "running"
        self._spent = False
        self._error: str | None = None
        self._final: Record | None = None
        self._hold: Hold | None = None
        self._answer: list[str] = []

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        return self._final or self._account()

    @property
    def timeouts(self) -> Timeouts:
        """The deadlines of each call to a model."""
        return self._work.policy.timeouts

    @property
    def logs_answer(self) -> bool:
        """Whether the log may hold what the caller is given."""
        return self._config.log.content != "none"

    @property
    def held(self) -> str:
        """For what a streamed answer is held back until it has passed: `cascade` or `contract`; empty: it is not."""
        return "cascade" if self._cascade is not None else "contract" if self._contract is not None else ""

    def undecided(self, error: BaseException) -> None:
        """Record a request that went wrong, or whose caller went away, after calls that deciding took."""
        self._gateway.begin()
        if self._gateway.accounts is not None:
            self._hold = self._open_hold(self._gateway.accounts)
        self.end("cancelled" if isinstance(error, asyncio.CancelledError) else "failed", error)

    @property
    def costs_known(self) -> bool:
        """Whether nothing more will be spent: the call has ended, or a streamed answer was held until it was whole."""
        return self._spent or self._outcome != "running"

    async def decided(self) -> None:
        """Record a request that asked for the decision alone. Raises `ForbiddenError` and `LimitError`."""
        self._gateway.begin()
        try:
            await self._admit(spends=False)
        except BaseException as error:
            self._fail(error)
            raise
        self.end("decided")

    async def complete(self) -> Completion:
        """Act and record.

        Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`, `BudgetError`, `ForbiddenError`, `LimitError`.
        """
        self._gateway.begin()
        try:
            await self._admit()
            completion = await self._act()
        except BaseException as error:
            self._fail(error)
            raise
        if self.logs_answer:
            self._answer.append(completion.text)
        self.end("ok")
        return completion

    async def stream(self) -> Chunks:
        """Act up to the first content; `Chunks` gives the rest, and records at its end. Raises as `complete`."""
        self._gateway.begin()
        try:
            await self._admit()
            if self.held:
                whole = Whole(await self._act())
                self._spent = True
                return Chunks(self, whole)
            return Chunks(self, await fallback.open_stream(self._work, self._attempts))
        except BaseException as error:
            self._fail(error)
            raise

    async def _act(self) -> Completion:
        if self._cascade is None:
            return await fallback.complete(self._work, self._attempts)
        serving = self._origin.serving
        judges = msgspec.structs.replace(self._work, contract=None)
        gateway, models = self._gateway, serving.router.config.models
        grader = Grader(caller(judges), models, serving.transport, gateway.examiner, gateway.judges)
        call = caller(self._work)
        return await cascade.complete(self._cascade, self._work, call, grader, self._attempts)

    def note(self, chunk: Chunk) -> None:
        """Keep what the caller is given."""
        self._answer += [part.text for part in chunk.parts if isinstance(part, Text)]

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Record, once."""
        if self._outcome != "running":
            return
        self._outcome, self._ended = outcome, time.perf_counter()
        if error is not None and not isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._error = str(error)
        self._final = self._account()
        record = self._for_the_log(self._final)
        if self._hold is not None:
            self._gateway.settle(self._hold, record)
        self._gateway.end(self.request, record)

    def _fail(self, error: BaseException) -> None:
        """Record what does not end well: a failure, a refusal, or a caller who went away."""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self.end("cancelled")
        else:
            self.end("refused" if isinstance(error, (BudgetError, ForbiddenError, LimitError)) else "failed", error)

    async def _admit(self, *, spends: bool = True) -> None:
        """Reserve what the request may cost. A model without budget leaves the plan."""
        accounts, config = self._gateway.accounts, self._config
        if accounts is not None:
            # It is there before anything is reserved: whoever leaves while it is, `end` frees all of it.
            self._hold = self._open_hold(accounts)
            ask = Ask(request=self.request, policy=self._work.policy, spent=tuple(self._attempts))
            kinds: tuple[Kind, ...] = KINDS if spends else ("requests",)
            admitted = await accounts.admit(config, self._origin.caller, ask, self.decision, self._hold, kinds=kinds)
            self._hold, self.decision = admitted
        plan = tuple(config.models[model_id] for model_id in self.decision.plan)
        if not plan and (forbidden := refusal(config, self._origin.caller, self.decision.rejected)) is not None:
            raise forbidden
        if spends and not plan:
            raise self._no_model(self.decision.rejected)
        self._gateway.admit(self.request, self._origin.caller, self.decision)
        room = self._room if self._hold is not None and self._cascade is None else None
        self._work = msgspec.structs.replace(self._work, plan=plan, room=room)
        if self._contract is not None:
            contract = Contract(self._contract, self._gateway.examiner)
            asked = msgspec.structs.replace(self._work.request, stream=False)
            self._work = msgspec.structs.replace(self._work, request=asked, contract=contract)

    async def _room(self, model: Model) -> bool:
        """Reserve one more answer, of a model that is called beside another, or goes on where another broke off."""
        accounts, hold = self._gateway.accounts, self._hold
        assert accounts is not None and hold is not None
        self._hold = hold = msgspec.structs.replace(hold, more=hold.more + 1)
        ask = Ask(request=self.request, policy=self._work.policy)
        return await accounts.more(self._config, hold, ask, self.decision, model.id)

    def _open_hold(self, accounts: Accounts) -> Hold | None:
        return accounts.open(self._config, self._origin.caller, self.request.id, self.decision.route)

    def _no_model(self, rejected: dict[str, str]) -> SemrouteError:
        """Why nothing of the plan is left: the request itself, or what may be over in a moment."""
        if rejected and all(self._origin.signals.why_not(model) is None for model in rejected):
            reasons = "; ".join(f"{model}: {reason}" for model, reason in rejected.items())
            if all(is_too_long(reason) for reason in rejected.values()):
                return ContextLengthError(f"no model of the plan has room for this request: {reasons}")
            return RequestError(f"no model of the plan can serve this request: {reasons}")
        return NoModelError(rejected, retry_after_s=self._work.deployments.retry_after_s(rejected))

    def _account(self) -> Record:
        origin, attempts = self._origin, tuple(self._attempts)
        elapsed_ms = ((self._ended or time.perf_counter()) - origin.started) * 1000
        config, chosen = self._config, served(attempts)
        model = config.models.get(chosen.model) if chosen is not None else None
        baseline, saved = config.models.get(config.baseline), Decimal(0)
        answered = self._outcome == "ok" or (self._outcome == "running" and self._spent)
        if answered and baseline is not None:
            saved = saved_usd(baseline, Usage() if chosen is None else chosen.usage, cost_usd(attempts))
        return Record(
            request_id=self.request.id,
            decision=self.decision,
            attempts=attempts,
            outcome=self._outcome,
            overhead_ms=max(0.0, elapsed_ms - sum([attempt.latency_ms for attempt in attempts])),
            at=origin.at,
            latency_ms=elapsed_ms,
            caller=origin.caller,
            tier=model.tier if model is not None else "",
            feature=str(self.request.metadata.get("feature") or "")[:MAX_FEATURE_CHARS],
            saved_usd=saved,
            error=self._error,
        )

    def _for_the_log(self, record: Record) -> Record:
        """With the evidence, and with as much of the texts as the log may hold."""
        keep, reading = self._config.log, self._origin.reading
        attempts, error, prompt = record.attempts, record.error, None
        if keep.content != "none" or error or any([attempt.error for attempt in attempts]):
            prompt = "\n".join(message.text for message in self.request.messages)
        if prompt is not None and keep.content != "full":
            error = without_prompt(error, prompt)
            attempts = tuple(
                msgspec.structs.replace(attempt, error=without_prompt(attempt.error, prompt)) for attempt in attempts
            )
        return msgspec.structs.replace(
            record,
            attempts=attempts,
            error=error,
            embedding=_halves(reading.embedding) if keep.embedding else b"",
            scores=_halves(reading.scores),
            routes=tuple(self._config.routes),
            content=keep.content,
            prompt=None if keep.content == "none" else prompt,
            answer=None if keep.content == "none" else "".join(self._answer),
        )


def _halves(values: Floats) -> bytes:
    """As float16, little-endian."""
    return values.astype("<f2").tobytes() if values.size else b""


class Chunks:
    """A streamed answer that has begun. Iterate it once, and `aclose` it in any case: only then it is recorded."""

    def __init__(self, call: Call, opened: OpenStream | Answer | Whole) -> None:
        self._call = call
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises `ProviderError` where the answer breaks."""
        logged = self._call.logs_answer
        try:
            async for chunk in self._opened:
                if logged:
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
