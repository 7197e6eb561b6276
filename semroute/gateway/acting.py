"""Acting: the third phase of a request. It reserves what the request may cost, and calls the models of the plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from semroute.access.accounts import without
from semroute.access.meters import KINDS, Kind
from semroute.access.permissions import refusal
from semroute.access.reservations import CostBasis
from semroute.config.schema.models import Model
from semroute.errors import ContextLengthError, NoModelError, ProviderError, RequestError, SemrouteError
from semroute.execution import cascade
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.executor import first_answer, one_model_caller
from semroute.execution.grading import Grader
from semroute.execution.judge_health import JudgeHealth
from semroute.execution.model_call import Work
from semroute.execution.output_contract import Contract
from semroute.execution.streaming import ContinuedStream, OpenStream, first_stream
from semroute.gateway.gathering import RequestContext
from semroute.gateway.recording import Account
from semroute.messages import CHAT, Chunk, Completion, Text, Usage
from semroute.router import Decided
from semroute.routing.canned_answers import written
from semroute.routing.policy import away_reason, is_too_long

CANNED = "semroute"
"""What stands for the model of an answer that a route has ready."""


class Means(NamedTuple):
    """What all calls share."""

    examiner: AnswerChecker
    """Runs the checks of answers."""
    judges: JudgeHealth
    """Knows which judges of answers failed recently."""


class Call:
    """One request with its decision. Use one of `decided`, `complete` and `stream`, once."""

    def __init__(self, means: Means, arrival: RequestContext, decided: Decided, account: Account) -> None:
        self.account = account
        """The account of the request: the decision, whose plan budgets may shorten, and the record so far."""
        self.request = account.request
        self._means = means
        self._arrival = arrival
        self._facts, self._signals, self._policy = decided.facts, decided.signals, decided.choice.policy
        self.timeouts = self._policy.timeouts
        """The deadlines of each call to a model."""
        # Only a chat has an answer in text, which can be checked.
        is_chat = account.request.endpoint == CHAT
        is_chat = is_chat and account.decision.answer is None
        self._cascade = self._policy.cascade if is_chat else None
        route = arrival.config.routes.get(decided.decision.route or "")
        self._output = route.output if route is not None and is_chat else None
        self.held = "cascade" if self._cascade is not None else "contract" if self._output is not None else ""
        """What holds back a streamed answer until the whole answer has passed. Empty: nothing does."""

    async def decided(self) -> None:
        """Record a request that asks only for the decision. Raises `ForbiddenError` and `LimitError`."""
        account = self.account
        try:
            account.begin()
            await self._admit(("requests",))
        except BaseException as error:
            account.fail(error)
            raise
        account.end("decided")

    async def complete(self) -> Completion:
        """Return the whole answer, and record the request.

        Raises `NoModelError`, `PlanExhaustedError`, `ProviderError`, `BudgetError`, `ForbiddenError`, `LimitError`.
        """
        account = self.account
        try:
            account.begin()
            completion = await self._canned() or await self._whole(await self._work())
        except BaseException as error:
            account.fail(error)
            raise
        account.end("ok", answer=completion)
        return completion

    async def stream(self) -> Chunks:
        """Wait for the first content. `Chunks` then gives the answer, and records the request at its end.

        Raises the same errors as `complete`.
        """
        account = self.account
        try:
            account.begin()
            if (ready := await self._canned()) is not None:
                account.costs_known = True
                return Chunks(account, Whole(ready))
            work = await self._work()
            if not self.held:
                return Chunks(account, await first_stream(work, account.attempts))
            whole = Whole(await self._whole(work))
            account.costs_known = True
            return Chunks(account, whole)
        except BaseException as error:
            account.fail(error)
            raise

    async def _canned(self) -> Completion | None:
        """Return the answer that the route has ready. None: a model must answer."""
        answer = self.account.decision.answer
        if answer is None:
            return None
        await self._admit(("requests",))
        text = written(answer, self.request, self._arrival.at)
        return Completion(parts=(Text(text=text),), finish_reason="stop", usage=Usage(), model=CANNED)

    async def _whole(self, work: Work) -> Completion:
        """Return a whole answer: the first one, or the first one that passes the checks of the cascade."""
        account, means, serving = self.account, self._means, self._arrival.serving
        if self._cascade is None:
            return await first_answer(work, account.attempts)
        judging = one_model_caller(msgspec.structs.replace(work, contract=None, room=None))  # paid with the answer
        grader = Grader(judging, self._arrival.config.models, serving.transport, means.examiner, means.judges)
        return await cascade.first_passing(self._cascade, work, one_model_caller(work), grader, account.attempts)

    async def _admit(self, kinds: tuple[Kind, ...]) -> tuple[Model, ...]:
        """Reserve what the request may cost, and return the plan without models that no budget has room for."""
        account, accounts = self.account, self._arrival.accounts
        config, caller = self._arrival.config, self._arrival.caller
        if accounts is not None:
            basis, hold = self._basis(), account.hold
            account.decision = await accounts.admit(config, caller, basis, account.decision, hold, kinds=kinds)
        decision = account.decision
        if not decision.plan and (forbidden := refusal(config, caller, decision.rejected)) is not None:
            raise forbidden
        if self._arrival.session:
            account.remember()
        return tuple([config.models[model_id] for model_id in decision.plan])

    async def _work(self) -> Work:
        """Admit the request, and return what is to be done."""
        plan = await self._admit(KINDS)
        if not plan:
            raise self._no_model(self.account.decision.rejected)
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
            room=self._room if self.account.hold is not None else None,
        )

    def _basis(self) -> CostBasis:
        return CostBasis(request=self.request, policy=self._policy, spent=tuple(self.account.attempts))

    async def _room(self, model: Model, beside: Sequence[Model]) -> str:
        """Reserve what is missing for a call. Returns why a budget has no room for it. Empty: there is room.

        A model without room leaves the plan, unless it was called before.
        """
        account, accounts = self.account, self._arrival.accounts
        assert accounts is not None and account.hold is not None
        if not beside and not account.attempts and model.id == account.decision.model:
            return ""  # this call is what was reserved
        others = [other.id for other in beside]
        config, decision = self._arrival.config, account.decision
        meter = await accounts.top_up(config, account.hold, self._basis(), decision, model.id, others)
        if meter is None:
            return ""
        decision = account.decision  # another call of this request may have changed it meanwhile
        if model.id in decision.plan[1:] and all(attempt.model != model.id for attempt in account.attempts):
            account.decision = without(decision, meter, (model.id,))
        return f"{meter.title} has no room for it"

    def _no_model(self, rejected: dict[str, str]) -> SemrouteError:
        """Return the error for an empty plan. Either no model suits the request, or none can be called just now."""
        if rejected and all(away_reason(model, self._signals) is None for model in rejected):
            reasons = "; ".join(f"{model}: {reason}" for model, reason in rejected.items())
            if all(is_too_long(reason) for reason in rejected.values()):
                return ContextLengthError(f"no model of the plan has room for this request: {reasons}")
            return RequestError(f"no model of the plan can serve this request: {reasons}")
        return NoModelError(rejected, retry_after_s=self._arrival.deployments.retry_after_s(rejected))


class Whole:
    """Gives a whole answer in the form of a stream."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Yield the chunks."""
        completion = self._completion
        yield Chunk(parts=completion.parts, model=completion.model, id=completion.id, logprobs=completion.logprobs)
        yield Chunk(finish_reason=completion.finish_reason, model=completion.model, id=completion.id)
        if completion.usage is not None:
            yield Chunk(usage=completion.usage, model=completion.model, id=completion.id)

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


class Chunks:
    """A streamed answer that has begun. Iterate it once. Always call `aclose`, which makes sure that it is recorded."""

    def __init__(self, account: Account, opened: OpenStream | ContinuedStream | Whole) -> None:
        self._account = account
        self._opened = opened

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Yield the chunks. Raises `ProviderError` if the answer breaks off."""
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
        """Stop. If the answer has not ended, its caller has left."""
        try:
            await self._opened.aclose()
        finally:
            self._account.end("cancelled")
