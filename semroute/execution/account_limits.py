"""What a provider takes from all of its models together: the limits of one account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from semroute.config.schema.resilience import RateLimits
from semroute.execution.token_bucket import Bucket
from semroute.providers.rate_limit_headers import Resource


class AccountLimits:
    """The limits of one provider, and what its models use of them."""

    def __init__(self, provider: str, limits: RateLimits, now: float) -> None:
        self.provider = provider
        self.limits = limits
        self.in_flight = 0
        self.queued = 0
        """Requests that wait for one of its models."""
        self.buckets = buckets_of(limits, now)
        """What calls draw on, beside the buckets of their model."""
        self._waiting: set[asyncio.Event] = set()
        self._spent = {"requests": 0, "tokens": 0}

    def full(self, tokens: int, now: float) -> str | None:
        """Which limit leaves no room for a call of so many tokens; None: none."""
        concurrency = self.limits.concurrency
        if concurrency is not None and self.in_flight >= concurrency:
            return f"{self.in_flight} calls to its provider {self.provider} are under way, the provider's limit"
        for resource, bucket in self.buckets.items():
            if bucket.wait_s(1 if resource == "requests" else tokens, now) > 0:
                return f"the limit of its provider {self.provider}, {bucket.capacity:g} {resource} a minute, is used up"
        return None

    def begin(self, tokens: int) -> None:
        """A call of about so many tokens begins."""
        self.in_flight += 1
        self._spent["requests"] += 1
        self._spent["tokens"] += tokens

    def begin_alone(self, now: float) -> None:
        """A call begins that is of none of its models, whose buckets would draw on these."""
        self.begin(0)
        self.spent_elsewhere(1, 0, now)

    def finish_alone(self, tokens: int, now: float) -> None:
        """Such a call has ended, and took so many tokens."""
        self.finish(tokens)
        self.spent_elsewhere(0, tokens, now)

    def wait_s(self, now: float) -> float | None:
        """How long until one more request may be sent; None: when a call has ended, whenever that is."""
        waits = [bucket.wait_s(resource == "requests", now) for resource, bucket in self.buckets.items()]
        return max(waits, default=0.0) or None

    def finish(self, more_tokens: int) -> None:
        """A call has ended."""
        self.in_flight -= 1
        self._spent["tokens"] += more_tokens
        for freed in self._waiting:
            freed.set()

    @contextmanager
    def waking(self, freed: asyncio.Event) -> Iterator[None]:
        """Set an event whenever a call of any of its models ends."""
        self._waiting.add(freed)
        try:
            yield
        finally:
            self._waiting.discard(freed)

    @property
    def limited(self) -> bool:
        """Whether its requests or tokens a minute are limited."""
        return bool(self.buckets)

    def spent(self) -> dict[str, int]:
        """`requests` and `tokens` since this was asked last; tokens may be fewer than nothing."""
        spent, self._spent = self._spent, {"requests": 0, "tokens": 0}
        return spent

    def spent_elsewhere(self, requests: float, tokens: float, now: float) -> None:
        """Other processes, or calls of none of its models, spent so much."""
        for resource, bucket in self.buckets.items():
            bucket.spend(requests if resource == "requests" else tokens, now)


def buckets_of(limits: RateLimits, now: float) -> dict[Resource, Bucket]:
    """A bucket for each limit a minute."""
    rates: dict[Resource, int | None] = {"requests": limits.rpm, "tokens": limits.tpm}
    return {resource: Bucket(rate, now) for resource, rate in rates.items() if rate}
