"""Start another model beside one that is silent: decide when, and run both.

A model may be silent for one and a half times as long as its slowest calls took, and never for less than `FLOOR_S`. As
long as few calls are known, it may be silent for longer if the request or the route files say that it thinks.

The first model runs in the task that asks. Other tasks start only when it takes long, so until then a race costs next
to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.errors import SemrouteError
from semroute.messages import ChatRequest

Result = TypeVar("Result")
BEATEN = "another model answered first"
"""The message of a cancellation for this reason. A cancellation without it means that the caller has left."""


class Timer(Protocol):
    """The result of `Clock.later`."""

    def cancel(self) -> object:
        """Cancel the call."""
        ...


class Race(Generic[Result]):
    """Returns the first result, and cancels the rest as `BEATEN`. Call `run` once, in the task that asks."""

    def __init__(
        self,
        others: Callable[[], Coroutine[Any, Any, Result]],
        ends: Callable[[BaseException], bool],
        discard: Callable[[Result], Awaitable[None]] | None,
    ) -> None:
        """`others`: runs the models beside the first. `ends`: whether a failure ends the race while others still run.

        `discard`: ends a result that nobody needs, because another one was faster or the caller left.
        """
        self._others = others
        self._ends = ends
        self._discard = discard
        self._here: asyncio.Task[Any] | None = None
        """The task that asks, while the first try runs in it."""
        self._company: asyncio.Task[Result] | None = None

    async def run(self, first: Coroutine[Any, Any, Result], later: Callable[[Callable[[], None]], Timer]) -> Result:
        """Return the first result. `later`: calls a function when it is time to start the others."""
        here = self._here = asyncio.current_task()
        assert here is not None
        cancelled_before = here.cancelling()
        timer = later(self._join)
        try:
            result = await first
        except asyncio.CancelledError:
            company = self._company
            if company is None or not self._decided(company) or here.uncancel() > cancelled_before:
                await self._dismiss()
                raise
            return company.result()
        except SemrouteError as error:
            if self._company is None or self._ends(error):
                await self._dismiss()
                raise
            self._here = None
            return await self._company
        finally:
            self._here = None
            timer.cancel()
        if self._company is not None:
            await self._take(result)
        return result

    def _join(self) -> None:
        self._company = asyncio.create_task(self._others())
        self._company.add_done_callback(self._finish)

    def _finish(self, company: asyncio.Task[Result]) -> None:
        if self._here is not None and self._decided(company):
            self._here.cancel(BEATEN)

    def _decided(self, company: asyncio.Task[Result]) -> bool:
        """Return whether the others have ended the race."""
        if not company.done() or company.cancelled():
            return False
        error = company.exception()
        return error is None or self._ends(error)

    async def _take(self, result: Result) -> None:
        """End the others. If the caller leaves meanwhile, the result is discarded."""
        try:
            await self._dismiss(BEATEN)
        except asyncio.CancelledError:
            if self._discard is not None:
                await self._discard(result)
            raise

    async def _dismiss(self, message: str | None = None) -> None:
        """End the others, and discard their result if they have one."""
        company, self._here = self._company, None
        if company is None:
            return
        company.cancel(message)
        await asyncio.gather(company, return_exceptions=True)
        if self._discard is not None and not company.cancelled() and company.exception() is None:
            await self._discard(company.result())


# --- how long to wait -------------------------------------------------------------------------------------------------

FLOOR_S = 8.0
THINKING_S = 20.0
"""Seconds for a model that thinks before its first word, as long as few calls are known."""
UNPROVEN_S = 16.0
"""The most seconds that a call without an answer can add: the model may be slow, but it may also be gone."""
SLACK = 1.5
SLOW_S = FLOOR_S / SLACK
"""A call that is silent for longer lets later calls be silent for longer than `FLOOR_S`."""
KEPT = 64
FEW = 8
"""As long as fewer answers are known, the route files also count."""
TOKENS_PER_S = 50.0
"""The assumed speed of a whole answer, as long as few calls are known."""
SLOWEST = 0.95


class Silences:
    """Remembers how long one model's calls were silent: either until the first content, or until the whole answer."""

    def __init__(self) -> None:
        self._answered: deque[tuple[float, int]] = deque(maxlen=KEPT)
        """For each answer, the seconds of silence, and the tokens that came at once. 0 tokens: they came bit by bit."""
        self._slow = 0
        """How many of them are slow. If none is, there is no need to look at each."""
        self._unanswered_s = 0.0

    def answered(self, silent_s: float, tokens: int = 0) -> None:
        """Note that a call was answered after this time. `tokens`: the size of an answer that came whole."""
        if len(self._answered) == KEPT:
            self._slow -= self._answered[0][0] > SLOW_S
        self._answered.append((silent_s, tokens))
        self._slow += silent_s > SLOW_S
        self._unanswered_s = 0.0

    def unanswered(self, silent_s: float) -> None:
        """Note that a call gave no answer in this time, and that nobody waited any longer."""
        self._unanswered_s = max(self._unanswered_s, silent_s)

    def patience_s(self, model: Model, request: ChatRequest, policy: Policy, *, whole: bool) -> float:
        """Return how long a call may be silent. `whole`: until the whole answer. Otherwise: until its first content."""
        params = request.params
        asks_to_think = params.effort in ("medium", "high", "xhigh", "max") or params.thinking_tokens not in (None, 0)
        floor_s = THINKING_S if asks_to_think else FLOOR_S
        if len(self._answered) < FEW:
            if (
                "reasoning" in model.features
                and params.effort not in ("none", "minimal")
                and params.thinking_tokens != 0
            ):
                floor_s = THINKING_S
            if model.latency_ms is not None:
                floor_s = max(floor_s, SLACK * model.latency_ms / 1000)
            if whole:
                tokens = min(policy.expected_output_tokens, params.max_tokens or policy.expected_output_tokens)
                floor_s = max(floor_s, tokens / TOKENS_PER_S)
        if self._slow:
            limit = params.max_tokens if whole else None  # an answer with a lower limit takes less time
            seen = sorted(_within(limit, silent_s, tokens) for silent_s, tokens in self._answered)
            floor_s = max(floor_s, SLACK * seen[int(SLOWEST * len(seen))])
        return max(floor_s, min(SLACK * self._unanswered_s, UNPROVEN_S))


def _within(max_tokens: int | None, silent_s: float, tokens: int) -> float:
    """Return how long an answer with this many tokens would have taken with a limit of `max_tokens`."""
    return silent_s if max_tokens is None or max_tokens >= tokens else silent_s * max_tokens / tokens
