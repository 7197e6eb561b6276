"""Track each deployment (a model at its provider), and tell whether it may be called now.

A `Deployment` combines the pure parts: circuit breaker, token buckets, a limit of concurrent calls, and latency. Its
decisions take no time and do no I/O. Only `queue` waits.
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
from semroute.execution.account_limits import AccountLimits, buckets_of
from semroute.execution.breaker import Breaker, CircuitBreaker
from semroute.execution.clock import CLOCK, Clock
from semroute.execution.hedging import Silences
from semroute.execution.token_bucket import Bucket
from semroute.messages import CHAT
from semroute.providers.rate_limit_headers import RateLimitState, Resource

SAMPLES = 64
"""How many latencies are kept for percentiles."""
EWMA_WEIGHT = 0.2
"""The weight of the newest latency in the average."""
SOONEST_S = 0.001
LONGEST_BLOCK_S = 60.0
"""A provider may ask for a longer pause, but is called again after this time."""
UNLIMITED = RateLimits()
Result = Literal["ok", "fault", "neither"]


class BusyError(Exception):
    """A deployment has no room now, and it makes no sense to wait. `str(error)` says why."""


class PausedError(BusyError):
    """The provider wants no calls for longer than a caller should wait."""


class Probes(Protocol):
    """Decides which of several processes that call the same deployment may send a probe."""

    async def claim(self, deployment: Deployment) -> bool:
        """Return whether this process may send a probe now."""
        ...

    def release(self, deployment: Deployment) -> None:
        """Let any process send another probe, because this one showed nothing."""
        ...


class Permit:
    """The permit for one call. Call `end` when the call is over. A second `end` does nothing."""

    __slots__ = ("_caller", "_deployment", "_open", "_probe", "_tokens")

    def __init__(self, deployment: Deployment, tokens: int, probe: bool, caller: str) -> None:
        self._caller = caller
        self._deployment = deployment
        self._tokens = tokens
        self._probe = probe
        self._open = True

    def begun(self) -> None:
        """Note that the first content came. A probe has then succeeded."""
        if self._probe:
            self._deployment.breaker.succeed(self._deployment.clock.now(), probe=True, caller=self._caller)
            self._probe = False

    def end(self, result: Result, *, latency_ms: float | None = None, tokens: int | None = None) -> None:
        """End the call.

        `result`: `fault` means that the deployment is to blame. `tokens`: how many the call consumed. None: not known.
        """
        if self._open:
            self._open = False
            more_tokens = 0 if tokens is None else tokens - self._tokens
            self._deployment.finish(result, self._probe, self._caller, latency_ms, more_tokens)


class Deployment:
    """One model at its provider, and what its calls have shown."""

    def __init__(
        self, model: Model, clock: Clock, breaker: CircuitBreaker, account: AccountLimits | None = None
    ) -> None:
        """`account`: the limits that all models of the provider share. None: there are none."""
        self.model = model
        self.clock = clock
        self.breaker = breaker
        self._account = account
        self.in_flight = 0
        self.latency_ms: float | None = None
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self.silences = (Silences(), Silences())
        """How long calls were silent: until the first content of a stream, and until a whole answer."""
        self._limits: RateLimits = model.limits
        self._configured = buckets_of(self._limits, clock.now())
        self._told: dict[Resource, Bucket] = {}
        """The limits in the headers of its answers. Those of the route files hold as well, because a user may want less
        than the provider allows."""
        of_account = () if account is None else account.buckets.items()
        self._buckets: list[tuple[Resource, Bucket]] = [*self._configured.items(), *of_account]
        """All buckets from which calls take."""
        self._not_before = -math.inf
        self._queued = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self.probes: Probes | None = None
        """Decides whether this process may send a probe. None: no other process calls this deployment."""
        self._measured: list[float] = []
        self._spent = {"requests": 0, "tokens": 0}

    def broken(self, now: float) -> str | None:
        """Return why its circuit breaker lets no call pass. None: calls may pass."""
        wait_s = self.breaker.opens_in_s(now)
        return f"its circuit breaker is open, the next probe is in {wait_s:.1f} s" if wait_s > 0 else None

    def full(self, tokens: int, now: float) -> str | None:
        """Return which limit leaves no room for a call with this many tokens. None: there is room."""
        concurrency = self._limits.concurrency
        if concurrency is not None and self.in_flight >= concurrency:
            return f"{self.in_flight} calls are under way, which is its limit"
        if self._account is not None and (reason := self._account.full(tokens, now)) is not None:
            return reason
        if now < self._not_before:
            return f"its provider asked semroute to wait another {self._not_before - now:.1f} s"
        for resource, bucket in self._buckets:
            if bucket.wait_s(_amount(resource, 1, tokens), now) > 0:
                return f"its limit of {bucket.capacity:g} {resource} a minute is used up"
        return None

    def ready(self, tokens: int, now: float) -> bool:
        """Return whether a call with this many tokens may begin."""
        return self.breaker.opens_in_s(now) <= 0 and self.full(tokens, now) is None

    def spare(self, now: float) -> float:
        """Return the share, 0 to 1, that is left of the rate limit with the least left."""
        return min((bucket.level(now) / bucket.capacity for _, bucket in self._buckets), default=1.0)

    def wait_s(self, tokens: int, now: float) -> float:
        """Return the seconds until its rate limits leave room. 0: now, unless a call has to end first."""
        waits = [bucket.wait_s(_amount(resource, 1, tokens), now) for resource, bucket in self._buckets]
        return max(0.0, self._not_before - now, *waits)

    def begin(self, tokens: int, caller: str = "") -> Permit:
        """Begin a call with about this many tokens. `caller`: all callers without a name count as one."""
        now = self.clock.now()
        self.in_flight += 1
        self._spent["requests"] += 1
        self._spent["tokens"] += tokens
        if self._account is not None:
            self._account.begin(tokens)
        for resource, bucket in self._buckets:
            bucket.spend(_amount(resource, 1, tokens), now)
        return Permit(self, tokens, self.breaker.begin(now), caller)

    def finish(self, result: Result, probe: bool, caller: str, latency_ms: float | None, more_tokens: int) -> None:
        """Note that a call has ended, and tell the circuit breaker how. Only its `Permit` calls this."""
        now = self.clock.now()
        if result == "ok":
            self.breaker.succeed(now, probe=probe, caller=caller)
        elif result == "fault":
            self.breaker.fail(now, probe=probe, caller=caller)
        else:
            self.breaker.abandon(now, probe=probe)
            if probe and self.probes is not None:
                self.probes.release(self)
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
        """Return whether a call may begin. If the breaker is half-open, only one of all processes sends the probe.

        While the breaker is closed, this takes no time.
        """
        now = self.clock.now()
        if self.probes is None or self.breaker.state(now) == "closed" or await self.probes.claim(self):
            return True
        self.breaker.defer(now)
        return False

    @property
    def limited(self) -> bool:
        """Return whether the route files limit its requests or tokens a minute.

        Limits in the headers of answers do not matter here: the provider counts the calls of all processes itself.
        """
        return self._limits.rpm is not None or self._limits.tpm is not None

    def measured(self) -> list[float]:
        """Return the latencies since this was called last, for other processes. Empty: there are none to tell."""
        measured, self._measured = self._measured, []
        return measured

    def spent(self) -> dict[str, int]:
        """Return the `requests` and `tokens` since this was called last. `tokens` may be negative."""
        spent, self._spent = self._spent, {"requests": 0, "tokens": 0}
        return spent

    def spent_elsewhere(self, requests: float, tokens: float, now: float) -> None:
        """Take out what other processes spent."""
        for resource, bucket in self._configured.items():
            bucket.spend(requests if resource == "requests" else tokens, now)

    def learn(self, told: RateLimitState) -> None:
        """Learn from the headers of an answer."""
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
        """Return the 95th percentile of its latest latencies. None: too few are known."""
        if len(self._latencies) < SAMPLES // 4:
            return None
        return sorted(self._latencies)[int(0.95 * len(self._latencies))]

    async def queue(self, tokens: int, timeout_s: float, longest_pause_s: float = LONGEST_BLOCK_S) -> None:
        """Wait until a call with this many tokens may begin: first come, first served.

        Begin the call without awaiting anything before. Raises `BusyError` if the queue is full, the breaker opens, or
        it takes longer than `timeout_s`, and `PausedError` if the provider wants a longer pause than `longest_pause_s`.
        """
        self._heed(tokens, longest_pause_s)
        account = self._account
        if self._queued >= self._limits.queue:
            raise BusyError(f"{self._queued} requests are waiting for it already")
        if account is not None and account.queued >= account.limits.queue:
            raise BusyError(f"{account.queued} requests are waiting for its provider {account.provider} already")
        if self.wait_s(tokens, self.clock.now()) >= timeout_s:
            raise BusyError(self.full(tokens, self.clock.now()) or "its limits leave no room before the deadline")
        self._queued += 1
        if account is not None:
            account.queued += 1
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                while not self.ready(tokens, now := self.clock.now()):
                    if (reason := self.broken(now)) is not None:
                        raise BusyError(reason)
                    self._heed(tokens, longest_pause_s)
                    await self._change(self.wait_s(tokens, now))
        except TimeoutError:
            raise BusyError(f"its limits left no room within {timeout_s:.1f} s") from None
        finally:
            self._queued -= 1
            if account is not None:
                account.queued -= 1

    def _heed(self, tokens: int, longest_s: float) -> None:
        """Raise `PausedError` if the provider's answers tell that it takes no such call for longer than this."""
        now = self.clock.now()
        waits = [bucket.wait_s(_amount(resource, 1, tokens), now) for resource, bucket in self._told.items()]
        if (pause_s := max(0.0, self._not_before - now, *waits)) > longest_s:
            raise PausedError(f"its provider asked semroute to wait another {pause_s:.1f} s")

    async def _change(self, wait_s: float) -> None:
        """Sleep until the rate limits leave room. If they do already, wait until a call ends."""
        if wait_s > 0:
            await self.clock.sleep(max(wait_s, SOONEST_S))
            return
        self._freed.clear()
        with nullcontext() if self._account is None else self._account.waking(self._freed):
            await self._freed.wait()


def _amount(resource: Resource, requests: int, tokens: int) -> int:
    return requests if resource == "requests" else tokens


class Deployments:
    """All deployments of a process, by model id. A reload of the route files keeps them.

    They belong to one endpoint, because how a model serves embeddings says nothing about how it serves chats. `at`
    returns the deployments of another endpoint.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self._all: dict[str, Deployment] = {}
        self._probes: Probes | None = None
        self._elsewhere: dict[str, Deployments] = {}
        self._accounts: dict[str, AccountLimits] = {}

    def at(self, endpoint: str) -> Deployments:
        """Return the deployments of an endpoint. `CHAT`: these. Only these are shared with other processes."""
        if endpoint == CHAT:
            return self
        if endpoint not in self._elsewhere:
            self._elsewhere[endpoint] = Deployments(self.clock)
            self._elsewhere[endpoint]._accounts = self._accounts  # the limits of an account hold for all endpoints
        return self._elsewhere[endpoint]

    def share(self, probes: Probes) -> None:
        """Ask `probes` before each probe, because other processes call the same deployments."""
        self._probes = probes
        for known in self._all.values():
            known.probes = probes

    def of(self, model: Model) -> Deployment:
        """Return the deployment of a model. If the model's entry changed, it is a new one."""
        known = self._all.get(model.id)
        if known is None or (known.model is not model and known.model != model):
            known = self._all[model.id] = Deployment(
                model, self.clock, Breaker(model.breaker), self.account(model.provider, model.account)
            )
            known.probes = self._probes
        return known

    def learn(self, endpoint: str, model: Model, told: RateLimitState) -> None:
        """Learn about a model from the headers of an answer. `endpoint`: where the answer came from."""
        self.at(endpoint).of(model).learn(told)

    def broken(self) -> dict[str, str]:
        """Return the models whose circuit breaker is not closed, at any endpoint, with a sentence about each."""
        now, told = self.clock.now(), {}
        for endpoint, known in (("", self), *self._elsewhere.items()):
            for model_id, each in known._all.items():
                if each.breaker.state(now) != "closed":
                    reason = each.broken(now) or "its circuit breaker is open, the next request probes it"
                    told[f"{model_id} ({endpoint})" if endpoint else model_id] = reason
        return told

    def accounts(self) -> Iterable[AccountLimits]:
        """Return the accounts that have limits."""
        return self._accounts.values()

    def account(self, provider: str, limits: RateLimits) -> AccountLimits | None:
        """Return the account of a provider. `limits`: its present limits. None: it has none."""
        if limits == UNLIMITED:
            return None
        known = self._accounts.get(provider)
        if known is None or known.limits != limits:
            known = self._accounts[provider] = AccountLimits(provider, limits, self.clock.now())
        return known

    def keep(self, models: Collection[Model], providers: Mapping[str, RateLimits] | None = None) -> None:
        """Forget models and accounts that are no longer configured.

        `providers`: the limits of further providers, which may have no models.
        """
        limits = {model.provider: model.account for model in models} | dict(providers or {})
        for provider in [name for name, account in self._accounts.items() if limits.get(name) != account.limits]:
            del self._accounts[provider]
        ids = {model.id for model in models}
        for known in (self, *self._elsewhere.values()):
            known._all = {model_id: each for model_id, each in known._all.items() if model_id in ids}

    def signals(self, unavailable: dict[str, str], tokens: int) -> Signals:
        """Return the facts of the moment for a request with this many tokens."""
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
        """Return the seconds until the first of these models may be called again. None: nothing is known of any."""
        now = self.clock.now()
        known = [self._all[model_id] for model_id in model_ids if model_id in self._all]
        waits = [max(each.breaker.opens_in_s(now), each.wait_s(1, now)) for each in known]
        return min(waits, default=None)

    def states(self) -> Mapping[str, Deployment]:
        """Return all deployments, to show them."""
        return self._all
