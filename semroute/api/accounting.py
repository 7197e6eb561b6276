"""The books of a running service: the log, keys, budgets and metrics. They are opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from semroute.access.accounts import Accounts
from semroute.access.api_keys import KeyRing, KeyStore
from semroute.access.budget_recovery import spent_by_log
from semroute.api.worker_pipe import Lifeline
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.service import LogSettings
from semroute.errors import StoreError
from semroute.providers import trace_context
from semroute.record import Record, Trial
from semroute.semantic.array_cache import default_folder
from semroute.settings import Settings, how_to_install
from semroute.stores.connect import MEMORY, open_database, open_state
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Database
from semroute.stores.log_content import can_redact
from semroute.stores.log_process import LogProcess
from semroute.stores.log_writer import LogWriter
from semroute.stores.response_store import ResponseStore
from semroute.stores.trials import TrialLog
from semroute.telemetry.logs import log_record
from semroute.telemetry.prometheus import Metrics
from semroute.telemetry.tracing import open_tracing

Result = TypeVar("Result")

log = logging.getLogger("semroute")

KEYS_EVERY_S = 0.1
"""Seconds between two checks whether the keys changed. A check reads one number. A revoked key stops working at the
next check."""
LOOK_EVERY_S = 0.05
"""The least time between two checks for unknown keys, so that callers cannot overload the database."""
READ_EVERY_S = 1.0
"""Seconds between two reads of all keys. They also find changes made by hand, which do not change that number."""
PATIENCE_S = 1.0
"""Seconds that a request with an unknown key waits for the database."""
MAX_WAITING = 256
"""How many requests with unknown keys may wait. Further ones are refused at once."""
ANSWER_S = 5.0
"""Seconds that a call to the API may wait for the database."""
READERS = 4
"""How many threads may wait for the database."""
LOST_S = 300.0
"""Seconds for which `/health/ready` warns that records were lost."""
FLUSH_S = 2.0
"""Seconds that the refill of an empty state waits for records on their way to the log."""


class Books:
    """All that the service keeps about requests."""

    def __init__(self, settings: Settings, config: Callable[[], Config], lifeline: Lifeline | None = None) -> None:
        """Open the books. Blocking. `config`: returns the one in service. Raises `StoreError` and `SettingsError`.

        A process that knows the keys from its `lifeline` can start without the database, and uses it once it is there.
        """
        self._lifeline = lifeline or Lifeline()
        first = self._lifeline.good.keys is None
        self.database: Database = open_database(settings.database_url, at_once=first, answer_s=ANSWER_S)
        self.trouble: str | None = None
        """Why the database cannot be used just now. None: it can."""
        # An answer waits until the database has it, but not until the disk has it.
        self._aside = open_database(settings.database_url, at_once=first, answer_s=ANSWER_S, durable=False)
        self.responses = ResponseStore(self._aside)
        self.kept_again_at = 0.0
        """The time, by the event loop's clock, from which responses are kept again after a failure."""
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="database")
        self.log = SqlLog(self.database)
        self.trials = TrialLog(self.database)
        self.keys = KeyStore(self.database)
        self.ring = KeyRing(keyed=self._lifeline.good.keyed)
        self._asked, self._looked = asyncio.Event(), asyncio.Event()
        self._waiting = 0
        self._revision: int | None = None
        self._read_at = -math.inf
        self._read_keys()
        self._config = config
        self.state = open_state(
            settings.state_url,
            settings.database_url,
            at_once=first,
            folder=default_folder(),
            known=self._spent_by_log,
        )
        self.accounts = Accounts(self.state, frees_in_s=self.state.frees_in_s)
        aside = settings.decision_log and settings.database_url != MEMORY
        self._process = LogProcess(settings.database_url) if aside else None
        self.writer = LogWriter(self._process or self.log, lambda: config().log) if settings.decision_log else None
        self.metrics = Metrics() if settings.metrics else None
        self.tracing = open_tracing(config)

    def record(self, record: Record) -> None:
        """Enter a finished request into the books."""
        log_record(record)
        if self.writer is not None:
            self.writer.put(record)
        if self.metrics is not None:
            self.metrics.count(record)
        if self.tracing is not None:
            self.tracing.end(record)

    async def enter(self, trials: Sequence[Trial]) -> None:
        """Enter trials into the books. Raises `StoreError`. Without a decision log, they are only counted."""
        if self.writer is not None:
            await self.ask(self.trials.append, trials)

    def trace(self, request_id: str, headers: Mapping[str, str]) -> None:
        """Take part in the caller's trace, and pass it on to providers."""
        if self.tracing is not None:
            headers = self.tracing.begin(request_id, headers)
        if "traceparent" in headers:
            trace_context.follow(headers["traceparent"], headers.get("tracestate"))

    async def watch(self) -> None:
        """Follow changes of the keys, and notice which stores are away. Runs until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEYS_EVERY_S - LOOK_EVERY_S):
                    await self._asked.wait()
            looked, self._looked = self._looked, asyncio.Event()
            self._asked.clear()
            await self.follow_keys(whole=time.monotonic() - self._read_at >= READ_EVERY_S)
            looked.set()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look_for_keys(self) -> bool:
        """Wait until the database was asked for new keys, once for all requests. Returns whether it answered."""
        if self._waiting >= MAX_WAITING or self.trouble is not None:
            return False
        looked = self._looked
        self._asked.set()
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await looked.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return self.trouble is None

    async def follow_keys(self, *, whole: bool = True) -> None:
        """Read the keys. While they cannot be read, the keys read last stay valid.

        `whole`: read them even if their revision has not changed.
        """
        try:
            revision, rows = await self.ask(self.keys.changes, None if whole else self._revision)
            self._revision = revision
            if rows is not None:
                self._read_at = time.monotonic()
            if rows is not None and rows != self.ring.rows:
                before = self.ring.seen
                self.ring.take(rows)
                self._lifeline.keep(keys=rows)
                if self.ring.seen and not before:
                    log.warning("the first key was made: from now on every call needs a key")
        except StoreError as error:
            if self.trouble is None:
                log.warning("cannot read the keys from the database, so the keys read last stay valid: %s", error)
            self.trouble = str(error)
            return
        if self.trouble is not None:
            log.warning("the keys can be read again")
            self.trouble = None

    async def ask(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do something with the database in a thread. Raises `StoreError`, also if no answer comes in time."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except TimeoutError:
            raise StoreError(f"the database gave no answer within {ANSWER_S:g} s: try again later") from None

    def _read_keys(self) -> None:
        known = self._lifeline.good.keys
        try:
            self.ring.refresh(self.keys)
        except StoreError as error:
            if known is None:
                raise
            log.error("the database is unavailable, so the service starts with the keys read last: %s", error)
            self.trouble = str(error)
            self.ring.take(known)
        self._lifeline.keep(keys=self.ring.rows)

    async def reset(self, config: Config, keys: Sequence[Caller], counter: str) -> bool:
        """Set what was spent of a budget to 0. Returns whether there is such a counter."""
        spent = await self.accounts.reset(config, keys, counter)
        if spent:
            await self.ask(self.log.note_reset, counter, spent, time.time())
        return spent is not None

    async def _spent_by_log(self, before: float) -> dict[str, tuple[int, float]] | None:
        """Return what the log says was spent by requests that ended before a moment, by counter.

        None: the log cannot be read.
        """
        if self.writer is None:
            return None
        await asyncio.to_thread(self.writer.flush, FLUSH_S)
        try:
            keys = [key.caller for key in await self.ask(self.keys.all)]
            return await self.ask(spent_by_log, self.log, self._config(), keys, time.time(), before)
        except StoreError as error:
            log.warning("cannot read from the decision log what was spent: %s", error)
            return None

    @property
    def warnings(self) -> list[str]:
        """Return what is wrong just now, for `/health/ready`."""
        found = []
        if self.writer is not None and self.writer.error is not None:
            found.append(
                f"the decision log cannot be written, and {self.writer.waiting} records wait: {self.writer.error}"
            )
        if self.writer is not None and self.writer.lost_within(LOST_S):
            found += _lost(self.writer)
        if self.trouble is not None:
            found.append(f"the database cannot be used, so the keys read last stay valid: {self.trouble}")
        found += self._lifeline.notes
        if self.state.error is not None:
            found.append(f"the shared state is unavailable, so this process alone enforces limits: {self.state.error}")
        return found

    async def aclose(self) -> None:
        """Write what is queued, and close everything."""
        if self.writer is not None:
            await asyncio.to_thread(self.writer.close)
        if self._process is not None:
            await asyncio.to_thread(self._process.close)
        if self.metrics is not None:
            self.metrics.flush()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        await self.state.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._aside.close)
        await asyncio.to_thread(self.database.close)


def _lost(writer: LogWriter) -> list[str]:
    found = []
    if writer.overflown:
        found.append(f"the decision log dropped {writer.overflown} records: its queue was full")
    if writer.refused:
        found.append(f"the decision log lost {writer.refused} records that it cannot keep")
    return found


def kept_content(settings: LogSettings) -> LogSettings:
    """Return the log's settings. If the libraries for redaction are missing, hashes replace redacted texts."""
    if settings.content == "redacted" and not can_redact():
        log.error(
            "`log.content: redacted` needs libraries that are not installed, so texts are logged as hashes: %s",
            how_to_install("redact"),
        )
        return LogSettings(**{**{f: getattr(settings, f) for f in settings.__struct_fields__}, "content": "hash"})
    return settings
