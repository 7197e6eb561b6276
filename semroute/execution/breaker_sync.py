"""Share what processes know about their deployments. They exchange it twice a second, and no request waits for it.

breakers   A breaker that opens or closes in one process does so in all. Only one of the processes sends the probe.
latency    There is one moving average. Each process adds what it measured.
limits     Each process takes from its buckets what other processes spent of the requests and tokens a minute.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.errors import StoreError
from semroute.execution.account_limits import AccountLimits
from semroute.execution.breaker import DEFERRALS
from semroute.execution.deployments import EWMA_WEIGHT, Deployment, Deployments
from semroute.stores.interfaces import State

log = logging.getLogger("semroute.exchange")

EXCHANGE_S = 0.5
KEEP_S = 60.0
"""Seconds after which shared news is forgotten, unless it is repeated."""
LATENCY_S = 600.0
COUNTER_S = 86_400.0


class BreakerNews(Frozen, frozen=True, kw_only=True):
    """News of a breaker that opened or closed."""

    id: str
    """Tells this news from other news."""
    open: bool
    probe_at: float
    """When the next probe is due, in seconds since 1970."""


class BreakerSync:
    """The exchange between one process and all others with the same shared state. Run `run` in a task.

    It also serves as the `Probes` of the process's deployments.
    """

    def __init__(
        self,
        state: State,
        deployments: Deployments,
        models: Callable[[], Iterable[Model]],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`models`: returns the models in service now. `wall`: returns the seconds since 1970."""
        self._state = state
        self._deployments = deployments
        self._models = models
        self._wall = wall
        self._told: dict[str, bool] = {}
        """Whether each breaker is open, as the shared state last said."""
        self._heard: dict[str, bytes] = {}
        self._levels: dict[str, int] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        deployments.share(self)

    async def run(self) -> None:
        """Exchange news until it is cancelled."""
        while True:
            await asyncio.sleep(EXCHANGE_S)
            try:
                await self.once()
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("cannot read what another process says about its models: %s", error)

    async def once(self) -> None:
        """Publish what is new in this process, and take over what is new in others."""
        known = [self._deployments.of(model) for model in self._models()]
        keys = [key for each in known for key in (_key("breaker", each), _key("latency", each))]
        try:
            found = await self._state.get_many(keys)
            for deployment in known:
                await self._breaker(deployment, found.get(_key("breaker", deployment)))
                await self._latency(deployment, found)
            await self._limits(known)
        except StoreError:
            return  # the shared state reports this itself, and each process goes on with what it knows

    # --- probes ---

    async def claim(self, deployment: Deployment) -> bool:
        """Return whether this process may send a probe now."""
        # The claim ends a little early, so that no process asks in vain for a whole interval.
        ttl_s = deployment.model.breaker.probe_s * (1 - 1 / DEFERRALS)
        try:
            return await self._state.put_new(_key("probe", deployment), b"1", ttl_s)
        except StoreError:
            return True

    def release(self, deployment: Deployment) -> None:
        """Let any process send another probe, because this one showed nothing."""
        task = asyncio.get_running_loop().create_task(self._state.delete(_key("probe", deployment)))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    # --- the exchange ---

    async def _breaker(self, deployment: Deployment, said: bytes | None) -> None:
        key, now = _key("breaker", deployment), deployment.clock.now()
        is_open = deployment.breaker.state(now) != "closed"
        if is_open != self._told.get(key, False) or (is_open and said is None):
            probe_at = self._wall() + deployment.breaker.opens_in_s(now)
            value = msgspec.json.encode(BreakerNews(id=uuid.uuid4().hex, open=is_open, probe_at=probe_at))
            self._told[key], self._heard[key] = is_open, value
            await self._state.put(key, value, KEEP_S)
        elif said is not None and said != self._heard.get(key):
            news = msgspec.json.decode(said, type=BreakerNews)
            self._told[key], self._heard[key] = news.open, said
            if news.open and not is_open:
                # The clocks of machines differ.
                wait_s = min(max(0.0, news.probe_at - self._wall()), deployment.model.breaker.probe_s)
                deployment.breaker.trip(now, wait_s)
            elif is_open and not news.open:
                deployment.breaker.close()

    async def _latency(self, deployment: Deployment, found: Mapping[str, bytes]) -> None:
        key = _key("latency", deployment)
        measured = deployment.measured()
        if measured:
            mean, weight = sum(measured) / len(measured), 1 - (1 - EWMA_WEIGHT) ** len(measured)
            deployment.latency_ms = await self._state.smooth(key, mean, weight, LATENCY_S)
        elif key in found:
            deployment.latency_ms = float(found[key])

    async def _limits(self, known: list[Deployment]) -> None:
        """Publish what this process spent, and take out what other processes spent."""
        named: list[tuple[str, Deployment | AccountLimits]] = [(_name(each), each) for each in known]
        named += [(f"account:{each.provider}", each) for each in self._deployments.accounts()]
        spent = {name: each.spent() for name, each in named}
        limited = [(name, each) for name, each in named if each.limited]
        if not limited:
            return
        mine = {f"used-{what}:{name}": n for name, _ in limited for what, n in spent[name].items()}
        until = self._wall() + COUNTER_S
        if any(mine.values()):
            await self._state.settle(uuid.uuid4().hex, {key: (n, until) for key, n in mine.items()})
        levels = await self._state.levels(list(mine))
        # The first level of a counter shows nothing yet. Neither does a counter that started again.
        others = {key: max(0, level - self._levels.get(key, math.inf) - mine[key]) for key, level in levels.items()}
        self._levels = levels
        now = self._deployments.clock.now()
        for name, each in limited:
            each.spent_elsewhere(others[f"used-requests:{name}"], others[f"used-tokens:{name}"], now)


def _key(what: str, deployment: Deployment) -> str:
    return f"{what}:{_name(deployment)}"


def _name(deployment: Deployment) -> str:
    model = deployment.model
    return f"{model.id}:{model.provider}/{model.name}"
