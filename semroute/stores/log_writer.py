"""Writes records behind the requests' backs: a bounded queue, and one thread that hands on what has come.

Where the sink is a `LogProcess` the thread only packs records together; to write them is the work of another process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from semroute.errors import StoreError
from semroute.record import Record

log = logging.getLogger("semroute.log")

INTERVAL_S = 0.5
"""Between two commits. A crash can lose what came since the last, and what was being handed on."""
MAX_BATCH = 1000
RETRY_S = 0.5
PRUNE_EVERY_S = 60.0


class Sink(Protocol):
    """Where the writer writes."""

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        """Append records, all or none. `again`: the last try may have been committed; no record counts twice.

        Raises what is worth repeating (`StoreError.retryable`), or, where a record cannot be kept, anything else.
        """

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        """Delete what is too old or too much. Returns how many records. Raises `StoreError`."""


class QueueLimits(Protocol):
    """What the writer heeds; it may change while it runs."""

    @property
    def queue(self) -> int:
        """Records that may wait."""

    @property
    def when_full(self) -> Literal["drop", "slow"]:
        """What a full queue does."""

    @property
    def keep_days(self) -> int | None:
        """Days after which records are deleted."""

    @property
    def keep_mb(self) -> int | None:
        """The size above which the oldest records are deleted."""


class LogWriter:
    """Takes records without waiting. `close` it: what has come is then written."""

    def __init__(
        self,
        sink: Sink,
        limits: Callable[[], QueueLimits],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds since 1970, which records are as old as. `monotonic`: what waiting is measured by."""
        self._monotonic = monotonic
        self._lost_at: float | None = None
        self._sink = sink
        self._limits = limits
        self._clock = clock
        self._queue: deque[Record] = deque()
        self._wake = threading.Condition()
        self._urgent = self._closing = False
        self._taken = self._done = 0
        self.overflown = 0
        """Records lost to a full queue."""
        self.refused = 0
        """Records lost because the sink cannot keep them, or not before the end."""
        self.written = 0
        self.error: str | None = None
        """Why nothing is written just now."""
        self._pruned_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records not yet committed."""
        return self._taken - self._done

    @property
    def dropped(self) -> int:
        """Records lost."""
        return self.overflown + self.refused

    def lost_within(self, seconds: float) -> bool:
        """Whether a record was lost so short a time ago."""
        return self._lost_at is not None and self._monotonic() - self._lost_at < seconds

    def put(self, record: Record) -> bool:
        """Queue a record; false: the queue is full, and it is dropped."""
        waiting = self.waiting
        if waiting and waiting >= (limits := self._limits()).queue and limits.when_full != "slow":
            self.overflown += 1
            self._lost_at = self._monotonic()
            return False
        self._taken += 1
        self._queue.append(record)
        return True

    async def room(self) -> None:
        """Wait while the queue is full, where the settings want requests to be slowed."""
        while self.waiting >= self._limits().queue and self._limits().when_full == "slow":  # noqa: ASYNC110 - the thread that writes has no loop to set an event on
            await asyncio.sleep(INTERVAL_S / 10)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Block until all that was queued before is written; false: it takes longer."""
        with self._wake:
            goal = self._taken
            self._urgent = True
            self._wake.notify_all()
            return self._wake.wait_for(lambda: self._done >= goal, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what is queued, and end; false: it could not be written in time."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(timeout_s)
        if self.waiting:
            self.refused += self.waiting
            log.error("%d records of the decision log are lost: %s", self.waiting, self.error or "no time to write")
        return not self.waiting

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._urgent or self._closing, INTERVAL_S)
                self._urgent = False
                closing = self._closing
            while self._queue and self._write(self._batch(), closing):
                pass
            self._prune()
            if closing:
                return

    def _batch(self) -> list[Record]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]

    def _write(self, batch: list[Record], closing: bool, *, again: bool = False) -> bool:
        """Commit records, for as long as it takes; false: the service ends, and they cannot be written."""
        while True:
            try:
                self._sink.write(batch, again=again)
                break
            except Exception as error:  # noqa: BLE001 - no record, whatever is wrong with it, may end the thread
                if not (isinstance(error, StoreError) and error.retryable):
                    return self._sort_out(batch, closing, again, error)
                if self.error is None:
                    log.error("the decision log cannot be written, and waits: %s", error)
                self.error, again = str(error), True
            with self._wake:
                if self._wake.wait_for(lambda: self._closing, RETRY_S) and closing:
                    return False
                closing = self._closing
        if self.error is not None:
            log.warning("the decision log is written again")
            self.error = None
        self.written += len(batch)
        self._finish(len(batch))
        return True

    def _sort_out(self, batch: list[Record], closing: bool, again: bool, error: Exception) -> bool:
        """Write those records of a batch that can be kept; false: as `_write`."""
        if len(batch) > 1:
            half = len(batch) // 2
            return all(self._write(part, closing, again=again) for part in (batch[:half], batch[half:]))
        log.error("the record %s cannot be kept in the decision log: %s", batch[0].request_id, error)
        self.refused += 1
        self._lost_at = self._monotonic()
        self._finish(1)
        return True

    def _finish(self, count: int) -> None:
        with self._wake:
            self._done += count
            self._wake.notify_all()

    def _prune(self) -> None:
        limits, now = self._limits(), self._monotonic()
        if now - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = now
        before = None if limits.keep_days is None else self._clock() - limits.keep_days * 86_400
        max_bytes = None if limits.keep_mb is None else limits.keep_mb * 2**20
        try:
            if deleted := self._sink.prune(before=before, max_bytes=max_bytes):
                log.info("%d records of the decision log were over its limits, and are deleted", deleted)
        except Exception as error:  # noqa: BLE001 - the thread has records to write
            log.warning("the decision log cannot be pruned: %s", error)
