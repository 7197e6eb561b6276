"""Alarms in the service: one of the processes reads the log and watches, and all of them show what it found.

Nothing of this is on the way of a request. Without `alarms` in the route files, only a look at them every few seconds
is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from litestar import get, post

from semroute.api import guards
from semroute.api.alarm_webhook import tell
from semroute.api.error_responses import AnyRequest
from semroute.config.config import Config
from semroute.config.schema.alarms import AlarmSettings
from semroute.errors import ForbiddenError, RequestError, StoreError
from semroute.learning.alarm_watch import AlarmEvent, AlarmWatch, RaisedAlarm, WatchProgress
from semroute.learning.drift_alarm import DriftReference
from semroute.providers.transport import Sender
from semroute.stores.alarm_log import PAGE, AlarmLog
from semroute.stores.interfaces import Database
from semroute.telemetry.prometheus import Metrics

Result = TypeVar("Result")
Ask = Callable[..., Awaitable[Any]]

log = logging.getLogger("semroute.alarms")

LOOK_S = 5.0
"""Seconds between two looks at the log."""
LATE_S = 60.0
"""Requests of the last seconds are left for later, because they may not have ended. One that takes longer than this is
never compared."""
PAGES = 20
"""The most pages that are read before what was found is saved."""
SCORE_DAYS = 35
"""How many days back a request may be to which a score belongs."""
PAUSES_S = 1.0, 300.0
"""The first and the longest pause, in seconds, before the webhook is called again. Each is twice the one before."""
GIVE_UP_S = 3 * 86_400.0
"""Seconds after which the webhook is no longer told."""
_DAY_S = 86_400


class Alarms:
    """The alarms of one process."""

    def __init__(
        self,
        database: Database,
        config: Callable[[], Config],
        sender: Sender,
        metrics: Metrics | None = None,
        *,
        logs: bool = True,
        ask: Ask = asyncio.to_thread,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        """`config`: returns the one in service. `logs`: whether there is a decision log. `ask`: asks the database.

        `clock`: seconds since 1970.
        """
        self._log = AlarmLog(database, uuid.uuid4().hex)
        self._config, self._sender, self._metrics, self._logs = config, sender, metrics, logs
        self._ask, self._clock, self._pause = ask, clock, pause
        self._watch: AlarmWatch | None = None
        """None: another process leads, or nothing is watched."""
        self._saved = b""
        self._saved_reference: DriftReference | None = None
        self._progress = WatchProgress()
        """What the leader saved last."""
        self._turn = asyncio.Lock()
        """Held while the watch changes, or is saved."""
        self._unsent = asyncio.Event()
        self._leads = False
        self._trouble: str | None = None
        self._webhook_trouble: str | None = None

    @property
    def raised(self) -> list[RaisedAlarm]:
        """Return the alarms that are raised and not over."""
        return list(self._progress.raised) if self._config().alarms is not None else []

    @property
    def progress(self) -> WatchProgress:
        """Return how far the watch has come."""
        return self._progress

    @property
    def notes(self) -> list[str]:
        """Return what `/health/ready` says about alarms."""
        if self._config().alarms is None:
            return []
        notes = [f"alarm: {alarm.text}" for alarm in self.raised]
        if not self._logs:
            notes.append("the route files have `alarms`, but the decision log is off, so none can be raised")
        if self._trouble is not None:
            notes.append(f"alarms cannot be watched for: {self._trouble}")
        if self._webhook_trouble is not None:
            notes.append(f"the webhook of the alarms cannot be told: {self._webhook_trouble}")
        return notes

    async def watch(self) -> None:
        """Look at the log again and again. Runs until it is cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(LOOK_S)

    async def once(self) -> None:
        """Look at the log, if this process leads. Otherwise read what the leader found."""
        settings = self._config().alarms
        try:
            if settings is None or not self._logs:
                await self.resign()
            else:
                await self._look(settings)
            if self._trouble is not None:
                log.warning("alarms are watched for again")
            self._trouble = None
        except StoreError as error:
            if self._trouble is None:
                log.warning("cannot watch for alarms: %s", error)
            self._trouble = str(error)
        if self._metrics is not None:
            self._metrics.show_alarms([(one.alarm, one.tier, one.source) for one in self.raised])

    async def _look(self, settings: AlarmSettings) -> None:
        async with self._turn:
            more = True
            while more:
                self._leads = await self._ask(self._log.lead)
                if not self._leads:
                    self._watch = None
                    self._take(await self._ask(self._log.progress))
                    return
                watch = await self._current(settings)
                more = await self._read(watch, settings)
                await self._save(watch)

    async def _current(self, settings: AlarmSettings) -> AlarmWatch:
        """Return the watch under these settings, begun anew if somebody asked for that."""
        watch, now = self._watch, self._clock()
        if watch is None or watch.settings != settings:
            watch = await self._load(settings, now)
        if watch.resets != (resets := await self._ask(self._log.resets)):
            watch.begin_anew(await self._ask(self._log.id_before_last, 0, now), now)
            watch.resets = resets
        self._watch = watch
        return watch

    async def _load(self, settings: AlarmSettings, now: float) -> AlarmWatch:
        saved = await self._ask(self._log.saved)
        progress, reference = WatchProgress(resets=saved.resets), None
        try:
            if saved.progress:
                progress = msgspec.msgpack.decode(saved.progress, type=WatchProgress)
            if saved.reference and progress.drift is not None:
                reference = DriftReference.unpack(saved.reference)
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("what was saved of the alarms cannot be read, so they begin anew: %s", error)
            progress = WatchProgress(resets=saved.resets)
        self._saved_reference = reference
        watch = AlarmWatch(settings, progress, reference)
        watch.end_unwatched(now)
        if not progress.position:
            count = settings.reference_requests
            watch.begin_drift(await self._ask(self._log.id_before_last, count, now - LATE_S), now)
        return watch

    async def _read(self, watch: AlarmWatch, settings: AlarmSettings) -> bool:
        """Read what is new in the log. Returns whether there is more."""
        now, more = self._clock(), False
        if {"prompts", "in_scope"} & set(settings.watch):
            for _ in range(PAGES):
                rows = await self._ask(self._log.requests, watch.read_to, now - LATE_S)
                await asyncio.to_thread(watch.see, rows)
                if not (more := len(rows) == PAGE):
                    break
        if "quality" in settings.watch and not more:
            watch.score(await self._ask(self._log.scores, int(now // _DAY_S) - SCORE_DAYS), now)
        return more

    async def _save(self, watch: AlarmWatch) -> None:
        """Save how far the watch has come, then say what happened. Not if another process leads by now."""
        packed = msgspec.msgpack.encode(watch.progress)
        reference = watch.reference
        if packed != self._saved:
            changed = None if reference is self._saved_reference or reference is None else reference.pack()
            self._leads = await self._ask(self._log.save, packed, changed)
            if not self._leads:
                self._watch = None
                return
            self._saved_reference = reference
        self._take(packed)
        for event in watch.take_news():
            self._report(event)
        if watch.unsent:
            self._unsent.set()

    def _take(self, packed: bytes) -> None:
        """Take over what the leader saved."""
        if packed == self._saved:
            return
        self._saved = packed
        try:
            self._progress = msgspec.msgpack.decode(packed, type=WatchProgress) if packed else WatchProgress()
        except msgspec.MsgspecError as error:  # another version of the service leads
            log.warning("cannot read what another process saved of the alarms: %s", error)

    def _report(self, event: AlarmEvent) -> None:
        if event.type == "alarm.raised":
            log.warning("alarm: %s", event.alarm.text)
        else:
            log.warning("the alarm is over: %s", event.alarm.text)
        if self._metrics is not None and event.type == "alarm.raised":
            self._metrics.count_alarm(event.alarm.alarm, event.alarm.tier, event.alarm.source)

    # --- the webhook ---

    async def deliver(self) -> None:
        """Tell the webhook of alarms, one after the other, until each has arrived. Runs until it is cancelled."""
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            await self._deliver()

    async def _deliver(self) -> None:
        pause_s = PAUSES_S[0]
        while (watch := self._watch) is not None and watch.unsent:
            event, settings = watch.unsent[0], self._config().alarms
            webhook = None if settings is None else settings.webhook
            if webhook is None:
                return
            if self._clock() - event.at > GIVE_UP_S:
                log.error("the webhook was not told within three days, which is given up: %s", event.alarm.text)
                trouble = None
            else:
                trouble = await tell(self._sender, webhook, event, self._clock())
            if trouble is None:
                pause_s = PAUSES_S[0]
                await self._sent(event)
            else:
                if self._webhook_trouble is None:
                    log.warning("the webhook of the alarms cannot be told, and is tried again: %s", trouble)
                self._webhook_trouble = trouble
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, PAUSES_S[1])

    async def _sent(self, event: AlarmEvent) -> None:
        """Note that a message has arrived."""
        self._webhook_trouble = None
        async with self._turn:
            if self._watch is None:
                return
            self._watch.unsent = [other for other in self._watch.unsent if other.id != event.id]
            try:
                await self._save(self._watch)
            except StoreError as error:
                log.warning("the webhook may be told of an alarm a second time: %s", error)

    # --- the ends ---

    async def reset(self) -> None:
        """End all alarms, and take what comes from now on as the reference. The leader does it at its next look."""
        await self._ask(self._log.reset)

    async def resign(self) -> None:
        """Let another process lead at once."""
        self._watch, self._saved, self._progress = None, b"", WatchProgress()
        if self._leads:
            self._leads = False
            await self._ask(self._log.resign)

    async def aclose(self) -> None:
        """Let another process lead. If the database is unavailable, the others notice it by themselves."""
        try:
            await self.resign()
        except StoreError as error:
            log.info("another process will watch for alarms a little later: %s", error)


@get("/alarms", guards=[guards.reader])
async def alarms(request: AnyRequest) -> dict[str, Any]:
    """List the alarms that are raised, and how far the references are."""
    own = _of(request)
    settings = request.app.state.gateway.serving.router.config.alarms
    if settings is None:
        return {"watch": [], "raised": [], "reference": {}}
    scores = {name: min(one.reference, settings.reference_scores) for name, one in own.progress.quality.items()}
    return {
        "watch": settings.watch,
        "raised": [{**msgspec.structs.asdict(one), "text": one.text} for one in own.raised],
        "reference": {
            "requests": own.progress.collected,
            "requests_needed": settings.reference_requests,
            "scores": scores,
            "scores_needed": settings.reference_scores,
        },
    }


@post("/admin/alarms/reset", guards=[guards.admin], status_code=202)
async def reset(request: AnyRequest) -> dict[str, str]:
    """End all alarms, and take the traffic from now on as the new reference."""
    if request.app.state.gateway.serving.router.config.alarms is None:
        raise RequestError("no alarms are watched: the route files have no `alarms`")
    await _of(request).reset()
    return {"status": "the alarms begin anew within some seconds"}


def _of(request: AnyRequest) -> Alarms:
    if guards.caller_of(request).restricted:
        raise ForbiddenError("alarms cover all routes and models: use a key without limits")
    found: Alarms = request.app.state.alarms
    return found
