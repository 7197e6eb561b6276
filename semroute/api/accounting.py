"""The books of a running service: the log, the keys, the budgets and the metrics, opened and closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from semroute.access.accounts import Accounts
from semroute.access.keys import KeyRing, KeyStore
from semroute.config.schema import Config, LogSettings
from semroute.errors import StoreError
from semroute.providers import trace
from semroute.record import Record
from semroute.settings import Settings, how_to_install
from semroute.stores.base import Database
from semroute.stores.content import can_redact
from semroute.stores.log import SqlLog
from semroute.stores.open import MEMORY, open_database, open_state
from semroute.stores.process import LogProcess
from semroute.stores.resilient import ResilientState
from semroute.stores.writer import LogWriter
from semroute.telemetry.logs import log_record
from semroute.telemetry.metrics import Metrics
from semroute.telemetry.tracing import open_tracing

log = logging.getLogger("semroute")

KEYS_EVERY_S = 1.0
"""How long a revoked key is good at most."""


class Books:
    """Everything that is kept of requests."""

    def __init__(self, settings: Settings, config: Callable[[], Config]) -> None:
        """Blocking. `config`: what is in service, now. Raises `StoreError` and `SettingsError`."""
        self.database: Database = open_database(settings.database_url)
        self.log = SqlLog(self.database)
        self.keys = KeyStore(self.database)
        self.ring = KeyRing()
        self.ring.refresh(self.keys)
        self.state = open_state(settings.state_url, settings.database_url)
        self.accounts = Accounts(self.state)
        aside = settings.decision_log and settings.database_url != MEMORY
        self._process = LogProcess(settings.database_url) if aside else None
        self.writer = LogWriter(self._process or self.log, lambda: config().log) if settings.decision_log else None
        self.metrics = Metrics() if settings.metrics else None
        self.tracing = open_tracing(config)

    def record(self, record: Record) -> None:
        """Take the account of a request."""
        log_record(record)
        if self.writer is not None:
            self.writer.put(record)
        if self.metrics is not None:
            self.metrics.count(record)
        if self.tracing is not None:
            self.tracing.end(record)

    def trace(self, request_id: str, headers: Mapping[str, str]) -> None:
        """Take part in the caller's trace, and pass it on to providers."""
        if self.tracing is not None:
            headers = self.tracing.begin(request_id, headers)
        trace.follow(headers.get("traceparent"), headers.get("tracestate"))

    async def room(self) -> None:
        """Wait while the log is full and the settings want that."""
        if self.writer is not None:
            await self.writer.room()

    async def watch_keys(self) -> None:
        """Follow changes of the keys. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(KEYS_EVERY_S)
            try:
                await asyncio.to_thread(self.ring.refresh, self.keys)
            except StoreError as error:
                log.warning("the keys cannot be read, those last read stay good: %s", error)

    @property
    def warnings(self) -> list[str]:
        """What is wrong just now."""
        found = []
        if self.writer is not None and self.writer.error is not None:
            found.append(f"the decision log cannot be written, {self.writer.waiting} records wait: {self.writer.error}")
        if self.writer is not None and self.writer.overflown:
            found.append(f"the decision log dropped {self.writer.overflown} records: its queue was full")
        if self.writer is not None and self.writer.refused:
            found.append(f"the decision log lost {self.writer.refused} records that it cannot keep")
        if isinstance(self.state, ResilientState) and self.state.error is not None:
            found.append(f"the shared state is away, limits are held by this process alone: {self.state.error}")
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
        await asyncio.to_thread(self.database.close)


def kept_content(settings: LogSettings) -> LogSettings:
    """The log's settings, with a hash instead of a redaction that cannot be made."""
    if settings.content == "redacted" and not can_redact():
        log.error("`log.content: redacted` needs %s: hashes are kept instead", how_to_install("redact"))
        return LogSettings(**{**{f: getattr(settings, f) for f in settings.__struct_fields__}, "content": "hash"})
    return settings
