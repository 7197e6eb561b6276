"""Work on the log for the page of the service, in a process of its own: replay, suggestions, drift.

The process reads one order from its standard input, as MessagePack. It writes lines of JSON to its standard output:
`{"progress": …}` while it works, then one line with `{"result": …}` or `{"error": …}`. It yields the processor to
requests, and its memory is limited. Whoever wants to stop it kills it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from semroute.bases import Frozen, RouteFileStruct
from semroute.config.folder import MAX_FILE_BYTES, SUFFIXES, RouteFiles
from semroute.config.load import load_files
from semroute.errors import RequestError, SemrouteError, StoreError
from semroute.learning.drift_over_time import MOST_WINDOWS, SampledWindows
from semroute.learning.engines import LOCAL, TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.logged_prompts import PromptTally, read_all
from semroute.learning.replay_log import Replay
from semroute.learning.replay_page import exactness
from semroute.learning.suggested_file import fragments, render, require_enough
from semroute.learning.suggestions import suggest
from semroute.learning.sweep_log import sweep
from semroute.learning.sweep_page import evidence
from semroute.learning.sweep_report import Floor
from semroute.router import Router
from semroute.stores.interfaces import Query

DAY_S = 86_400
THE_LOG = "the log of this service"
"""What messages and reports call the log, because callers need not know its address."""
MAX_FILES = 200
MAX_MOVES = 200
"""The most kinds of moves that a replay returns. The most frequent come first."""
APART_S = 0.1
"""Seconds between two lines about the progress."""
NICE = 10
"""How far the process steps back behind others, as for `nice`."""
MEMORY_BYTES = 3 << 30
"""The most memory that the process may address. On a log of 6,000 requests, 0.6 GB are addressed and 0.2 GB used."""

Days = Annotated[float, Meta(gt=0, le=3660)]


class ReplayBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /learning/replay`: decide the requests of the log anew."""

    files: dict[str, str] | None = None
    """The route files that decide, by name. Not set: those in service. Their `${VAR}` are not replaced, and the
    embedding model stays the one in service."""
    days: Days = 30
    """How many days of the log are replayed, up to now. 30 if not set."""


class SuggestBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /learning/suggest`: suggest utterances and routes."""

    days: Days = 30
    """How many days of the log are read, up to now. 30 if not set."""


class SweepBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /learning/sweep`: estimate what each setting of a dial would have cost and kept."""

    days: Days = 30
    """How many days of the log are read, up to now. 30 if not set."""
    floor: Annotated[float, Meta(ge=0, le=1)] = 0.97
    """The quality to keep, as a share of today's. 0.97 if not set."""
    dials: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    """The dials to sweep. Not set: all that the route files use."""


class DriftBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /learning/drift`: compare windows of the log with a reference before them."""

    window_days: Days = 1
    """How long each window is. 1 if not set."""
    windows: Annotated[int, Meta(ge=1, le=MOST_WINDOWS)] = 14
    """How many windows there are. The last one ends with the newest request. 14 if not set."""
    reference_days: Days = 28
    """How long the reference before the first window is. 28 if not set."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    """The chance that a report without any drift says that something moved. 0.01 if not set."""


class Order(Frozen, frozen=True, kw_only=True):
    """What the process shall do."""

    work: str
    """The name of one of `WORKS`."""
    body: msgspec.Raw
    """The body of that work, as MessagePack."""
    database_url: str
    files: RouteFiles
    """The route files in service."""
    now: float
    """Seconds since 1970."""


_decode = msgspec.msgpack.Decoder(Order).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode

Progress = Callable[[str, int, int | None], None]
"""Gets what is being done, how much of it is done, and how much there is. None: nobody knows."""


def check_files(files: dict[str, str]) -> None:
    """Check the names and the number of uploaded route files. Raises `RequestError`."""
    if not 0 < len(files) <= MAX_FILES:
        raise RequestError(f"files: got {len(files)} files, expected 1 to {MAX_FILES}", param="files")
    for name, text in files.items():
        if not name.endswith(SUFFIXES) or "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
            raise RequestError(f"files: got the name {name!r}, expected one such as billing.yaml", param="files")
        if len(text) > MAX_FILE_BYTES:
            raise RequestError(f"files: {name} is larger than {MAX_FILE_BYTES // 1024**2} MiB", param="files")


def run(order: Order, progress: Progress) -> Any:
    """Do the work of an order, and return what JSON can hold. Raises `SemrouteError`."""
    work = WORKS[order.work]
    body = msgspec.msgpack.decode(order.body, type=work.body)
    return work.do(order, body, LoggedDecisions(order.database_url), progress)


def _replay(order: Order, body: ReplayBody, log: LoggedDecisions, progress: Progress) -> Any:
    router = _router(order, progress)
    if body.files is not None:
        check_files(body.files)
        router = _candidate(router, order.files, body.files, progress)
    query = Query(since=order.now - body.days * DAY_S, until=order.now)
    report = Replay(router, log, query).run(lambda done, total: progress("deciding requests", done, total))
    report.log, kinds = THE_LOG, len(report.moves)
    report.moves = report.moves[:MAX_MOVES]
    return {"report": report, "replayed": report.replayed, "kinds_of_moves": kinds, "exactness": exactness(report)}


def _router(order: Order, progress: Progress) -> Router:
    return Router.of(order.files, progress=lambda done, total: progress("embedding utterances", done, total))


def _candidate(now: Router, in_service: RouteFiles, files: dict[str, str], progress: Progress) -> Router:
    """Build the router of uploaded files.

    Whoever may read the log may upload files, and need not be trusted with more. So they cannot read variables of the
    environment, load another model or leave anything on the disk.
    """
    texts = {name: text.encode() for name, text in sorted(files.items())}
    config = load_files(RouteFiles(folder="", texts=texts), {})
    for what in ("model", "max_tokens", "query_prefix", "passage_prefix"):
        got, expected = getattr(config.embedder, what), getattr(now.config.embedder, what)
        if got != expected:
            raise RequestError(
                f"files: their `embedder.{what}` is {got!r}, expected {expected!r} as in service: to try another "
                "embedder, use `semroute replay --routes FOLDER`",
                param="files",
            )
    config = replace(config, embedder=now.config.embedder)
    return Router.build(
        config,
        previous=now,
        learned=in_service.learned,
        progress=lambda done, total: progress("embedding utterances of the files", done, total),
    )


def _suggest(order: Order, body: SuggestBody, log: LoggedDecisions, progress: Progress) -> Any:
    router = _router(order, progress)
    begin = partial(PromptTally.begin, frozenset(router.config.routes), 0)
    work = TallyRows(begin, PromptTally.add, Query(since=order.now - body.days * DAY_S, until=order.now))
    found = read_log(LOCAL, log, work, lambda done: progress("reading the log", done, None)).prompts()
    require_enough(found.counts, THE_LOG)
    readings = read_all(router, found.prompts, lambda done, total: progress("matching prompts", done, total))
    progress("grouping prompts", 0, None)
    suggestions = suggest(router, found.prompts, readings)
    models = router.config.default.models
    return {
        "read": found.counts,
        "file": render(suggestions, found.counts, THE_LOG, models),
        "suggestions": fragments(suggestions, models),
    }


def _sweep(order: Order, body: SweepBody, log: LoggedDecisions, progress: Progress) -> Any:
    router = _router(order, progress)
    found = sweep(
        router,
        log,
        Floor(value=body.floor),
        dials=body.dials,
        query=Query(since=order.now - body.days * DAY_S, until=order.now),
        progress=lambda done, total: progress("deciding requests at each setting", done, total),
    )
    found = replace(found, log=THE_LOG)
    return {"sweep": found, "evidence": evidence(found)}


def _drift(_: Order, body: DriftBody, log: LoggedDecisions, progress: Progress) -> Any:
    last = log.last_at()
    if last is None:
        raise RequestError(f"{THE_LOG} has no rows yet, expected some to compare")
    windows = SampledWindows(
        last + 0.001,
        window_s=body.window_days * DAY_S,
        windows=body.windows,
        reference_s=body.reference_days * DAY_S,
    )
    rows = log.read(Query(since=windows.since, until=windows.until))
    windows.add(rows, lambda done: progress("reading the log", done, None))
    return windows.compare(body.alpha, lambda done, total: progress("comparing windows", done, total))


class Work(NamedTuple):
    """One kind of work."""

    body: type[RouteFileStruct]
    """The body of its request."""
    do: Callable[[Order, Any, LoggedDecisions, Progress], Any]
    about: str
    """What it does, for the description of its endpoint."""


WORKS = {
    "replay": Work(
        ReplayBody,
        _replay,
        "Decide the requests of the log anew, with the route files in service or with those of the body.",
    ),
    "suggest": Work(
        SuggestBody,
        _suggest,
        "Suggest utterances and routes from the log. Nothing is applied. The log must keep the text of prompts.",
    ),
    "sweep": Work(
        SweepBody,
        _sweep,
        "Estimate what each setting of each dial would have cost and kept, from the answers that were graded.",
    ),
    "drift": Work(DriftBody, _drift, "Compare window after window of the log with a reference before them."),
}
"""All kinds of work, by name."""


class _Lines:
    """Writes lines of JSON."""

    def __init__(self, stream: IO[bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = 0.0
        self._doing = ""

    def progress(self, doing: str, done: int, total: int | None) -> None:
        """Write how far the work is, not too often."""
        now = self._clock()
        if doing != self._doing or now >= self._next:
            self._doing, self._next = doing, now + APART_S
            self.write({"progress": {"doing": doing, "done": done, "total": total}})

    def write(self, line: dict[str, Any]) -> None:
        self._stream.write(_encode(line) + b"\n")
        self._stream.flush()


def main() -> None:
    """Run the process."""
    os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines = _Lines(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what a library prints must not look like a result
    order = _decode(sys.stdin.buffer.read())
    try:
        result = run(order, lines.progress)
    except SemrouteError as error:
        lines.write({"error": str(error), "store": isinstance(error, StoreError)})
    except MemoryError:
        told = f"the work needs more than {MEMORY_BYTES >> 30} GB of memory: choose fewer days"
        lines.write({"error": told, "store": False})
    else:
        lines.write({"result": result})


if __name__ == "__main__":
    main()
