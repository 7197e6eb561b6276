"""Who asked, and what became of it: the account of one request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from semroute.chat import total
from semroute.structs import Frozen
from semroute.types import Attempt, Decision, Model, Outcome, Usage

Scope = Literal["route", "complete", "read", "admin"]
Content = Literal["none", "hash", "redacted", "full"]


class Caller(Frozen, frozen=True, kw_only=True):
    """Who calls: what a key is good for. The defaults are those of a service without keys."""

    id: str = ""
    """Of the key; empty: no key was needed."""
    name: str = ""
    team: str = ""
    scopes: tuple[Scope, ...] = ("route", "complete", "read", "admin")
    routes: tuple[str, ...] = ()
    """Routes it may use; empty: all."""
    models: tuple[str, ...] = ()
    """Models it may use; empty: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """Requests under way at once."""
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None
    metadata: dict[str, Any] = {}
    """What rules can read; it goes before what the request says of itself."""

    @property
    def restricted(self) -> bool:
        """Whether it is good for some routes or models alone."""
        return bool(self.routes or self.models)

    @property
    def limited(self) -> bool:
        """Whether limits or budgets of its own apply to it."""
        return not (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.concurrency is None
            and self.usd_per_day is None
            and self.usd_per_month is None
        )

    def may_take(self, route: str | None) -> bool:
        """Whether it is good for a route; null: for what no route takes, as all keys are."""
        return not self.routes or route is None or route in self.routes

    def may_use(self, model: Model) -> bool:
        """Whether it is good for a model. Who may use one may use all of its deployments."""
        return not self.models or model.id in self.models or model.group in self.models


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
