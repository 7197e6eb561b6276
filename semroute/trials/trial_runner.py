"""Run trials in the background: a bounded queue, and a few workers that wait while the service is busy.

A trial never delays an answer. It begins after the answer has gone out, and waits until the event loop has time. If too
many wait, further ones are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from semroute.access.trial_budget import TrialBudget
from semroute.config.config import Config
from semroute.decision import Decision
from semroute.errors import StoreError
from semroute.gateway.serving import Serving
from semroute.gateway.trial_queue import Draws, Served
from semroute.messages import ChatRequest
from semroute.record import Attempt, Trial, TrialPurpose
from semroute.trials.pace import Pace, worked_s

log = logging.getLogger("semroute.trials")

WAITING = 256
"""How many requests may wait for their trials."""
WORKERS = 4
"""How many trials run at once."""
TRIAL_S = 120.0
"""The longest time that all trials of one request may take together."""
BUSY_S = 0.005
"""The event loop is busy if it takes this long to come round."""
REST_S = 0.1
"""Seconds until a worker looks again whether the event loop has time."""
LOOKS = 50
"""How many times a worker looks before it drops the request."""
WRITE_EVERY_S = 0.5
UNWRITTEN = 10_000
"""How many ended trials may wait for the database. Further ones are lost and counted."""
BATCH = 200
CLOSE_S = 2.0
"""Seconds that trials under way get to end when the service stops."""


class TrialKind(Protocol):
    """A kind of trial, such as a judge."""

    purpose: TrialPurpose

    def wanted(self, config: Config) -> bool:
        """Return whether the route files ask for such trials."""

    def chance(self, request: ChatRequest, decision: Decision, config: Config) -> float:
        """Return the probability with which this request should be drawn. Called only if such trials are wanted."""

    async def run(self, served: Served, means: TrialMeans) -> Sequence[Trial]:
        """Make the trials of a request that was drawn. An error of a model is noted in the trial."""


class TrialMeans:
    """What trials work with."""

    def __init__(
        self,
        budget: TrialBudget,
        clock: Callable[[], float],
        rng: random.Random,
        keep: Callable[[Trial], None],
        drop: Callable[[str, str], None],
    ) -> None:
        """`keep`: takes a trial that is cancelled but has already cost something. `drop`: counts a trial that is not
        made, by its purpose and the reason.
        """
        self.budget = budget
        self.clock = clock
        self.rng = rng
        self.keep = keep
        self.drop = drop


Append = Callable[[Sequence[Trial]], Awaitable[None]]
"""Writes trials to the log. Raises `StoreError`."""


class Trials:
    """Takes requests for trials, runs these, and writes them down.

    Run `run` beside requests, and call `aclose` last.
    """

    def __init__(
        self,
        kinds: Sequence[TrialKind],
        budget: TrialBudget,
        append: Append,
        *,
        on_trial: Callable[[Trial], None] = lambda _: None,
        on_drop: Callable[[str, str, int], None] = lambda purpose, reason, count: None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        looked: Callable[[], Awaitable[float]] | None = None,
        now: Callable[[], float] = time.monotonic,
        used: Callable[[], float] | None = None,
    ) -> None:
        """`on_trial`: is told of each trial that ended. `on_drop`: is told of the purpose of trials that were not made,
        why, and how many there are. The purpose `all` stands for requests that were not even drawn. `looked`: waits for
        one round of the event loop, and returns how long it took in seconds. `now`: returns seconds that only grow.
        `used`: returns for how many seconds the process has worked.
        """
        rng = random.Random() if rng is None else rng
        self.dropped: Counter[tuple[str, str]] = Counter()
        """How many trials were not made, or not written down, by purpose and reason."""
        self.trouble: str | None = None
        """Why trials cannot be written down just now. None: they can."""
        self._kinds = kinds
        self._append = append
        self._on_trial, self._on_drop = on_trial, on_drop
        self._rng = rng
        self._looked = looked or _one_round
        self._means = TrialMeans(budget, clock, rng, self._keep, self._dropped)
        self._pace = Pace(now, used or worked_s)
        self._passed = 0
        """How many requests were not drawn because of the pace, and are not counted in `dropped` yet."""
        self._queue: asyncio.Queue[Served] = asyncio.Queue(WAITING)
        self._ended: list[Trial] = []
        self._workers: set[asyncio.Task[None]] = set()

    def wanted(self, config: Config) -> bool:
        """Return whether the route files ask for any trials."""
        return any(kind.wanted(config) for kind in self._kinds)

    def draw(self, request: ChatRequest, decision: Decision, serving: Serving) -> Draws:
        """Draw a request for trials as it begins. See `TrialQueue`."""
        drawn: Draws = {}
        if not self._pace.may_draw(waiting=self._queue.qsize()):
            self._passed += 1
            return drawn
        config = serving.router.config
        for kind in self._kinds:
            if kind.wanted(config):
                chance = kind.chance(request, decision, config)
                if chance > 0 and self._rng.random() < chance:
                    drawn[kind.purpose] = chance
        return drawn

    def put(self, served: Served) -> None:
        """Take a request whose answer has gone out. If too many wait, its trials are dropped."""
        try:
            self._queue.put_nowait(served)
        except asyncio.QueueFull:
            self._drop(served, "queue full")

    async def run(self) -> None:
        """Make trials, and write them down. Runs until it is cancelled."""
        self._workers = {asyncio.create_task(self._work()) for _ in range(WORKERS)}
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                await self.write()
        finally:
            await self._stop()

    async def write(self) -> None:
        """Write down the trials that have ended. If that fails, they wait for the next time."""
        if passed := self._passed:
            self._passed = 0
            self._dropped("all", "pace", passed)
        while batch := self._ended[:BATCH]:
            try:
                await self._append(batch)
            except StoreError as error:
                if self.trouble is None:
                    log.error("trials cannot be written down, so they wait: %s", error)
                self.trouble = str(error)
                return
            del self._ended[: len(batch)]
            if self.trouble is not None:
                log.warning("trials can be written down again")
                self.trouble = None

    async def aclose(self) -> None:
        """Write down what has ended. What cannot be written is lost, and the log says how much that is."""
        await self.write()
        if self._ended:
            log.error("%d trials are lost: %s", len(self._ended), self.trouble)
            self._ended.clear()

    async def _stop(self) -> None:
        """Drop what waits, and give the trials under way a moment to end."""
        while not self._queue.empty():
            self._drop(self._queue.get_nowait(), "shutdown")
        busy = {task for task in self._workers if not task.done()}
        for task in busy:
            task.cancel()
        if busy:
            await asyncio.wait(busy, timeout=CLOSE_S)

    async def _work(self) -> None:
        while True:
            served = await self._queue.get()
            if not await self._has_time():
                self._drop(served, "busy")
                continue
            for kind in self._kinds:
                if kind.purpose in served.draws:
                    await self._run(kind, served)

    async def _run(self, kind: TrialKind, served: Served) -> None:
        try:
            async with asyncio.timeout(TRIAL_S):
                made = await kind.run(served, self._means)
        except TimeoutError:
            self._dropped(kind.purpose, "deadline")
            return
        except asyncio.CancelledError:
            self._dropped(kind.purpose, "shutdown")
            raise
        except Exception:  # a defect of one kind must end neither the worker nor the trials of other kinds
            log.exception("%s: a trial has failed", served.record.request_id)
            self._dropped(kind.purpose, "defect")
            return
        for trial in made:
            self._keep(trial)

    def _keep(self, trial: Trial) -> None:
        self._on_trial(trial)
        if len(self._ended) >= UNWRITTEN:
            self._dropped(trial.purpose, "not written")
        else:
            self._ended.append(trial)

    async def _has_time(self) -> bool:
        """Wait until the event loop has time, and the pace allows a trial. Returns False if that takes long."""
        for _ in range(LOOKS):
            if await self._looked() < BUSY_S and self._pace.begins():
                return True
            await asyncio.sleep(REST_S)
        return False

    def _drop(self, served: Served, reason: str) -> None:
        for purpose in served.draws:
            self._dropped(purpose, reason)

    def _dropped(self, purpose: str, reason: str, count: int = 1) -> None:
        self.dropped[purpose, reason] += count
        self._on_drop(purpose, reason, count)


async def _one_round() -> float:
    started = time.perf_counter()
    await asyncio.sleep(0)
    return time.perf_counter() - started


def trial_of(
    served: Served,
    purpose: TrialPurpose,
    ended: float,
    attempts: Sequence[Attempt],
    **found: object,
) -> Trial:
    """Return the account of a trial beside a request. `found`: further fields of `Trial`."""
    record = served.record
    return msgspec.structs.replace(
        Trial(
            id=f"{record.request_id}:{purpose}",
            decision=record.request_id,
            at=ended,
            purpose=purpose,
            route=record.decision.route or "",
            tier=record.tier,
            unit=record.unit,
            experiment=record.experiment,
            arm=record.arm,
            served=record.model or "",
            propensity=served.draws.get(purpose, 1.0),
            attempts=tuple(attempts),
        ),
        **found,
    )
