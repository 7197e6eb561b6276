"""Read logged decisions: from the database of the log, from a file that `semroute export` wrote, or from a folder of
such files in Parquet.

The rows come one by one, so a log of any size takes little memory. Older versions wrote rows with fewer fields: a row
has what was written, and None or an empty value for the rest. A row that cannot be read is counted and told in
`LoggedDecisions.torn`; the rows after it are still read.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from semroute.bases import Frozen
from semroute.decision import Candidate, Details, Estimate, PlanEntry
from semroute.errors import RequestError
from semroute.evaluation.jsonl import why_not
from semroute.json_errors import UNREADABLE
from semroute.learning.parquet_log import Part, is_parquet, last_at, parts_of, rows_of, unpacked
from semroute.messages import Usage
from semroute.record import RequestFeatures, Trial
from semroute.routing.scoring import Floats
from semroute.stores.connect import is_missing, open_to_read, shown
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query

MAX_LINE_BYTES = 64 * 2**20
"""A longer line of a file counts as torn, so that a file without line ends does not fill the memory."""
MAX_TOLD = 10
"""The most torn rows that are told. All are counted."""
TOGETHER = 64
"""Rows that are decided together."""
_ALL = Query()
EXPECTED = "a line of `semroute export`: an object with `id` and `decision`"

_HASH = re.compile(r"[0-9a-f]{64}")
_REDACTED = re.compile(r"\[(?:SECRET|…|(?:EMAIL|PHONE|CREDIT_CARD|SSN|IP_ADDRESS)_\d+)\]")


class TornRows(msgspec.Struct):
    """The rows that could not be read."""

    count: int = 0
    told: list[str] = []
    """What is wrong with the first ones, and where."""

    def add(self, told: str) -> None:
        """Count a row, and keep what is wrong with it if it is among the first."""
        self.count += 1
        if len(self.told) < MAX_TOLD:
            self.told.append(told)

    def merged(self, later: TornRows) -> TornRows:
        """Return these rows and those of a later part of the log."""
        return TornRows(self.count + later.count, [*self.told, *later.told][:MAX_TOLD])


class DecisionThen(Frozen, frozen=True, kw_only=True):
    """What is read of a logged decision. The fields are those of `Decision`; old rows lack some."""

    id: str = ""
    route: str | None = None
    reason: str = ""
    explanation: str = ""
    confidence: float = 0.0
    threshold: float | None = None
    margin: float | None = None
    model: str | None = None
    plan: tuple[str, ...] = ()
    plan_details: tuple[PlanEntry, ...] = ()
    rejected: dict[str, str] = {}
    candidates: tuple[Candidate, ...] = ()
    in_scope: float | None = None
    estimate: Estimate | None = None
    config_version: str = ""
    asks: tuple[str | None, ...] = ()
    rule: str | None = None
    narrowed_by: tuple[str, ...] = ()
    difficulty: float | None = None
    wants: str | None = None
    contributions: dict[str, float] = {}
    cost_quality: float | None = None
    thrift: float = 0.0
    propensity: float | None = None
    explored: bool = False
    details: Details | None = None


class AttemptThen(Frozen, frozen=True, kw_only=True):
    """What is read of a logged call to a model."""

    model: str = ""
    status: str = ""
    latency_ms: float = 0.0
    error_code: str | None = None
    escalated: str | None = None
    ungraded: str | None = None
    grades: dict[str, float] = {}
    purpose: str = "answer"
    served_anyway: bool = False
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)


class FeedbackThen(Frozen, frozen=True, kw_only=True):
    """What somebody thought of the answer."""

    score: float | None = None
    """From 0 (bad) to 1 (good)."""
    label: str | None = None
    """The right route. Empty: no route should have taken the prompt."""
    comment: str | None = None
    feedback_at: float | None = None


class LoggedDecision(Frozen, frozen=True, kw_only=True, dict=True):
    """One row of a log."""

    id: Annotated[str, Meta(min_length=1)]
    """The id of the request."""
    decision: DecisionThen
    place: str = ""
    """Where the row stands, for people: `log.jsonl:12`, or the id of a row of a database."""
    at: float = 0.0
    """When the request came, in seconds since 1970."""
    model: str | None = None
    """The model that answered. None: none did. `decision.model` is the one that was planned."""
    tier: str = ""
    """The tier of `model`."""
    key_id: str = ""
    team: str = ""
    feature: str = ""
    """The part of the caller's product."""
    unit: str = ""
    """Who asked, as a digest. Empty: not known."""
    experiment: str = ""
    arm: str = ""
    outcome: str = ""
    cost_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    latency_ms: float = 0.0
    error: str | None = None
    escalated: bool = False
    """Whether an answer failed a check."""
    attempts: tuple[AttemptThen, ...] = ()
    feedback: FeedbackThen | None = None
    scores: dict[str, float] = {}
    """The confidence of every route. Empty: nothing was matched, or it is not known."""
    embedding: tuple[float, ...] | None = None
    """The vector of the ask. None: nothing was matched, or it was not kept."""
    encoder: str = ""
    """The fingerprint of the encoder that made the vector. Empty: not known."""
    prompt: str | None = None
    """What was kept of the prompt: the text, the text without what is private, or a hash."""
    answer: str | None = None
    trials: tuple[Trial, ...] = ()
    """What was tried beside the request."""
    features: RequestFeatures | None = None
    """All that the decision was made from except the text. None: it was not kept."""

    @property
    def route(self) -> str | None:
        """Return the route that was taken. None: none was."""
        return self.decision.route

    @property
    def label(self) -> str | None:
        """Return the right route, as feedback says. Empty: none is right. None: it does not say."""
        return self.feedback.label if self.feedback is not None else None

    @property
    def score(self) -> float | None:
        """Return how good the answer was, 0 to 1, as feedback says. None: it does not say."""
        return self.feedback.score if self.feedback is not None else None

    @cached_property
    def vector(self) -> Floats | None:
        """Return the vector of the ask: float32 (dim,), L2-normalised. None: the log does not have it."""
        if not self.embedding:
            return None
        vector = np.array(self.embedding, np.float32)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if np.isfinite(length) and length > 0 else None

    @property
    def redacted(self) -> bool:
        """Return whether something private was taken out of the prompt."""
        return self.prompt is not None and _REDACTED.search(self.prompt) is not None

    @property
    def text(self) -> str | None:
        """Return the prompt if the log kept its text. None: it kept nothing or a hash.

        The texts of all turns are joined. `redacted`: whether something private was taken out.
        """
        return None if self.prompt is None or _HASH.fullmatch(self.prompt) else self.prompt

    @property
    def ask_text(self) -> str | None:
        """Return what the user wrote in the last turn, if the log has it, else `text`."""
        if self.decision.details is not None and self.decision.details.pieces:
            return "\n".join(piece.text for piece in self.decision.details.pieces if not piece.earlier)
        return self.text


class LoggedDecisions:
    """A log to read, or a part of one. Every reading starts at the first row."""

    def __init__(self, source: Path | str, part: Part | None = None) -> None:
        """`source`: a file that `semroute export` wrote, a folder of them in Parquet, or the URL of a database.

        `part`: the part of it to read. None: all.
        """
        self.source = source
        self.part = part
        self.torn = TornRows()
        """The rows that the last reading could not use."""

    @property
    def name(self) -> str:
        """Return the source without passwords."""
        return str(self.source) if isinstance(self.source, Path) else shown(self.source)

    @property
    def divisible(self) -> bool:
        """Return whether other processes can read parts of the log."""
        return self.part is not None or (isinstance(self.source, Path) and is_parquet(self.source))

    def parts(self) -> list[LoggedDecisions]:
        """Return the parts of the log, in order. A log that cannot be divided is one part.

        `torn` then names the files of a folder that cannot be read at all.
        """
        self.torn = TornRows()
        if not self.divisible:
            return [LoggedDecisions(self.source)]
        parts, damaged = self._parts()
        for told in damaged:
            self.torn.add(told)
        return [LoggedDecisions(self.source, part) for part in parts]

    def _parts(self) -> tuple[list[Part], list[str]]:
        """Return the parts to read of Parquet, and which files are damaged."""
        assert isinstance(self.source, Path)
        return parts_of(self.source) if self.part is None else ([self.part], [])

    def count(self) -> int:
        """Return about how many rows there are: as many as there are line ends, or rows of the database."""
        if isinstance(self.source, str):
            return int(self._ask_database(self.source, "SELECT COUNT(*) FROM decisions"))
        if self.divisible:
            return sum(part.rows for part in self._parts()[0])
        with _opened(self.source) as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))

    def last_at(self) -> float | None:
        """Return when the last request came, in seconds since 1970. None: there is none.

        A file of JSON is read as a whole for this.
        """
        if isinstance(self.source, str):
            last = self._ask_database(self.source, "SELECT MAX(at) FROM decisions")
            return None if last is None else float(last)
        if self.divisible and (times := [at for part in self._parts()[0] if (at := last_at(part)) is not None]):
            return max(times)
        return max((row.at for row in self), default=None)

    @staticmethod
    def _ask_database(url: str, sql: str) -> Any:
        """Return the one value that a query gives."""
        with closing(open_to_read(url)) as database, database.transaction(write=False) as session:
            [[value]] = session.run(sql)
        return value

    def read(self, query: Query = _ALL, *, after: str | None = None) -> Iterator[LoggedDecision]:
        """Yield the rows, oldest first in a database, in the order of a file.

        `query`: its `since` and `until` count. `after`: the `place` of the last row that was read before; only rows
        behind it follow. Raises `RequestError` if the source cannot be read at all.
        """
        self.torn = TornRows()
        if isinstance(self.source, str):
            return self._of_database(self.source, query, after)
        rows = self._of_parquet() if self.divisible else self._of_lines(self.source)
        return _selected(rows, query, after, str(self.source))

    def __iter__(self) -> Iterator[LoggedDecision]:
        return self.read()

    def _of_database(self, url: str, query: Query, after: str | None) -> Iterator[LoggedDecision]:
        with closing(open_to_read(url)) as database:
            for row in SqlLog(database).export(query, after=after or "", on_torn=self.torn.add):
                yield msgspec.convert({**row, "place": row["id"]}, LoggedDecision, from_attributes=True, strict=False)

    def _of_lines(self, path: Path) -> Iterator[LoggedDecision]:
        for number, line in lines_of(path, self.torn):
            try:
                yield msgspec.structs.replace(_decode(line), place=f"{path}:{number}")
            except UNREADABLE as error:
                self.torn.add(f"{path}:{number}: {why_not(error, line, LoggedDecision)}; expected {EXPECTED}")

    def _of_parquet(self) -> Iterator[LoggedDecision]:
        parts, damaged = self._parts()
        for told in damaged:
            self.torn.add(told)
        for place, row in itertools.chain.from_iterable(rows_of(part, self.torn.add) for part in parts):
            try:
                yield msgspec.convert({**unpacked(row), "place": place}, LoggedDecision, strict=False)
            except UNREADABLE as error:
                self.torn.add(f"{place}: {error}; expected a row of `semroute export`")


def open_log(log: str | Path | None, database_url: str) -> LoggedDecisions:
    """Return the log that a command names: a file, a folder of Parquet files, or the URL of a database.

    None stands for the service's own database. Raises `RequestError` if there is no such file.
    """
    named = database_url if log is None else str(log)
    if "://" in named or named == "memory:":
        if log is not None and is_missing(named):
            raise RequestError(f"{named}: there is no such database")
        return LoggedDecisions(named)
    path = Path(named)
    if path.is_dir():
        return LoggedDecisions(path)
    if not path.is_file():
        expected = "a file of `semroute export`, a folder of them, or a URL such as sqlite:///semroute.db"
        raise RequestError(f"{path}: no such file, expected {expected}")
    if path.suffix not in (".jsonl", ".parquet"):
        raise RequestError(f"{path}: got an unknown ending, expected .jsonl or .parquet")
    return LoggedDecisions(path)


def batches(rows: Iterator[LoggedDecision]) -> Iterator[list[LoggedDecision]]:
    """Yield rows in lists, as many as are decided together."""
    while batch := list(itertools.islice(rows, TOGETHER)):
        yield batch


def lines_of(path: Path, torn: TornRows) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, numbered from 1, with little memory. `torn`: gets those too long.

    Raises `RequestError` if the file cannot be read.
    """
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                torn.add(f"{path}:{number}: got more than {MAX_LINE_BYTES:,} bytes without a line end")
                continue
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if line.strip():
                yield number, line


_decode = msgspec.json.Decoder(LoggedDecision).decode


def _selected(rows: Iterator[LoggedDecision], query: Query, after: str | None, source: str) -> Iterator[LoggedDecision]:
    """Leave out the rows of other times, and those up to the row at the place `after`."""
    since, until = query.since, query.until
    for row in rows:
        if after is not None:
            after = None if row.place == after else after
        elif (since is None or row.at >= since) and (until is None or row.at < until):
            yield row
    if after is not None:
        raise RequestError(f"{source}: got no row at {after}, which was read last: it is another log")


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
