"""What became of one request: its attempts, and the account of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.decision import Decision
from semroute.messages import Usage, total

Outcome = Literal["running", "ok", "failed", "cancelled", "decided", "refused"]
"""`decided`: only the decision was asked for; `refused`: a budget or a limit had no room for it."""


class Attempt(Frozen, frozen=True, kw_only=True):
    """One call to one model."""

    model: str
    status: Outcome
    latency_ms: float
    """From the request to the last byte read."""
    first_token_ms: float | None = None
    """From the request to the first content; streams only."""
    error_code: str | None = None
    error: str | None = None
    escalated: str | None = None
    """Why its answer was not good enough, so that another model was tried; None: it was, or there was no check."""
    ungraded: str | None = None
    """Why a judge of its answer gave no grade; None: all did, or there was none."""
    purpose: Literal["answer", "judge", "classifier"] = "answer"
    """What it was called for."""
    served_anyway: bool = False
    """Its answer was given although it failed a check: it was the best of those that did."""
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    dropped: tuple[str, ...] = ()
    """What the request asked for and the model's dialect cannot say."""


Content = Literal["none", "hash", "redacted", "full"]


class Record(Frozen, frozen=True, kw_only=True):
    """The account of one request."""

    request_id: str
    decision: Decision
    attempts: tuple[Attempt, ...]
    outcome: Outcome
    overhead_ms: float
    """Time spent in semroute itself, outside the provider."""
    at: float = 0.0
    """When the request came, in seconds since 1970."""
    latency_ms: float = 0.0
    """From the request to the end of the answer."""
    caller: Caller = Caller()
    tier: str = ""
    """Of `model`."""
    feature: str = ""
    """The part of the caller's product, as the request's `metadata.feature` names it."""
    saved_usd: Decimal = Decimal(0)
    """What the baseline model would have cost for the same tokens, less `cost_usd`; 0 unless answered."""
    error: str | None = None
    """Of a request that failed: the last error."""
    embedding: bytes = b""
    """Of the matched text: float16, little-endian; empty: nothing was matched."""
    scores: bytes = b""
    """The confidence of every route, in the order of the route files: float16, little-endian."""
    routes: tuple[str, ...] = ()
    """The names that `scores` belong to."""
    content: Content = "none"
    """What the log may keep of the next two."""
    prompt: str | None = None
    answer: str | None = None

    @property
    def ended(self) -> float:
        """When the answer had ended, in seconds since 1970, to the digit that the decision log keeps."""
        return self.at + round(self.latency_ms, 3) / 1000

    @property
    def model(self) -> str | None:
        """The model that answered, or the last that was tried."""
        return made.model if (made := self._served) else None

    @property
    def cost_usd(self) -> Decimal:
        """Of all attempts."""
        return cost_usd(self.attempts)

    @property
    def usage(self) -> Usage:
        """Of the answer that was given, or of the last attempt."""
        return made.usage if (made := self._served) else Usage()

    @property
    def total_usage(self) -> Usage:
        """Of all attempts together."""
        return total_usage(self.attempts)

    @property
    def first_token_ms(self) -> float | None:
        """From the call that answered to its first content; streams only."""
        return made.first_token_ms if (made := self._served) else None

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the answer's model could not be asked for."""
        return made.dropped if (made := self._served) else ()

    @property
    def _served(self) -> Attempt | None:
        return served(self.attempts)


def cost_usd(attempts: tuple[Attempt, ...]) -> Decimal:
    """Of all of them."""
    if len(attempts) == 1:  # as nearly always
        return attempts[0].cost_usd
    return sum((attempt.cost_usd for attempt in attempts), Decimal(0))


def total_usage(attempts: tuple[Attempt, ...]) -> Usage:
    """Of all of them together."""
    return total([attempt.usage for attempt in attempts])


def served(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """The one whose answer was given, or the last that was to answer."""
    if len(attempts) == 1 and attempts[0].purpose == "answer":  # as nearly always
        return attempts[0]
    answers = [attempt for attempt in attempts if attempt.purpose == "answer"]
    chosen = (attempt for attempt in answers if attempt.served_anyway)
    answered = (attempt for attempt in reversed(answers) if attempt.status in ("ok", "running"))
    return next(chosen, next(answered, answers[-1] if answers else None))


def escalated(attempts: tuple[Attempt, ...]) -> bool:
    """Whether one of the answers failed a check."""
    return any([attempt.escalated is not None for attempt in attempts])


def first_answer(attempts: tuple[Attempt, ...]) -> str | None:
    """The model that answered first, whatever became of that answer: it is where the request was routed to."""
    answered = (one.model for one in attempts if one.purpose == "answer" and one.status == "ok")
    return next(answered, None)
