"""The interfaces of the decision log and of the shared state. One test suite for each covers all back ends."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from semroute.bases import Frozen

PICO = Decimal(10**12)
"""Stores count money in whole 10^-12 USD: sums are exact, in every back end."""
MAX_USD = Decimal(9_000_000)
"""About the largest amount that a counter of 64 bits can hold, in USD."""

HOLD_S = 86_400.0
"""Seconds after which a hold ends by itself, even if its owner lives. No request takes that long."""
SETTLED_S = 3600.0
"""How long a state remembers that a hold was settled."""
EPOCH = "semroute:epoch"
"""A counter that every state has unless it is empty. Its amount is the state's epoch."""
EPOCH_S = 10 * 365 * 86_400.0
BASE = "semroute:base:"
"""The prefix of a counter's name under which a state keeps how much of it came from `refill`."""
FILLED = "semroute:filled:"
"""The prefix of a counter's name under which a state keeps the moment from `refill`, in whole seconds."""
_RANDOM_BITS = 20

Row = tuple[Any, ...]


def to_pico(usd: Decimal) -> int:
    """USD -> 10^-12 USD. Prices have 6 decimals at most, so nothing is lost."""
    return int(usd * PICO)


def to_usd(pico: int) -> Decimal:
    """10^-12 USD -> USD."""
    return Decimal(pico).scaleb(-12).normalize() + 0


def new_epoch(since: float) -> int:
    """Return an epoch for a state filled with all that ended before a moment, rounded down to a second."""
    return int(since) << _RANDOM_BITS | secrets.randbelow(1 << _RANDOM_BITS)


def filled_to(epoch: int) -> float:
    """Return the moment that an epoch names: all that ended before it came from `refill`.

    Infinite: the epoch names no moment.
    """
    return epoch >> _RANDOM_BITS if epoch >= 1 << 48 else math.inf


# --- databases --------------------------------------------------------------------------------------------------------


class Session(Protocol):
    """An open transaction. SQL is written with `?`."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement and return its rows."""

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row."""

    def lock(self, names: Iterable[str]) -> None:
        """Lock these names: until this transaction ends, others that lock one of them wait."""


class Database(Protocol):
    """A SQL database. Blocking, safe to share among threads. Everything raises `StoreError`."""

    types: dict[str, str]
    """What `{int}`, `{real}`, `{blob}` and `{clustered}` are called in its DDL. `{now}` in SQL is the time by its own
    clock, in seconds since 1970."""

    def transaction(self, *, write: bool = True) -> AbstractContextManager[Session]:
        """Open a transaction: the end commits it, an exception rolls it back. If it only reads, it sees one moment."""

    def size_bytes(self) -> int:
        """Return the bytes that the log's records take on disk, with their indexes."""

    def close(self) -> None:
        """Close all connections."""


# --- the decision log -------------------------------------------------------------------------------------------------


class LogScope(Frozen, frozen=True, kw_only=True):
    """The part of the log that one key may see: its own records, and those of some routes and models."""

    key: str
    """The id of the key."""
    routes: tuple[str, ...] | None
    """The routes whose records the key may see; `models` likewise. None: all."""
    models: tuple[str, ...] | None


class Query(Frozen, frozen=True, kw_only=True):
    """Which records of the log to return. A record must meet every condition that is given."""

    since: float | None = None
    """Seconds since 1970, inclusive."""
    until: float | None = None
    """Seconds since 1970, exclusive."""
    route: str | None = None
    """The name of the route. Empty, here and in the next field: records without one."""
    model: str | None = None
    key: str | None = None
    team: str | None = None
    feature: str | None = None
    outcome: str | None = None
    min_cost_usd: Decimal | None = None
    max_cost_usd: Decimal | None = None
    error: str | None = None
    """Part of the error's text, whatever its case."""
    label: str | None = None
    """The right route, as feedback gave it."""
    before: str | None = None
    """The last id on the page before. Only older records follow."""
    limit: int = 50
    within: LogScope | None = None
    """The part of the log to look in. None: all of it."""


class Feedback(Frozen, frozen=True, kw_only=True):
    """What somebody thought of an answer. A second feedback replaces the first."""

    score: float | None = None
    """From 0 (bad) to 1 (good). Thumbs count as 0 and 1."""
    label: str | None = None
    """The right route. Empty: no route should have taken the prompt."""
    comment: str | None = None


class JudgedRequest(NamedTuple):
    """The request that feedback was given to."""

    route: str
    """The name of its route. Empty: the default."""
    tier: str
    misrouted: bool
    """Whether the request counts as misrouted now but did not before."""
    by_feedback: bool = False
    """Whether feedback calls it misrouted now but did not before. A check or a judge may have done so already."""


# --- shared state -----------------------------------------------------------------------------------------------------


OWNER_CHARS = 16
"""The length of an owner's name, in hexadecimal digits."""


LOST_BEATS = 1 << 20
"""How far the beats of all owners jump when a state lost a counter: their holds may be lost, too."""


def owner_of(hold: str) -> str | None:
    """Return who made a hold. None: an older semroute made it and named no owner. Such a hold ends by itself."""
    return hold[:OWNER_CHARS] if hold[OWNER_CHARS : OWNER_CHARS + 1] == "/" else None


class Want(NamedTuple):
    """A claim on a counter."""

    counter: str
    amount: int
    limit: int | None
    """The most that the counter may reach, held amounts included. None: no limit."""
    expires_at: float
    """When the counter may be forgotten, in seconds since 1970."""
    known: bool = False
    """Whether something was counted here before. If the counter is missing now, the state has lost it."""


class Verdict(NamedTuple):
    """The answer to a claim."""

    refused: str | None
    """The first counter without room. None: all amounts are held."""
    levels: dict[str, int]
    """What each counter had reached before the claim: what is spent, plus what others hold."""
    spent: dict[str, int] = {}
    """The part of `levels` that is spent. A counter that the state does not have is missing here."""
    whole: bool = True
    """False: the state is empty or lost a counter, and nothing is held. Call `refill`, then claim again."""


class Beats(NamedTuple):
    """The processes that use a state."""

    owners: dict[str, int]
    """How many times each owner said that it lives. 0: it has holds but never said so."""
    epoch: int
    """The number that the last `refill` of an empty state gave it. 0: the state is empty. See `new_epoch`."""


class State(Protocol):
    """Counters with holds on them, and small values that expire.

    The calls `reserve` and `settle` for one hold may arrive in any order and more than once: the result is the same.
    Each call is atomic, and raises `StoreError` if the state cannot be used.
    """

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room. A second hold of one name replaces the first.

        If the hold was settled before, nothing is held. A hold that is not settled within the lease is freed.
        """

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, ended: float | None = None
    ) -> dict[str, int]:
        """Free a hold, and count what was spent: counter -> (amount, expires_at). A hold is settled once.

        Name every counter of the hold, also one of which nothing was spent. `ended`: when the request ended, exactly
        as the decision log has it; None: now. Returns the new amounts spent of the counters that have grown, as far as
        they are known.
        """

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """Return what counters have reached, held amounts included."""

    async def reset(self, counter: str) -> int:
        """Forget what was spent. Returns how much that was."""

    async def get(self, key: str) -> bytes | None:
        """Return a value. None: there is none, or it has expired."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the values that exist, by key."""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one. Returns whether it was set."""

    async def delete(self, key: str) -> None:
        """Forget a value."""

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value by a weight from 0 to 1, and return it. The first value is the average."""

    async def aclose(self) -> None:
        """Close all connections."""


class SharedState(State, Protocol):
    """A `State` that several processes share.

    A hold is named `OWNER/NAME`. Its owner is the process that made it, and says regularly that it lives (`beat`). The
    other processes count these beats. They release an owner that has gone silent, together with its holds. No clock is
    compared. A process that was only slow makes its holds again.
    """

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, ended: float | None = None
    ) -> dict[str, int]:
        """Free a hold, and count what was spent."""
        return await self.count(hold, spent, keep_s=SETTLED_S, epoch=0) or {}

    async def count(
        self,
        hold: str,
        spent: Mapping[str, tuple[int, float]],
        *,
        keep_s: float,
        epoch: int,
        ended: float = math.inf,
        known: Collection[str] = (),
    ) -> dict[str, int] | None:
        """Settle a hold in a state of this epoch. Epoch 0: any.

        None: nothing is done, because the state has another epoch, or lost one of the `known` counters. `keep_s`: how
        long the state remembers that the hold was settled. `ended`: when the request ended. A counter that a later
        moment was given to by `refill` contains this spend already.
        """

    async def beat(self, owner: str) -> Beats:
        """Say that an owner lives. Returns who else uses the state."""

    async def release(self, owner: str) -> None:
        """Free all that an owner holds, and forget the owner."""

    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]], *, since: int = 0) -> int:
        """Count what is known to be spent, and mark the state as not empty. Returns its epoch: the first call sets it.

        A state of another epoch is left as it is. If a counter is filled several times, the largest amount counts, in
        addition to all that was counted otherwise. So several processes may safely do this. `since`: the amounts
        contain all requests that ended before this moment. 0: that is not known. If a state that is not empty lacked a
        counter, the beats of all owners jump by `LOST_BEATS`.
        """
