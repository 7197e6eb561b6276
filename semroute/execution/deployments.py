"""What is known of each deployment (a model at its provider), and whether it may be called now.

A `Deployment` puts the pure parts together: circuit breaker, token buckets, a limit of concurrent calls, latency. The
decisions take no time and do no I/O; only `queue` waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from typing import Literal, Protocol

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import RateLimits
from semroute.decision import Signals
from semroute.dialects.dialect import CHAT
from semroute.execution.account_limits import AccountLimits, buckets_of
from semroute.execution.breaker import Breaker, CircuitBreaker
from semroute.execution.clock import CLOCK, Clock
from semroute.execution.hedging import Silences
from semroute.execution.token_bucket import Bucket
from semroute.providers.rate_limit_headers import RateLimitState, Resource

SAMPLES = 64
"""Latencies that are kept for percentiles."""
EWMA_WEIGHT = 0.2
"""Of the newest latency in the average."""
SOONEST_S = 0.001
LONGEST_BLOCK_S = 60.0
"""A provider that asks to wait for longer is asked again after so long."""
UNLIMITED = RateLimits()
Result = Literal["ok", "fault", "neither"]


class BusyError(Exception):
    """A deployment has no room now, and cannot be waited for. `str(error)` says why."""


class Probes(Protocol):
    """Who may send a probe, where several processes call the same deployment."""

    async def claim(self, deployment: Deployment) -> bool:
        """Whether this process may send one now."""
        ...

    def release(self, deployment: Deployment) -> None:
        """One told nothing: any process may send another."""
        ...


class Permit:
    """One call under way. `end` it once; more often does no harm."""

    __slots__ = ("_caller", "_deployment", "_open", "_probe", "_tokens")

    def __init__(self, deployment: Deployment, tokens: int, probe: bool, caller: str) -> None:
        self._caller = caller
        self._deployment = deployment
        self._tokens = tokens
        self._probe = probe
        self._open = True

    def begun(self) -> None:
        """The first content came: enough for a probe."""
        if self._probe:
            self._deployment.breaker.succeed(self._deployment.clock.now(), probe=True, caller=self._caller)
            self._probe = False

    def end(self, result: Result, *, latency_ms: float | None = None, tokens: int | None = None) -> None:
        """The call is over: `fault` through the deployment's own fault. `tokens`: what it consumed, where known."""
        if self._open:
            self._open = False
            self._deployment.judge(result, self._probe, self._caller)
            self._deployment.finish(latency_ms, 0 if tokens is None else tokens - self._tokens)


class Deployment:
    """One model at its provider, as its calls have shown it."""

    def __init__(
        self, model: Model, clock: Clock, breaker: CircuitBreaker, account: AccountLimits | None = None
    ) -> None:
        """`account`: what its provider takes from all of its models; None: any number of calls."""
        self.model = model
        self.clock = clock
        self.breaker = breaker
        self._account = account
        self.in_flight = 0
        self.latency_ms: float | None = None
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._silences = (Silences(), Silences())
        self._limits: RateLimits = model.limits
        self._configured = buckets_of(self._limits, clock.now())
        self._told: dict[Resource, Bucket] = {}
        """By the headers of its answers. Both hold: who writes a limit may be given more, and not want it."""
        self._buckets: list[tuple[Resource, Bucket]] = [*self._configured.items()]
        """All that calls draw on."""
        if account is not None:
            self._buckets += account.buckets.items()
        self._not_before = -math.inf
        self._queued = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self.probes: Probes | None = None
        """Who is asked before a probe; None: this process alone calls it."""
        self._measured: list[float] = []
        self._spent = {"requests": 0, "tokens": 0}

    def silences(self, *, whole: bool) -> Silences:
        """How long its calls were silent: until the first content, or until the `whole` answer."""
        return self._silences[whole]

    def broken(self, now: float) -> str | None:
        """Why its circuit breaker lets no call pass; None: it does."""
        wait_s = self.breaker.opens_in_s(now)
        return f"its circuit breaker is open, the next probe is in {wait_s:.1f} s" if wait_s > 0 else None

    def full(self, tokens: int, now: float) -> str | None:
        """Which limit leaves no room for a call of so many tokens; None: none."""
        concurrency = self._limits.concurrency
        if concurrency is not None and self.in_flight >= concurrency:
            return f"{self.in_flight} calls are under way, its limit"
        if self._account is not None and (reason := self._account.full(tokens, now)) is not None:
            return reason
        if now < self._not_before:
            return _pausing(self._not_before - now)
        for resource, bucket in self._buckets:
            if bucket.wait_s(_amount(resource, 1, tokens), now) > 0:
                return f"its limit of {bucket.capacity:g} {resource} a minute is used up"
        return None

    def ready(self, tokens: int, now: float) -> bool:
        """Whether a call of so many tokens may begin."""
        return self.breaker.opens_in_s(now) <= 0 and self.full(tokens, now) is None

    def wait_s(self, tokens: int, now: float) -> float:
        """How long until its rate limits leave room, as far as can be told; 0: now, or when a call ends."""
        waits = [bucket.wait_s(_amount(resource, 1, tokens), now) for resource, bucket in self._buckets]
        return max(0.0, self._not_before - now, *waits)

    def begin(self, tokens: int, caller: str = "") -> Permit:
        """A call of about so many tokens begins. `caller`: whose it is; those without a name count as one."""
        now = self.clock.now()
        self.in_flight += 1
        self._spent["requests"] += 1
        self._spent["tokens"] += tokens
        if self._account is not None:
            self._account.begin(tokens)
        for resource, bucket in self._buckets:
            bucket.spend(_amount(resource, 1, tokens), now)
        return Permit(self, tokens, self.breaker.begin(now), caller)

    def judge(self, result: Result, probe: bool, caller: str) -> None:
        """Tell the circuit breaker how a call ended."""
        now = self.clock.now()
        if result == "ok":
            self.breaker.succeed(now, probe=probe, caller=caller)
        elif result == "fault":
            self.breaker.fail(now, probe=probe, caller=caller)
        else:
            self.breaker.abandon(now, probe=probe)
            if probe and self.probes is not None:
                self.probes.release(self)

    def finish(self, latency_ms: float | None, more_tokens: int) -> None:
        """A call has ended, as its `Permit` says."""
        now = self.clock.now()
        self.in_flight -= 1
        self._freed.set()
        if latency_ms is not None:
            self._latencies.append(latency_ms)
            if self.probes is not None:
                self._measured.append(latency_ms)
            old = self.latency_ms
            self.latency_ms = latency_ms if old is None else old + EWMA_WEIGHT * (latency_ms - old)
        self._spent["tokens"] += more_tokens
        if self._account is not None:
            self._account.finish(more_tokens)
        for resource, bucket in self._buckets:
            bucket.spend(_amount(resource, 0, more_tokens), now)

    async def cleared(self) -> bool:
        """Whether a call may begin, also in view of other processes: of all of them one sends the probe.

        It takes no time while the breaker is closed.
        """
        now = self.clock.now()
        if self.probes is None or self.breaker.state(now) == "closed" or await self.probes.claim(self):
            return True
        self.breaker.defer(now)
        return False

    @property
    def limited(self) -> bool:
        """Whether its requests or tokens a minute are limited here. What its headers say counts all processes."""
        return self._limits.rpm is not None or self._limits.tpm is not None

    def measured(self) -> list[float]:
        """Latencies since this was asked last, where they are shared."""
        measured, self._measured = self._measured, []
        return measured

    def spent(self) -> dict[str, int]:
        """`requests` and `tokens` since this was asked last; tokens may be fewer than nothing."""
        spent, self._spent = self._spent, {"requests": 0, "tokens": 0}
        return spent

    def spent_elsewhere(self, requests: float, tokens: float, now: float) -> None:
        """Other processes spent so much."""
        for resource, bucket in self._configured.items():
            bucket.spend(requests if resource == "requests" else tokens, now)

    def learn(self, told: RateLimitState) -> None:
        """Take over what the headers of an answer say."""
        now = self.clock.now()
        if told.retry_after_s is not None:
            self._not_before = max(self._not_before, now + min(told.retry_after_s, LONGEST_BLOCK_S))
        for limit in told.limits:
            bucket = self._told.get(limit.resource)
            if bucket is None:
                bucket = self._told[limit.resource] = Bucket(max(limit.limit or 0.0, limit.remaining, 1.0), now)
                self._buckets.append((limit.resource, bucket))
            bucket.learn(limit=limit.limit, remaining=limit.remaining, reset_s=limit.reset_s, now=now)

    def p95_ms(self) -> float | None:
        """The 95th percentile of its latest latencies; None: too few are known."""
        if len(self._latencies) < SAMPLES // 4:
            return None
        return sorted(self._latencies)[int(0.95 * len(self._latencies))]

    async def queue(self, tokens: int, timeout_s: float, longest_pause_s: float = LONGEST_BLOCK_S) -> None:
        """Wait until a call of so many tokens may begin: first come, first served. Begin it without awaiting again.

        Raises `BusyError` where the queue is full, the breaker opens, or it takes longer than `timeout_s`; also where
        the provider asked for a longer pause than `longest_pause_s`.
        """
        pause_s = self._not_before - self.clock.now()
        if pause_s > longest_pause_s:
            raise BusyError(_pausing(pause_s))
        account = self._account
        if self._queued >= self._limits.queue:
            raise BusyError(f"{self._queued} requests are waiting for it already")
        if account is not None and account.queued >= account.limits.queue:
            raise BusyError(f"{account.queued} requests are waiting for its provider {account.provider} already")
        if self.wait_s(tokens, self.clock.now()) >= timeout_s:
            raise BusyError(self.full(tokens, self.clock.now()) or "it has no room in time")
        self._queued += 1
        if account is not None:
            account.queued += 1
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                while not self.ready(tokens, now := self.clock.now()):
                    if (reason := self.broken(now)) is not None:
                        raise BusyError(reason)
                    await self._change(self.wait_s(tokens, now))
        except TimeoutError:
            raise BusyError(f"it had no room within {timeout_s:.1f} s") from None
        finally:
            self._queued -= 1
            if account is not None:
                account.queued -= 1

    async def _change(self, wait_s: float) -> None:
        """Sleep until the rate limits leave room; or, where they do, until a call ends."""
        if wait_s > 0:
            await self.clock.sleep(max(wait_s, SOONEST_S))
            return
        self._freed.clear()
        with nullcontext() if self._account is None else self._account.waking(self._freed):
            await self._freed.wait()


def _amount(resource: Resource, requests: int, tokens: int) -> int:
    return requests if resource == "requests" else tokens


def _pausing(pause_s: float) -> str:
    """Say how long a provider still wants to be left alone."""
    return f"it asked to wait another {pause_s:.1f} s"


class Deployments:
    """All deployments of a process, by model id. They outlive a reload of the route files.

    They are those of one endpoint: what a model does with embeddings says nothing of what it does with a conversation.
    `at` gives those of another.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self._all: dict[str, Deployment] = {}
        self._probes: Probes | None = None
        self._elsewhere: dict[str, Deployments] = {}
        self._accounts: dict[str, AccountLimits] = {}

    def at(self, endpoint: str) -> Deployments:
        """Those of an endpoint; `CHAT`: these. Other processes are not told of the others."""
        if endpoint == CHAT:
            return self
        if endpoint not in self._elsewhere:
            self._elsewhere[endpoint] = Deployments(self.clock)
            self._elsewhere[endpoint]._accounts = self._accounts  # an account's limits are those of all endpoints
        return self._elsewhere[endpoint]

    def share(self, probes: Probes) -> None:
        """Ask before each probe, for other processes call the same deployments."""
        self._probes = probes
        for known in self._all.values():
            known.probes = probes

    def of(self, model: Model) -> Deployment:
        """What is known of a model; nothing yet where its entry has changed."""
        known = self._all.get(model.id)
        if known is None or (known.model is not model and known.model != model):
            known = self._all[model.id] = Deployment(
                model, self.clock, Breaker(model.breaker), self.account(model.provider, model.account)
            )
            known.probes = self._probes
        return known

    def learn(self, endpoint: str, model: Model, told: RateLimitState) -> None:
        """Take over what the headers of an endpoint's answer say of a model."""
        self.at(endpoint).of(model).learn(told)

    def broken(self) -> dict[str, str]:
        """Models whose circuit breaker is not closed, at any endpoint, and until when."""
        now, told = self.clock.now(), {}
        for endpoint, known in (("", self), *self._elsewhere.items()):
            for model_id, each in known._all.items():
                if each.breaker.state(now) != "closed":
                    reason = each.broken(now) or "its circuit breaker is open, the next request probes it"
                    told[f"{model_id} ({endpoint})" if endpoint else model_id] = reason
        return told

    def accounts(self) -> Iterable[AccountLimits]:
        """What is known of providers whose account is limited."""
        return self._accounts.values()

    def account(self, provider: str, limits: RateLimits) -> AccountLimits | None:
        """What is known of a provider with these limits; None: it has none."""
        if limits == UNLIMITED:
            return None
        known = self._accounts.get(provider)
        if known is None or known.limits != limits:
            known = self._accounts[provider] = AccountLimits(provider, limits, self.clock.now())
        return known

    def keep(self, models: Collection[Model], providers: Mapping[str, RateLimits] | None = None) -> None:
        """Forget those that are no longer configured. `providers`: limits also of those that have no models."""
        limits = {model.provider: model.account for model in models} | dict(providers or {})
        for provider in [name for name, account in self._accounts.items() if limits.get(name) != account.limits]:
            del self._accounts[provider]
        ids = {model.id for model in models}
        for known in (self, *self._elsewhere.values()):
            known._all = {model_id: each for model_id, each in known._all.items() if model_id in ids}

    def signals(self, unavailable: dict[str, str], tokens: int) -> Signals:
        """The facts of the moment, for a request of so many tokens."""
        now = self.clock.now()
        broken: dict[str, str] = {}
        full: dict[str, str] = {}
        latency_ms: dict[str, float] = {}
        in_flight: dict[str, int] = {}
        for model_id, known in self._all.items():
            if known.breaker.opens_in_s(now) > 0 and (reason := known.broken(now)) is not None:
                broken[model_id] = reason
            if (reason := known.full(tokens, now)) is not None:
                full[model_id] = reason
            if known.latency_ms is not None:
                latency_ms[model_id] = known.latency_ms
            if known.in_flight:
                in_flight[model_id] = known.in_flight
        return Signals(
            unavailable=unavailable, open_breakers=broken, exhausted=full, latency_ms=latency_ms, in_flight=in_flight
        )

    def retry_after_s(self, model_ids: Iterable[str]) -> float | None:
        """When the first of these may be called again; None: none is known to."""
        now = self.clock.now()
        known = [self._all[model_id] for model_id in model_ids if model_id in self._all]
        waits = [max(each.breaker.opens_in_s(now), each.wait_s(1, now)) for each in known]
        return min(waits, default=None)

    def states(self) -> Mapping[str, Deployment]:
        """All, for who shows them."""
        return self._all
