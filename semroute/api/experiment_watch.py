"""Follow the experiments while the service runs: what other processes know of them, and whether a guard is broken.

Every process reads each second what all know of the experiments. One process at a time looks at the guards.
What ends an experiment is in the database, so it holds for all processes and after restarts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from semroute.errors import StoreError
from semroute.gateway.experiment_arms import Experiments
from semroute.gateway.serving import ArmServings, Serving
from semroute.learning.experiment_guards import breached, has_guards
from semroute.learning.experiment_report import guard_evidence
from semroute.stores.experiment_store import ExperimentStore, Known
from semroute.stores.interfaces import State

log = logging.getLogger("semroute.experiments")

LOOK_EVERY_S = 1.0
GUARD_EVERY_S = 5.0
"""The shortest time between two looks at the guards of an experiment."""
GUARD_PART = 0.05
"""A look at the guards may take this part of the time until the next one, so that it does not burden the database."""
GUARD_S = 60.0
"""The longest time that a look may take."""


class ExperimentWatch:
    """Keeps the `Experiments` of one process up to date. Run `run` in a task."""

    def __init__(
        self,
        experiments: Experiments,
        store: ExperimentStore,
        serving: Callable[[], Serving],
        state: State,
        *,
        on_stage: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`serving`: returns what is in service. `state`: is shared by all processes. `on_stage`: gets the name and the
        stage of each experiment, whenever they are read. `clock`: as that of `experiments`.
        """
        self._experiments = experiments
        self._store = store
        self._serving = serving
        self._state = state
        self._on_stage = on_stage
        self._clock = clock
        self._noted: dict[str, dict[str, float]] = {}
        self._ended_here: set[str] = set()
        self._trouble = False

    async def run(self) -> None:
        """Follow the experiments. Runs until it is cancelled."""
        while True:
            await self.look()
            await self.guard()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Read what all processes know, and start what is due. If the database is away, what was known last counts."""
        serving = self._serving()
        if not serving.experiments:
            return
        experiments = self._experiments
        now = experiments.now()
        due = [each for each in serving.experiments if experiments.may_start(each, now)]
        weights = {each.name: each.weights for each in due if self._is_news(each)}
        try:
            known = await asyncio.to_thread(self._store.follow, weights)
        except StoreError as error:
            if not self._trouble:
                log.warning("cannot read the experiments, so what was known last counts: %s", error)
            self._trouble = True
            return
        self._trouble = False
        self._noted |= weights
        self._take(known, serving)

    def _is_news(self, each: ArmServings) -> bool:
        """Return whether the database may not know this. A process tells its weights once: others may have newer
        ones.
        """
        return each.name not in self._experiments.runs or self._noted.get(each.name) != each.weights

    def _take(self, known: Known, serving: Serving) -> None:
        experiments, before = self._experiments, self._experiments.runs
        experiments.runs = known.runs
        experiments.ahead_s = known.now - self._clock()
        for name in known.started:
            log.info("the experiment %s has started", name)
        for each in serving.experiments:
            run = known.runs.get(each.name)
            was = before.get(each.name)
            if run is not None and run.ended_at is not None and was is not None and was.ended_at is None:
                level = logging.WARNING if each.name in self._ended_here else logging.INFO
                log.log(level, "the experiment %s has ended, all go to %s: %s", each.name, each.control, run.reason)
            self._on_stage(each.name, experiments.stage(each, known.now))

    async def guard(self) -> None:
        """Look at the guards of the experiments that run, unless another process did so just now."""
        now = self._experiments.now()
        for each in self._serving().experiments:
            if has_guards(each.experiment) and self._experiments.stage(each, now) in ("running", "paused"):
                await self._guard(each)

    async def _guard(self, each: ArmServings) -> None:
        key = f"experiment-guard:{each.name}"
        try:
            if not await self._state.put_new(key, b"1", GUARD_S):
                return
            began = time.monotonic()
            evidence = await asyncio.wait_for(asyncio.to_thread(guard_evidence, self._store, each.name), GUARD_S)
            why = await asyncio.to_thread(breached, each.experiment, evidence)
            if why:
                if await asyncio.to_thread(self._store.end, each.name, why):
                    self._ended_here.add(each.name)
                await self.look()
            took_s = time.monotonic() - began
            await self._state.put(key, b"1", max(GUARD_EVERY_S, took_s / GUARD_PART))
        except (StoreError, TimeoutError) as error:
            log.warning("cannot look at the guards of the experiment %s: %s", each.name, error or "it took too long")


def no_stage(name: str, stage: str) -> None:
    """Do nothing: metrics are switched off."""
