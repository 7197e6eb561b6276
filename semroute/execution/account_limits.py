"""The limits of one account: what a provider accepts for all of its models together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from semroute.config.schema.resilience import RateLimits
from semroute.execution.token_bucket import Bucket
from semroute.providers.rate_limit_headers import Resource


class AccountLimits:
    """The limits of one provider, and how much of them is used."""

    def __init__(self, provider: str, limits: RateLimits, now: float) -> None:
        self.provider = provider
        self.limits = limits
        self.in_flight = 0
        self.queued = 0
        """How many requests wait for one of its models."""
        self.buckets = buckets_of(limits, now)
        """The buckets of the account. A call also takes from the buckets of its model."""
        self._waiting: set[asyncio.Event] = set()
        self._spent = {"requests": 0, "tokens": 0}

    def full(self, tokens: int, now: float) -> str | None:
        """Return which limit leaves no room for a call with this many tokens. None: there is room."""
        concurrency = self.limits.concurrency
        if concurrency is not None and self.in_flight >= concurrency:
            return f"{self.in_flight} calls to its provider {self.provider} are under way, the provider's limit"
        for resource, bucket in self.buckets.items():
            if bucket.wait_s(1 if resource == "requests" else tokens, now) > 0:
                return f"the limit of its provider {self.provider}, {bucket.capacity:g} {resource} a minute, is used up"
        return None

    def begin(self, tokens: int) -> None:
        """Note that a call with about this many tokens begins."""
        self.in_flight += 1
        self._spent["requests"] += 1
        self._spent["tokens"] += tokens

    def begin_alone(self, now: float) -> None:
        """Note that a call begins which belongs to no model. No deployment counts it, so it is counted here."""
        self.begin(0)
        self.spent_elsewhere(1, 0, now)

    def finish_alone(self, tokens: int, now: float) -> None:
        """Note the end of a call that `begin_alone` noted. `tokens`: how many it took."""
        self.finish(tokens)
        self.spent_elsewhere(0, tokens, now)

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until one more request may be sent. None: a call has to end first."""
        waits = [bucket.wait_s(resource == "requests", now) for resource, bucket in self.buckets.items()]
        return max(waits, default=0.0) or None

    def finish(self, more_tokens: int) -> None:
        """Note that a call has ended."""
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
        """Return whether its requests or tokens a minute are limited."""
        return bool(self.buckets)

    def spent(self) -> dict[str, int]:
        """Return the `requests` and `tokens` since this was called last. `tokens` may be negative."""
        spent, self._spent = self._spent, {"requests": 0, "tokens": 0}
        return spent

    def spent_elsewhere(self, requests: float, tokens: float, now: float) -> None:
        """Take out what was spent by other processes, or by calls that belong to no model."""
        for resource, bucket in self.buckets.items():
            bucket.spend(requests if resource == "requests" else tokens, now)


def buckets_of(limits: RateLimits, now: float) -> dict[Resource, Bucket]:
    """Return a bucket for each limit that counts by the minute."""
    rates: dict[Resource, int | None] = {"requests": limits.rpm, "tokens": limits.tpm}
    return {resource: Bucket(rate, now) for resource, rate in rates.items() if rate}
