"""Write records in the background: a bounded queue, and one thread that empties it.

If the sink is a `LogProcess`, the thread only packs the records. The other process writes them.
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
"""Seconds between two commits. A crash can lose the records since the last one, and those being handed on."""
MAX_BATCH = 1000
MAX_BATCH_CHARS = 8 * 1024 * 1024
"""Characters of prompts and answers in one commit, unless one record has more."""
MAX_CHARS = 128 * 1024 * 1024
"""Characters of prompts and answers that may wait. With more, the queue is full, however few records there are."""
RETRY_S = 0.5
PRUNE_EVERY_S = 60.0


class Sink(Protocol):
    """What the writer writes to."""

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        """Append all records or none. `again`: the last try may have been committed; no record counts twice.

        Raises a `StoreError` with `retryable` if another try may help, and anything else if a record cannot be kept.
        """

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        """Delete records that are too old or too many. Returns how many. Raises `StoreError`."""


class QueueLimits(Protocol):
    """The limits of the writer. They may change while it runs."""

    @property
    def queue(self) -> int:
        """How many records may wait."""

    @property
    def when_full(self) -> Literal["drop", "slow"]:
        """Whether a full queue drops records or slows requests."""

    @property
    def keep_days(self) -> int | None:
        """After how many days records are deleted. None: never."""

    @property
    def keep_mb(self) -> int | None:
        """The size in MB above which the oldest records are deleted. None: no limit."""


class LogWriter:
    """Takes records without waiting. Call `close` at the end: it writes what is queued."""

    def __init__(
        self,
        sink: Sink,
        limits: Callable[[], QueueLimits],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds since 1970, for the age of records. `monotonic`: for the length of waits."""
        self._monotonic = monotonic
        self._lost_at: float | None = None
        self._sink = sink
        self._limits = limits
        self._clock = clock
        self._queue: deque[Record] = deque()
        self._wake = threading.Condition()
        self._urgent = self._closing = False
        self._taken = self._done = 0
        self._taken_chars = self._done_chars = 0
        self.overflown = 0
        """How many records were lost because the queue was full."""
        self.refused = 0
        """How many records were lost because the sink could not keep them, or not before the end."""
        self.written = 0
        self.error: str | None = None
        """Why nothing is written just now. None: records are written."""
        self._pruned_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many records are not committed yet."""
        return self._taken - self._done

    @property
    def dropped(self) -> int:
        """How many records were lost."""
        return self.overflown + self.refused

    def lost_within(self, seconds: float) -> bool:
        """Return whether a record was lost within the last seconds."""
        return self._lost_at is not None and self._monotonic() - self._lost_at < seconds

    @property
    def _full(self) -> bool:
        """Return whether as much waits as may."""
        return self._taken - self._done >= self._limits().queue or self._taken_chars - self._done_chars >= MAX_CHARS

    def put(self, record: Record) -> bool:
        """Queue a record. False: the queue is full, so the record is dropped."""
        if self._taken != self._done and self._full and self._limits().when_full != "slow":
            self.overflown += 1
            self._lost_at = self._monotonic()
            return False
        self._taken += 1
        self._taken_chars += _chars(record)
        self._queue.append(record)
        return True

    async def room(self) -> None:
        """Wait while the queue is full, if the settings say that a full queue slows requests."""
        while self._limits().when_full == "slow" and self._full:  # noqa: ASYNC110 - the thread that writes has no loop to set an event on
            await asyncio.sleep(INTERVAL_S / 10)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Block until all that was queued before is written. False: that takes longer."""
        with self._wake:
            goal = self._taken
            self._urgent = True
            self._wake.notify_all()
            return self._wake.wait_for(lambda: self._done >= goal, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what is queued, and end. False: it could not be written in time."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(timeout_s)
        if self.waiting:
            self.refused += self.waiting
            log.error(
                "%d records of the decision log are lost: %s",
                self.waiting,
                self.error or "the service stopped first",
            )
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
        batch: list[Record] = []
        chars = 0
        while self._queue and len(batch) < MAX_BATCH and chars < MAX_BATCH_CHARS:
            batch.append(self._queue.popleft())
            chars += _chars(batch[-1])
        return batch

    def _write(self, batch: list[Record], closing: bool, *, again: bool = False) -> bool:
        """Commit records, however long it takes. False: the service ends, and they cannot be written."""
        while True:
            try:
                self._sink.write(batch, again=again)
                break
            except Exception as error:  # noqa: BLE001 - no record, whatever is wrong with it, may end the thread
                if not (isinstance(error, StoreError) and error.retryable):
                    return self._sort_out(batch, closing, again, error)
                if self.error is None:
                    log.error(
                        "cannot write the decision log: its records wait in memory until it can be written: %s", error
                    )
                self.error, again = str(error), True
            with self._wake:
                if self._wake.wait_for(lambda: self._closing, RETRY_S) and closing:
                    return False
                closing = self._closing
        if self.error is not None:
            log.warning("the decision log can be written again")
            self.error = None
        self.written += len(batch)
        self._finish(batch)
        return True

    def _sort_out(self, batch: list[Record], closing: bool, again: bool, error: Exception) -> bool:
        """Write those records of a batch that can be kept. Returns the same as `_write`."""
        if len(batch) > 1:
            half = len(batch) // 2
            return all(self._write(part, closing, again=again) for part in (batch[:half], batch[half:]))
        log.error("the decision log cannot keep the record %s, which is lost: %s", batch[0].request_id, error)
        self.refused += 1
        self._lost_at = self._monotonic()
        self._finish(batch)
        return True

    def _finish(self, batch: list[Record]) -> None:
        with self._wake:
            self._done += len(batch)
            self._done_chars += sum(map(_chars, batch))
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
                log.info("deleted %d records that were over the limits of the decision log", deleted)
        except Exception as error:  # noqa: BLE001 - the thread must go on writing records
            log.warning("cannot delete old records from the decision log: %s", error)


def _chars(record: Record) -> int:
    return len(record.prompt or "") + len(record.answer or "")
