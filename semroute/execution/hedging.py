"""Another model beside one that is silent: when it is asked, and how the two run.

What a model did tells most: half as long again as its slowest calls took. It is always given `FLOOR_S`, and at first
more where the request or the route files say that it thinks. One try runs in the task that asks, and others beside it
once it takes long: until then a race costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.errors import SemrouteError
from semroute.messages import ChatRequest, Params

Result = TypeVar("Result")
BEATEN = "another model answered first"
"""Said when a call is cancelled for that reason; otherwise its caller has left."""


class Timer(Protocol):
    """What `later` of a clock gives."""

    def cancel(self) -> object:
        """Do not call any more."""
        ...


class Race(Generic[Result]):
    """Gives the first result; the rest is cancelled as `BEATEN`. `run` it once, in the task that asks."""

    def __init__(
        self,
        others: Callable[[], Coroutine[Any, Any, Result]],
        ends: Callable[[BaseException], bool],
        discard: Callable[[Result], Awaitable[None]] | None,
    ) -> None:
        """`others`: the tries beside the first. `ends`: whether a failure ends the race, though others are under way.

        `discard` ends a result that nobody takes: a faster one made it superfluous, or the caller left.
        """
        self._others = others
        self._ends = ends
        self._discard = discard
        self._here: asyncio.Task[Any] | None = None
        """While the first try is under way."""
        self._company: asyncio.Task[Result] | None = None

    async def run(self, first: Coroutine[Any, Any, Result], later: Callable[[Callable[[], None]], Timer]) -> Result:
        """The first result. `later` calls when the time for the others has come."""
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
        """Whether the others have ended the race."""
        if not company.done() or company.cancelled():
            return False
        error = company.exception()
        return error is None or self._ends(error)

    async def _take(self, result: Result) -> None:
        """End the others. Where the caller leaves meanwhile, nobody takes the result."""
        try:
            await self._dismiss(BEATEN)
        except asyncio.CancelledError:
            if self._discard is not None:
                await self._discard(result)
            raise

    async def _dismiss(self, message: str | None = None) -> None:
        """End the others, and what they may have got."""
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
"""For who thinks before the first word, as long as little is known."""
UNPROVEN_S = 16.0
"""The most that silence alone earns: a model that gave no answer yet may be slow, or gone."""
SLACK = 1.5
KEPT = 64
FEW = 8
"""With fewer answers, what the route files say of a model counts as well."""
TOKENS_PER_S = 50.0
"""The pace of a whole answer, as long as little is known."""
SLOWEST = 0.95


class Silences:
    """How long one model's calls of one kind were silent: until the first content, or until the whole answer."""

    def __init__(self) -> None:
        self._answered: deque[tuple[float, int]] = deque(maxlen=KEPT)
        """Seconds, and the tokens that came at once after them; 0: more came later."""
        self._slow = 0
        """How many of them are worth a look."""
        self._unanswered_s = 0.0

    def __len__(self) -> int:
        return len(self._answered)

    def answered(self, silent_s: float, tokens: int = 0) -> None:
        """A call was answered after so long; `tokens`: of an answer that came whole."""
        if len(self._answered) == KEPT:
            self._slow -= _is_slow(self._answered[0][0])
        self._answered.append((silent_s, tokens))
        self._slow += _is_slow(silent_s)
        self._unanswered_s = 0.0

    def unanswered(self, silent_s: float) -> None:
        """Nobody waited any longer."""
        self._unanswered_s = max(self._unanswered_s, silent_s)

    def longest_s(self, max_tokens: int | None) -> float:
        """How long an answer may take by what was seen; 0: nothing was seen that takes longer than `FLOOR_S`.

        `max_tokens`: of an answer that comes whole. One that is shorter takes less time.
        """
        seen_s = 0.0
        if self._slow:
            seen = sorted(_within(max_tokens, silent_s, tokens) for silent_s, tokens in self._answered)
            seen_s = SLACK * seen[int(SLOWEST * len(seen))]
        return max(seen_s, min(SLACK * self._unanswered_s, UNPROVEN_S))


def patience_s(silences: Silences, model: Model, request: ChatRequest, policy: Policy, *, whole: bool) -> float:
    """How long a call may be silent. `whole`: until the whole answer, otherwise until its first content."""
    params = request.params
    floor_s = THINKING_S if _asks_to_think(params) else FLOOR_S
    if len(silences) < FEW:
        if "reasoning" in model.features and params.effort not in ("none", "minimal") and params.thinking_tokens != 0:
            floor_s = THINKING_S
        if model.latency_ms is not None:
            floor_s = max(floor_s, SLACK * model.latency_ms / 1000)
        if whole:
            tokens = min(policy.expected_output_tokens, params.max_tokens or policy.expected_output_tokens)
            floor_s = max(floor_s, tokens / TOKENS_PER_S)
    return max(floor_s, silences.longest_s(params.max_tokens if whole else None))


def _asks_to_think(params: Params) -> bool:
    return params.effort in ("medium", "high", "xhigh", "max") or params.thinking_tokens not in (None, 0)


def _within(max_tokens: int | None, silent_s: float, tokens: int) -> float:
    """What an answer of so many tokens would have taken, had it been allowed fewer."""
    return silent_s if max_tokens is None or max_tokens >= tokens else silent_s * max_tokens / tokens


def _is_slow(silent_s: float) -> bool:
    return silent_s * SLACK > FLOOR_S
