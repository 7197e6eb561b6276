"""Decide a log anew. The progress can be kept in a file, so that a long replay goes on after a stop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from semroute.errors import RequestError
from semroute.learning.engines import LOCAL, Engine, Stretch, TallyRows
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.replay_tally import AddDecidedAnew, ReplayReport, ReplayTally
from semroute.router import Router
from semroute.stores.interfaces import Query

SAVE_EVERY = 20
"""Batches after which the progress is saved, with `--resume`."""


class _Saved(msgspec.Struct, kw_only=True):
    """A replay that can go on later."""

    log: str
    config_version: str
    since: float | None
    until: float | None
    parts: int = 0
    """How many parts of the log are finished."""
    files: str = ""
    """A digest of these parts."""
    finished: ReplayTally
    """The tally of these parts."""
    current: ReplayTally
    """The tally of the next part so far."""


class Replay:
    """One replay of a log."""

    def __init__(self, router: Router, log: LoggedDecisions, query: Query, resume: Path | None = None) -> None:
        """`resume`: a file that keeps the progress. If it exists, the replay goes on behind the last row.

        Raises `RequestError` if the file is of another replay.
        """
        self._router, self._log, self._query, self._file = router, log, query, resume
        self._state = _Saved(
            log=log.name,
            config_version=router.config.version,
            since=query.since,
            until=query.until,
            finished=ReplayTally(),
            current=ReplayTally(),
        )
        if resume is not None and resume.exists():
            self._load(resume)

    @property
    def report(self) -> ReplayReport:
        """Return the report on the rows that were decided so far."""
        whole = ReplayTally()
        whole.merge(self._state.finished)
        whole.merge(self._state.current)
        return whole.report(self._state.log, self._state.config_version)

    def run(self, progress: Callable[[int, int], None] | None = None, engine: Engine = LOCAL) -> ReplayReport:
        """Decide all rows, or those behind the last one that was decided before. Return the report of all."""
        total, parts, state = self._log.count() if progress is not None else 0, self._log.parts(), self._state
        if state.files != _digest(parts[: state.parts]):
            raise RequestError(f"{self._file}: is of another replay: files were added before those that are finished")
        if not state.parts:
            state.finished.torn = self._log.torn  # files that cannot be read at all
        stretches = [Stretch[ReplayTally](part) for part in parts[state.parts :]]
        stretches[:1] = [Stretch(one.log, state.current) for one in stretches[:1]]
        work = TallyRows(ReplayTally, AddDecidedAnew(self._router), self._query)
        whole = False
        for number, step in enumerate(engine.map(work, stretches), start=1):
            if whole:  # the step before was the last one of a part
                state.finished.merge(state.current)
                state.parts += 1
                state.files = _digest(parts[: state.parts])
            state.current, whole = step
            if self._file is not None and (whole or number % SAVE_EVERY == 0):
                self._save(self._file)
            if progress is not None:
                done = state.finished.rows + state.current.rows
                progress(done, max(total, done))
        return self.report

    def _save(self, file: Path) -> None:
        """Save the progress. Either the whole file is new, or the old one stays."""
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(msgspec.msgpack.encode(self._state))
        new.replace(file)

    def _load(self, file: Path) -> None:
        try:
            saved = msgspec.msgpack.decode(file.read_bytes(), type=_Saved)
        except (msgspec.DecodeError, UnicodeError):
            raise RequestError(f"{file}: is no saved replay: name another file for --resume") from None
        names = {
            "log": "log",
            "config_version": "version of the route files",
            "since": "--since",
            "until": "--until",
        }
        for field, what in names.items():
            got, expected = getattr(saved, field), getattr(self._state, field)
            if got != expected:
                told = f"its {what} is {got}, expected {expected}"
                raise RequestError(f"{file}: is of another replay: {told}; delete the file to begin anew")
        self._state = saved


def _digest(parts: Sequence[LoggedDecisions]) -> str:
    """Return a digest of the files and rows of parts. Empty: there are none."""
    told = repr([part.part for part in parts]).encode()
    return hashlib.sha256(told).hexdigest() if parts else ""
