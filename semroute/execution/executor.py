"""Try the models of a plan until one answers, within one deadline: retries, pauses, fallback, hedging.

`faults.FAULTS` says what a failure leads to, `backoff.pause` how long a pause is, and `deployments` which model may be
called now. This module only combines them. `first_answer` gives whole answers, `streaming.first_stream` gives
streamed ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import FIRST_TOKEN_S, STALL_S, TOTAL_S, Then, Timeouts
from semroute.errors import (
    NoModelError,
    PlanExhaustedError,
    ProviderConnectionError,
    ProviderError,
    RateLimitedError,
    SemrouteError,
)
from semroute.execution.backoff import pause
from semroute.execution.deployments import BusyError, PausedError
from semroute.execution.faults import fault_of, later_s, models_left, refusal
from semroute.execution.grading import CallModel
from semroute.execution.hedging import BEATEN, FLOOR_S, Race, Timer
from semroute.execution.model_call import Room, Work, call_model
from semroute.messages import ChatRequest, Completion
from semroute.record import Attempt

Result = TypeVar("Result", covariant=True)
SHORTEST_CALL_S = 0.001
EARLY_S = 0.05
"""Seconds. An event loop may end a sleep a little early. This much of a provider's pause may then be left."""
PATIENCES = 3.0
"""A time limit that the route files do not set is at least this many times as long as the model is known to take."""


async def first_answer(work: Work, attempts: list[Attempt], *, deadline: float | None = None) -> Completion:
    """Return a whole answer from the first model that gives one. Every call is appended to `attempts`.

    Raises `PlanExhaustedError` if all models failed, and `NoModelError` if none could be called. A `ProviderError` that
    another model would raise too is raised at once. `deadline`: by the clock of the deployments. None: the policy's
    deadline, counted from now.
    """
    return await Execution(work, attempts, call_model, deadline=deadline).result()


def one_model_caller(work: Work) -> CallModel:
    """Return a function that calls one model like a plan with this model alone. All its calls share one deadline."""
    deadline = work.deployments.clock.now() + work.policy.deadline_s

    async def call(request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
        if model.id not in work.providers:
            raise ProviderConnectionError(f"{model.id} cannot be called")
        alone = replace(work, request=request, plan=(model,))
        return await first_answer(alone, attempts, deadline=deadline)

    return call


class CallOne(Protocol[Result]):
    """Makes one call to one model, and always appends it to the attempts. Raises `ProviderError`."""

    async def __call__(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt], /) -> Result:
        """Call the model."""
        ...


class Execution(Generic[Result]):
    """Tries the models of a plan. `pending` holds the models not tried yet, so that later work can go on with them."""

    def __init__(
        self,
        work: Work,
        attempts: list[Attempt],
        call: CallOne[Result],
        discard: Callable[[Result], Awaitable[None]] | None = None,
        *,
        deadline: float | None = None,
        budget: int | None = None,
    ) -> None:
        """`discard`: ends a result that is not needed, because another model was faster.

        `deadline`: by the clock. `budget`: the number of attempts at which to stop. None: the policy says both, counted
        from now.
        """
        self.pending = list(work.plan)
        self._work = work
        self.goes_on = work.goes_on
        """Whether another model may continue a streamed answer that breaks."""
        self._clock = work.deployments.clock
        now = self._clock.now()
        self.deadline = now + work.policy.deadline_s if deadline is None else deadline
        self._attempts = attempts
        self.budget = len(attempts) + work.policy.retry.max_attempts if budget is None else budget
        self._call = call
        self._discard = discard
        self._failures: list[tuple[Model, ProviderError]] = []
        self._skipped: dict[str, str] = {}
        self._paused = 0
        """How many models were skipped because their providers want a pause that is too long."""
        self._lanes = 0
        """How many models are being tried at the same time."""
        self._calling: list[Model] = []
        """The models that are being called, or for which budgets are asked."""
        self._latest = (self.pending[0], now)
        """The model that was called last, and since when its silence counts. A pause before a retry does not count."""

    async def result(self) -> Result:
        """Return the first good answer.

        Raises `PlanExhaustedError` if all models failed, `NoModelError` if none could be called, and a `ProviderError`
        that says why no model accepts the request.
        """
        if self._work.policy.hedge_after_ms is None or len(self.pending) == 1:
            return await self._lane()
        return await self._race()

    # --- one model after another ---

    async def _lane(self) -> Result:
        self._lanes += 1
        try:
            while (model := await self._next()) is not None:
                self._calling.append(model)
                try:
                    if self._work.room is None or await self._affordable(model, self._work.room):
                        return await self._persist(model)
                except ProviderError as error:
                    self._failed(model, error)
                finally:
                    self._calling.remove(model)
            raise self._exhausted()
        finally:
            self._lanes -= 1

    async def _affordable(self, model: Model, room: Room, *, again: bool = False) -> bool:
        """Return whether budgets have room for a call. `again`: whether the model was called before."""
        why = await room(model, [other for other in self._calling if other is not model])
        if why and not again:
            self._skipped[model.id] = why
        return not why

    def _failed(self, model: Model, error: ProviderError) -> None:
        """Note a failure, and keep only the models that may be tried after it. If none may, raise the failure."""
        then = self._then(error)
        if then == "fail":
            raise error
        self._failures.append((model, error))
        self.pending[:] = models_left(then, self.pending, model, self._work.request)

    def _then(self, error: ProviderError) -> Then:
        """Return which models may be asked after a failure."""
        return fault_of(error, self._work.policy.on_error).then

    async def _next(self) -> Model | None:
        """Return the next model that may be called now. If all are busy, wait for the first that gets room.

        Call the model without awaiting anything before.
        """
        if len(self._attempts) >= self.budget or self._left_s() <= SHORTEST_CALL_S:
            return None
        now, tokens, deployments = self._clock.now(), self._work.input_tokens, self._work.deployments
        for place, model in enumerate(self.pending):
            deployment = deployments.of(model)
            if deployment.ready(tokens, now):
                del self.pending[place]
                alone = deployment.probes is None  # no other process could be in the way
                return model if alone or await self._cleared(model) else await self._next()
        while self.pending:
            model = min(self.pending, key=lambda model: deployments.of(model).wait_s(tokens, now))
            self.pending.remove(model)
            if await self._room(model):
                return model
        return None

    async def _room(self, model: Model) -> bool:
        """Wait until the model may be called. False: that would take too long, and `_skipped` says why."""
        deployment, tokens, now = self._work.deployments.of(model), self._work.input_tokens, self._clock.now()
        reason = deployment.broken(now)
        if reason is None:
            try:
                await deployment.queue(tokens, self._left_s(), self._work.policy.retry.max_wait_s)
                return await self._cleared(model)
            except BusyError as error:
                reason = str(error)
                self._paused += isinstance(error, PausedError)
        self._skipped[model.id] = reason
        return False

    async def _cleared(self, model: Model) -> bool:
        """Return whether this process may call the model. Only one of all processes may probe a half-open model."""
        deployment = self._work.deployments.of(model)
        if await deployment.cleared():
            return True
        self._skipped[model.id] = deployment.broken(self._clock.now()) or "another process probes it"
        return False

    # --- one model, again and again ---

    async def _persist(self, model: Model) -> Result:
        """Call one model, and repeat the call if that may help."""
        repeated, lost_s = 0, 0.0
        while True:
            started = self._clock.now()
            self._latest = (model, started)
            try:
                return await self._call(self._work, model, self._timeouts(model), self._attempts)
            except ProviderError as error:
                lost_s += self._clock.now() - started
                if not await self._again(model, error, repeated, lost_s):
                    raise
                repeated += 1

    async def _again(self, model: Model, error: ProviderError, repeated: int, lost_s: float) -> bool:
        """Wait for the pause before a repetition, and return whether the same model may be called again.

        `lost_s`: how long its failed calls took.
        """
        others = bool(self.pending) or self._lanes > 1
        if repeated >= fault_of(error, self._work.policy.on_error).retries or len(self._attempts) >= self.budget:
            return False
        if lost_s > self._work.policy.retry.max_wait_s and (others or repeated):
            return False
        wait_s = pause(
            self._work.policy.retry,
            repeated,
            asked_s=error.retry_after_s,
            left_s=self._left_s(),
            others=others,
            random=self._clock.random,
        )
        deployment = self._work.deployments.of(model)
        if wait_s is None or deployment.broken(self._clock.now()) is not None:
            return False
        if self._work.room is not None and not await self._affordable(model, self._work.room, again=True):
            return False
        self._latest = (model, self._clock.now() + wait_s)  # a pause does not count as silence
        await self._clock.sleep(wait_s)
        tokens = self._work.input_tokens
        while 0 < (early_s := deployment.wait_s(tokens, self._clock.now())) <= EARLY_S:
            await self._clock.sleep(max(early_s, SHORTEST_CALL_S))
        if deployment.ready(tokens, self._clock.now()):
            return await self._cleared(model)
        return not self.pending and await self._room(model)

    def _timeouts(self, model: Model) -> Timeouts:
        """Return the route's timeouts, cut to the time that is left before the deadline.

        If models do not race, each of the remaining models gets an equal share of that time.
        """
        limits, left_s = self._work.policy.timeouts, max(SHORTEST_CALL_S, self._left_s())
        stall_s = STALL_S if limits.stall_s is None and not self.goes_on else limits.stall_s
        share_s = left_s
        if self._work.policy.hedge_after_ms is None:
            share_s /= len(self.pending) + 1
        known_s = PATIENCES * self._work.patience_s(model)
        if known_s <= FIRST_TOKEN_S and share_s >= (limits.total_s or TOTAL_S) and left_s >= limits.stream_s:
            return limits if stall_s == limits.stall_s else replace(limits, stall_s=stall_s)
        return Timeouts(
            connect_s=min(limits.connect_s, share_s),
            first_token_s=min(limits.first_token_s or max(FIRST_TOKEN_S, known_s), share_s),
            total_s=min(limits.total_s or max(TOTAL_S, known_s), share_s),
            stall_s=stall_s if stall_s is None else min(stall_s, left_s),
            stream_s=min(limits.stream_s, left_s),
        )

    def _left_s(self) -> float:
        return self.deadline - self._clock.now()

    # --- several models at once ---

    async def _race(self) -> Result:
        """Start the next model when those under way are silent. The first good answer wins. Cancel the rest."""

        def later(join: Callable[[], None]) -> Timer:
            return self._clock.later(self._soonest_s(), join)

        return await Race(self._company, self._ends, self._discard).run(self._lane(), later)

    async def _company(self) -> Result:
        """Run the models that are started beside the first one."""
        lanes: set[asyncio.Task[Result]] = set()
        winner: asyncio.Task[Result] | None = None
        error: BaseException | None = None
        message: str | None = None
        try:
            while (patience_s := self._patience_s()) is not None or lanes:
                done: set[asyncio.Task[Result]] = set()
                if lanes:
                    done, lanes = await self._clock.wait(lanes, patience_s)
                elif patience_s:
                    await self._clock.sleep(patience_s)
                for lane in done:
                    error = lane.exception()
                    if error is None or self._ends(error):
                        lanes |= done - {lane}
                        winner, message = lane, BEATEN if error is None else None
                        return lane.result()
                if not done and self._patience_s() == 0:
                    self._latest = (self.pending[0], self._clock.now())
                    lanes.add(asyncio.create_task(self._lane()))
        except asyncio.CancelledError as left:
            message = BEATEN if BEATEN in left.args else None
            raise
        finally:
            await self._end(lanes, winner, message)
        raise self._exhausted() if isinstance(error, SemrouteError) or error is None else error

    def _ends(self, error: BaseException) -> bool:
        """Return whether a failure ends the whole race, because another model would fail in the same way."""
        return isinstance(error, ProviderError) and self._then(error) == "fail"

    def _soonest_s(self) -> float:
        """Return the earliest time at which the first model may have been silent for too long.

        For `auto` it takes time to work out the exact moment, so this is only the lower limit.
        """
        after_ms = self._work.policy.hedge_after_ms
        longest_s = FLOOR_S if after_ms == "auto" else self._hedge_s(self.pending[0])
        return min(longest_s, self._left_s() / len(self.pending))

    def _patience_s(self) -> float | None:
        """Return the seconds until one more model is started. 0: now. None: there are no more models.

        The wait ends at the latest when the model that was called last has used up its share of the deadline.
        """
        if not self.pending:
            return None
        model, since = self._latest
        share_s = (self.deadline - since) / (len(self.pending) + 1)
        left_s = since + min(self._hedge_s(model), share_s) - self._clock.now()
        return left_s if left_s > SHORTEST_CALL_S else 0.0

    def _hedge_s(self, model: Model) -> float:
        """Return how long a model may be silent before the next one is started beside it."""
        after_ms = self._work.policy.hedge_after_ms
        if after_ms == "p95":
            after_ms = self._work.deployments.of(model).p95_ms()
        return self._work.patience_s(model) if after_ms is None or after_ms == "auto" else after_ms / 1000

    async def _end(
        self, lanes: set[asyncio.Task[Result]], winner: asyncio.Task[Result] | None, message: str | None
    ) -> None:
        """Cancel the lanes of a race. If the caller leaves meanwhile, the result of the winner is discarded as well."""
        if not lanes:
            return
        for lane in lanes:
            lane.cancel(message)
        superfluous = set(lanes)
        try:
            await asyncio.gather(*lanes, return_exceptions=True)
        except asyncio.CancelledError:
            if winner is not None:
                superfluous.add(winner)
            raise
        finally:
            for lane in superfluous:
                if self._discard is not None and lane.done() and not lane.cancelled() and lane.exception() is None:
                    await self._discard(lane.result())

    # --- the end ---

    def _exhausted(self) -> SemrouteError:
        """Return the error to raise when no model is left."""
        if not self._failures:
            if not self._skipped:
                late = self._left_s() <= SHORTEST_CALL_S
                why = "the deadline has passed" if late else "all allowed attempts were made"
                self._skipped = dict.fromkeys((model.id for model in self._work.plan), why)
            retry_after_s = self._work.deployments.retry_after_s(model.id for model in self._work.plan)
            none = NoModelError(self._skipped, retry_after_s=retry_after_s)
            if self._paused < len(self._skipped):
                return none
            limited = RateLimitedError(str(none))
            limited.retry_after_s = retry_after_s
            return limited
        told = [f"{model.id}: {error}" for model, error in self._failures]
        told += [f"{model_id}: not called, {reason}" for model_id, reason in self._skipped.items()]
        told += [f"{model.id}: not called, because no time or no attempt was left" for model in self.pending]
        failures = [error for _, error in self._failures]
        refused = refusal(failures, skipped=bool(self._skipped))
        if refused is not None:
            return refused
        # If no failed model can recover, the models that were skipped say when another try may help.
        calls, longest_s = Counter(attempt.model for attempt in self._attempts), self._work.policy.retry.max_wait_s
        retry_after_s = later_s(self._failures, calls, longest_s)
        if retry_after_s is None and not any(error.retryable for error in failures):
            retry_after_s = self._work.deployments.retry_after_s(self._skipped) or None
        message = f"every model of the plan failed: {'; '.join(told)}"
        return PlanExhaustedError(message, last=failures[-1], retry_after_s=retry_after_s)
