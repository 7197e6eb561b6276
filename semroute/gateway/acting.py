"""Act: reserve what a call may cost, and call the models of the plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from semroute.access.accounts import Accounts
from semroute.access.meters import KINDS, Kind
from semroute.access.permissions import refusal
from semroute.access.reservations import Ask
from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.decision import Decision
from semroute.dialects.dialect import CHAT, endpoint_of
from semroute.errors import ContextLengthError, NoModelError, ProviderError, RequestError, SemrouteError
from semroute.execution import cascade
from semroute.execution.check_processes import Examiner
from semroute.execution.executor import first_answer, one_model_caller
from semroute.execution.grading import Grader
from semroute.execution.judge_health import Judges
from semroute.execution.model_call import Work
from semroute.execution.output_contract import Contract
from semroute.execution.stream_recovery import ContinuedStream, first_stream
from semroute.execution.streaming import OpenStream
from semroute.gateway.gathering import Arrival
from semroute.gateway.recording import Account
from semroute.messages import Chunk, Completion
from semroute.record import Record
from semroute.router import Decided
from semroute.routing.policy import is_too_long


class Means(NamedTuple):
    """What all calls act with."""

    accounts: Accounts | None
    """Holds budgets and limits; None: nothing is limited."""
    examiner: Examiner
    """Checks answers."""
    judges: Judges
    """Which judges of answers failed."""


class Call:
    """One request with its decision. `decided`, `complete` or `stream` it once."""

    def __init__(self, means: Means, arrival: Arrival, decided: Decided, account: Account) -> None:
        self.account = account
        self.request = account.request
        self._means = means
        self._arrival = arrival
        self._facts, self._signals, self._policy = decided.facts, decided.signals, decided.choice.policy
        # Only answers have a text that could be checked.
        is_chat = endpoint_of(self.request) == CHAT
        self._cascade = self._policy.cascade if is_chat else None
        route = arrival.config.routes.get(decided.decision.route or "")
        self._output = route.output if route is not None and is_chat else None

    @property
    def decision(self) -> Decision:
        """As far as budgets leave its plan."""
        return self.account.decision

    @property
    def record(self) -> Record:
        """The account so far; final when `complete` has returned, or the stream has ended."""
        return self.account.record

    @property
    def timeouts(self) -> Timeouts:
        """The deadlines of each call to a model."""
        return self._policy.timeouts

    @property
    def held(self) -> str:
        """For what a streamed answer is held back until it has passed: `cascade` or `contract`; empty: it is not."""
        return "cascade" if self._cascade is not None else "contract" if self._output is not None else ""

    async def decided(self) -> None:
        """Record a request that asked for the decision alone. Raises `ForbiddenError` and `LimitError`."""
        account = self.account
        try:
            account.begin()
            await self._admit(("requests",))
            account.remember()
        except BaseException as error:
            account.fail(error)
            raise
        account.end("decided")

    async def complete(self) -> Completion:
        """Act and record.

        Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`, `BudgetError`, `ForbiddenError`, `LimitError`.
        """
        account = self.account
        try:
            account.begin()
            completion = await self._whole(await self._work())
        except BaseException as error:
            account.fail(error)
            raise
        account.end("ok", answer=completion.text)
        return completion

    async def stream(self) -> Chunks:
        """Act up to the first content; `Chunks` gives the rest, and records at its end. Raises as `complete`."""
        account = self.account
        try:
            account.begin()
            work = await self._work()
            if not self.held:
                return Chunks(account, await first_stream(work, account.attempts))
            whole = Whole(await self._whole(work))
            account.spent = True
            return Chunks(account, whole)
        except BaseException as error:
            account.fail(error)
            raise

    async def _whole(self, work: Work) -> Completion:
        """A whole answer along the plan."""
        account, means, serving = self.account, self._means, self._arrival.serving
        if self._cascade is None:
            return await first_answer(work, account.attempts)
        judging = one_model_caller(msgspec.structs.replace(work, contract=None))
        grader = Grader(judging, self._arrival.config.models, serving.transport, means.examiner, means.judges)
        return await cascade.first_passing(self._cascade, work, one_model_caller(work), grader, account.attempts)

    async def _admit(self, kinds: tuple[Kind, ...]) -> tuple[Model, ...]:
        """Reserve what the request may cost. A model without budget leaves the plan, which is returned."""
        account, accounts = self.account, self._means.accounts
        config, caller = self._arrival.config, self._arrival.caller
        if accounts is not None:
            ask = Ask(request=self.request, policy=self._policy, spent=tuple(account.attempts))
            admitted = await accounts.admit(config, caller, ask, account.decision, account.hold, kinds=kinds)
            account.hold, account.decision = admitted
        decision = account.decision
        if not decision.plan and (forbidden := refusal(config, caller, decision.rejected)) is not None:
            raise forbidden
        return tuple([config.models[model_id] for model_id in decision.plan])

    async def _work(self) -> Work:
        """What is to be done, once it is admitted."""
        plan = await self._admit(KINDS)
        if not plan:
            raise self._no_model(self.account.decision.rejected)
        self.account.remember()
        serving, facts, request, contract = self._arrival.serving, self._facts, self.request, None
        if self._output is not None:
            contract = Contract(self._output, self._means.examiner)
            request = msgspec.structs.replace(request, stream=False)
        return Work(
            request=request,
            plan=plan,
            providers=serving.providers,
            policy=self._policy,
            deployments=self._arrival.deployments,
            caller=self._arrival.caller.id,
            input_tokens=facts.wanted_tokens,
            sent_tokens=facts.input_tokens if request.long else 0,
            count_tokens=serving.router.embedder.count_tokens,
            contract=contract,
            room=self._room if self.account.hold is not None and self._cascade is None else None,
        )

    async def _room(self, model: Model) -> bool:
        """Reserve one more answer, of a model that is called beside another, or goes on where another broke off."""
        account, accounts = self.account, self._means.accounts
        assert accounts is not None and account.hold is not None
        account.hold = hold = msgspec.structs.replace(account.hold, more=account.hold.more + 1)
        ask = Ask(request=self.request, policy=self._policy)
        return await accounts.more(self._arrival.config, hold, ask, account.decision, model.id)

    def _no_model(self, rejected: dict[str, str]) -> SemrouteError:
        """Why nothing of the plan is left: the request itself, or what may be over in a moment."""
        if rejected and all(self._signals.why_not(model) is None for model in rejected):
            reasons = "; ".join(f"{model}: {reason}" for model, reason in rejected.items())
            if all(is_too_long(reason) for reason in rejected.values()):
                return ContextLengthError(f"no model of the plan has room for this request: {reasons}")
            return RequestError(f"no model of the plan can serve this request: {reasons}")
        return NoModelError(rejected, retry_after_s=self._arrival.deployments.retry_after_s(rejected))


class Whole:
    """A whole answer as a stream."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks."""
        completion = self._completion
        yield Chunk(parts=completion.parts, model=completion.model, id=completion.id, logprobs=completion.logprobs)
        yield Chunk(finish_reason=completion.finish_reason, model=completion.model, id=completion.id)
        if completion.usage is not None:
            yield Chunk(usage=completion.usage, model=completion.model, id=completion.id)

    async def aclose(self) -> None:
        """Nothing to close."""


class Chunks:
    """A streamed answer that has begun. Iterate it once, and `aclose` it in any case: only then it is recorded."""

    def __init__(self, account: Account, opened: OpenStream | ContinuedStream | Whole) -> None:
        self._account = account
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """The chunks. Raises `ProviderError` where the answer breaks."""
        kept = self._account.keeps_answer
        try:
            async for chunk in self._opened:
                if kept:
                    self._account.note(chunk)
                yield chunk
        except ProviderError as error:
            await self._opened.aclose()
            self._account.end("failed", error)
            raise
        await self._opened.aclose()
        self._account.end("ok")

    async def aclose(self) -> None:
        """Stop, if it has not ended: the caller has gone."""
        try:
            await self._opened.aclose()
        finally:
            self._account.end("cancelled")
