"""Watch the log for drift and for a fall of quality. Requests and scores go in, news of alarms comes out.

Pure: it reads no log and no clock. What it knows can be packed, so that another process goes on with it.

1. The first requests are the reference. It needs so many vectors of one encoder, with in-scope scores.
2. The requests after them run through a `DriftAlarm`. A drift alarm is over when it has not rung again for `QUIET`
   requests.
3. The scores of each tier, from each source, run through a `QualityAlarm`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from semroute.bases import Frozen
from semroute.config.schema.alarms import AlarmName, AlarmSettings
from semroute.learning.drift_alarm import BLOCK, FIGURES, Alarm, DriftAlarm, DriftProgress, DriftReference, What
from semroute.learning.quality_alarm import QualityAlarm, QualityProgress
from semroute.learning.unit_vectors import unit_vector
from semroute.routing.scoring import Floats
from semroute.stores.alarm_log import ScoreTotals, SeenRequest

QUIET = 25 * BLOCK
"""How many requests without a ring end an alarm for drift. A drift that is noticed within 2,000 requests rings again
within as many."""
FOREIGN = BLOCK
"""After so many requests in a row with vectors of another encoder, the reference begins anew."""

MOST_UNSENT = 100
"""The most messages that wait for the webhook. Above that, the oldest are dropped."""


class RaisedAlarm(Frozen, frozen=True, kw_only=True):
    """An alarm that was raised and is not over."""

    id: str
    """Its own, the same for all messages about it."""
    alarm: AlarmName
    at: float
    """When it was noticed, in seconds since 1970."""
    since: float
    """About when it began."""
    requests: int
    """How many requests, or scores, came since then."""
    tier: str = ""
    """The tier whose scores fell. Empty: all tiers."""
    source: str = ""
    """Where the scores come from: `feedback` or `judge`. Empty: the alarm reads none."""
    mean: float | None = None
    """The mean of the scores since then. None: the alarm reads none."""
    floor: float | None = None
    """What their mean should not fall below."""

    @property
    def text(self) -> str:
        """Return what happened, for people."""
        since = f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC"
        if self.alarm == "prompts":
            return f"the prompts have been of another kind since about {since} ({self.requests:,} requests)"
        if self.alarm == "in_scope":
            return f"the routes have known the prompts less well since about {since} ({self.requests:,} requests)"
        told = f"the scores of the tier {self.tier} from {self.source} have been lower since about {since}"
        return f"{told}: {self.mean:.3f} on average of {self.requests:,} scores, expected at least {self.floor:.3f}"


class AlarmEvent(Frozen, frozen=True, kw_only=True):
    """An alarm was raised, or is over."""

    type: Literal["alarm.raised", "alarm.over"]
    at: float
    alarm: RaisedAlarm

    @property
    def id(self) -> str:
        """Return its own id. A message that is sent twice has the same."""
        return f"{self.alarm.id}.{self.type.partition('.')[2]}"


class WatchProgress(Frozen, frozen=True, kw_only=True):
    """How far the watch has come, without the reference for drift."""

    position: str = ""
    """The id of the last request that was looked at. While the reference is collected: the id before its first one."""
    encoder: str = ""
    """The encoder of the reference. Empty: nothing was collected yet."""
    collected: int = 0
    """How many requests the reference has."""
    drift: DriftProgress | None = None
    """None: the reference is being collected."""
    rang: dict[What, int] = {}
    """By figure, how many requests came since its alarm rang last."""
    quality: dict[str, QualityProgress] = {}
    """By source and tier, such as `feedback/simple`."""
    totals: dict[str, tuple[int, int]] = {}
    """The scores that were counted, and their sum in millionths, by source, tier and day."""
    raised: tuple[RaisedAlarm, ...] = ()
    unsent: tuple[AlarmEvent, ...] = ()
    """What the webhook was not told yet, oldest first."""
    resets: int = 0
    """How many times everything was begun anew because somebody asked for it."""


class AlarmWatch:
    """The watch, in the one process that leads."""

    def __init__(
        self,
        settings: AlarmSettings,
        progress: WatchProgress | None = None,
        reference: DriftReference | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """`progress` and `reference`: those of the process that led before. `new_id`: makes the ids of alarms."""
        progress = progress or WatchProgress()
        self.settings = settings
        self.reference = reference
        """What drift is measured against. None: it is being collected."""
        self.read_to = progress.position
        """The id of the last request that was looked at."""
        self.raised = list(progress.raised)
        self.unsent = list(progress.unsent)
        """What the webhook was not told yet, oldest first."""
        self.resets = progress.resets
        self._new_id = new_id
        self._begins, self._encoder = progress.position, progress.encoder
        self._drift = None
        if reference is not None and progress.drift is not None:
            self._drift = DriftAlarm(reference, progress.drift)
        self._vectors: list[Floats] = []
        self._in_scope: list[float] = []
        self._foreign = 0
        self._rang = dict(progress.rang)
        self._quality = dict(progress.quality)
        self._totals = dict(progress.totals)
        self._news: list[AlarmEvent] = []

    @property
    def progress(self) -> WatchProgress:
        """Return how far it has come."""
        return WatchProgress(
            position=self._begins if self._drift is None else self.read_to,
            encoder=self._encoder,
            collected=self.collected,
            drift=None if self._drift is None else self._drift.progress,
            rang=dict(self._rang),
            quality=dict(self._quality),
            totals=dict(self._totals),
            raised=tuple(self.raised),
            unsent=tuple(self.unsent),
            resets=self.resets,
        )

    @property
    def collected(self) -> int:
        """Return how many requests the reference for drift has."""
        return len(self._vectors) if self._drift is None else self.settings.reference_requests

    # --- drift ---

    def see(self, rows: Sequence[SeenRequest]) -> None:
        """Take in the next requests of the log, in order."""
        for row in rows:
            if (vector := unit_vector(row.embedding)) is not None and row.in_scope is not None:
                if row.encoder == self._encoder:
                    self._foreign = 0
                    self._see(vector, row.in_scope, row.at)
                elif self._replaced(row):
                    self.begin_drift(self.read_to, row.at, row.encoder)
                    self._see(vector, row.in_scope, row.at)
            self.read_to = row.id

    def _replaced(self, row: SeenRequest) -> bool:
        """Return whether another encoder is there for good. During an update, the log has vectors of both."""
        self._foreign += 1
        return not self._encoder or self._foreign >= FOREIGN

    def _see(self, vector: Floats, in_scope: float, at: float) -> None:
        if self._drift is None:
            self._vectors.append(vector)
            self._in_scope.append(in_scope)
            if len(self._vectors) >= self.settings.reference_requests:
                self.reference = DriftReference.of(np.array(self._vectors), np.array(self._in_scope))
                self._drift, self._vectors, self._in_scope = DriftAlarm(self.reference), [], []
            return
        for rung in self._drift.observe(vector, in_scope, at):
            if rung.what in self.settings.watch:
                self._ring(rung)
        for what in self._rang:
            self._rang[what] += 1
        for what in [what for what, since in self._rang.items() if since > QUIET]:
            self._end(what, at)

    def _ring(self, rung: Alarm) -> None:
        if rung.what not in self._rang:
            new = RaisedAlarm(id=self._new_id(), alarm=rung.what, at=rung.at, since=rung.since, requests=rung.requests)
            self._raise(new)
        self._rang[rung.what] = 0

    def begin_drift(self, position: str, at: float, encoder: str = "") -> None:
        """Collect a new reference from the requests after a position. Alarms for drift are over then."""
        for what in FIGURES:
            self._end(what, at)
        self.reference, self._drift, self._vectors, self._in_scope = None, None, [], []
        self._begins, self.read_to, self._encoder, self._foreign = position, position, encoder, 0

    # --- quality ---

    def score(self, totals: ScoreTotals, at: float) -> None:
        """Take in what all scores of the last days come to. Scores that were replaced are in it."""
        before, self._totals = self._totals, {key.text: total for key, total in totals.items()}
        grown: dict[tuple[str, str], tuple[int, int]] = {}
        for key, (n, millionths) in totals.items():
            counted, counted_sum = before.get(key.text, (0, 0))
            more, more_sum = grown.get((key.source, key.tier), (0, 0))
            grown[key.source, key.tier] = more + n - counted, more_sum + millionths - counted_sum
        for (source, tier), (n, millionths) in grown.items():
            if n < 0:  # the database was put back to an earlier moment
                continue
            name = f"{source}/{tier}"
            alarm = QualityAlarm(self.settings.reference_scores, self.settings.quality_drop, self._quality.get(name))
            floor, change = alarm.floor, alarm.add(n, millionths / 1e6, at)
            self._quality[name] = alarm.progress
            if change == "recovered":
                self._end("quality", at, source, tier)
            elif change == "fell" and floor is not None:
                self._fell(source, tier, alarm.progress, floor, at)

    def _fell(self, source: str, tier: str, now: QualityProgress, floor: float, at: float) -> None:
        raised = RaisedAlarm(
            id=self._new_id(),
            alarm="quality",
            at=at,
            since=now.since,
            requests=now.scores,
            tier=tier,
            source=source,
            mean=round(min(1.0, max(0.0, now.sum / max(1, now.scores))), 4),
            floor=round(floor, 4),
        )
        self._raise(raised)

    # --- alarms ---

    def begin_anew(self, position: str, at: float) -> None:
        """End all alarms, and take what comes from now on as the reference."""
        for one in tuple(self.raised):
            self._end(one.alarm, at, one.source, one.tier)
        self._quality = {}
        self.begin_drift(position, at)

    def end_unwatched(self, at: float) -> None:
        """End alarms that the settings do not watch for any more."""
        for one in tuple(self.raised):
            if one.alarm not in self.settings.watch:
                self._end(one.alarm, at, one.source, one.tier)

    def _raise(self, alarm: RaisedAlarm) -> None:
        self.raised.append(alarm)
        self._tell(AlarmEvent(type="alarm.raised", at=alarm.at, alarm=alarm))

    def _end(self, name: AlarmName, at: float, source: str = "", tier: str = "") -> None:
        """End an alarm if it is raised."""
        self._rang = {what: since for what, since in self._rang.items() if what != name}
        ended = [one for one in self.raised if (one.alarm, one.source, one.tier) == (name, source, tier)]
        for one in ended:
            self.raised.remove(one)
            self._tell(AlarmEvent(type="alarm.over", at=at, alarm=one))

    def _tell(self, event: AlarmEvent) -> None:
        self._news.append(event)
        if self.settings.webhook is not None:
            self.unsent = [*self.unsent, event][-MOST_UNSENT:]

    def take_news(self) -> list[AlarmEvent]:
        """Return what happened since the last call."""
        news, self._news = self._news, []
        return news
