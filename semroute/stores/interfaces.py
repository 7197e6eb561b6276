"""What is kept: the decision log and the shared state. Seams with one test suite each over all back ends."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from semroute.bases import Frozen

PICO = Decimal(10**12)
"""Stores count money in whole 10^-12 USD: sums are exact, in every back end."""
MAX_USD = Decimal(9_000_000)
"""What a counter of 64 bits can hold, in round figures."""

HOLD_S = 86_400.0
"""When a hold ends by itself, though its owner lives: longer than any request takes."""
SETTLED_S = 3600.0
"""How long a state remembers that a hold was settled."""
EPOCH = "semroute:epoch"
"""The counter that every state has which is not empty. Its amount is the state's epoch."""
EPOCH_S = 10 * 365 * 86_400.0
BASE = "semroute:base:"
"""What stands before a counter's name where a state keeps how much of it came from `refill`."""
_RANDOM_BITS = 20

Row = tuple[Any, ...]


def to_pico(usd: Decimal) -> int:
    """USD -> 10^-12 USD. Prices have 6 decimals at most, so nothing is lost."""
    return int(usd * PICO)


def to_usd(pico: int) -> Decimal:
    """10^-12 USD -> USD."""
    return Decimal(pico).scaleb(-12).normalize() + 0


def new_epoch(since: float) -> int:
    """An epoch for a state that is filled with what ended before a moment, rounded down to a second."""
    return int(since) << _RANDOM_BITS | secrets.randbelow(1 << _RANDOM_BITS)


def filled_to(epoch: int) -> float:
    """The moment before which all that ended came from `refill`. Infinite: the epoch does not say."""
    return epoch >> _RANDOM_BITS if epoch >= 1 << 48 else math.inf


# --- databases --------------------------------------------------------------------------------------------------------


class Session(Protocol):
    """An open transaction. SQL is written with `?`."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement, and give its rows."""

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row."""

    def lock(self, names: Iterable[str]) -> None:
        """Keep other transactions from what has these names until this one ends."""


class Database(Protocol):
    """A SQL database. Blocking, safe to share among threads. Everything raises `StoreError`."""

    types: dict[str, str]
    """What `{int}`, `{real}`, `{blob}` and `{clustered}` are called in its DDL."""

    def transaction(self, *, write: bool = True) -> AbstractContextManager[Session]:
        """A transaction: committed at the end, rolled back by an exception. One that only reads sees one moment."""

    def size_bytes(self) -> int:
        """What the log's records take on disk, with their indexes."""

    def close(self) -> None:
        """Close all connections."""


# --- the decision log -------------------------------------------------------------------------------------------------


class Within(Frozen, frozen=True, kw_only=True):
    """The part of the log that one key may see: its own records, and those of these routes and models."""

    key: str
    """Its id."""
    routes: tuple[str, ...] | None
    """None, here and below: all."""
    models: tuple[str, ...] | None


class Query(Frozen, frozen=True, kw_only=True):
    """Which records of the log; all that is given must hold."""

    since: float | None = None
    """Seconds since 1970, inclusive."""
    until: float | None = None
    """Seconds since 1970, exclusive."""
    route: str | None = None
    """Empty, it and the next: none."""
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
    """The id that the last page ended with."""
    limit: int = 50
    within: Within | None = None
    """None: in all of the log."""


class Feedback(Frozen, frozen=True, kw_only=True):
    """What somebody thought of an answer. Given again, it replaces what was given before."""

    score: float | None = None
    """0 bad to 1 good; thumbs are 0 and 1."""
    label: str | None = None
    """The right route."""
    comment: str | None = None


class Noted(NamedTuple):
    """What feedback was given to."""

    route: str
    """Empty: the default."""
    tier: str
    misrouted: bool
    """Whether the request counts as misrouted now, and did not before."""


# --- shared state -----------------------------------------------------------------------------------------------------


OWNER_CHARS = 16
"""The length of an owner's name, in hexadecimal digits."""


def owner_of(hold: str) -> str | None:
    """Who made a hold. None: a semroute that did not say so; its holds end by themselves."""
    return hold[:OWNER_CHARS] if hold[OWNER_CHARS : OWNER_CHARS + 1] == "/" else None


class Want(NamedTuple):
    """A claim on a counter."""

    counter: str
    amount: int
    limit: int | None
    """What the counter may reach, held amounts included. None: any amount."""
    expires_at: float
    """When the counter may be forgotten, in seconds since 1970."""
    known: bool = False
    """Something was counted here before. If nothing is here now, the state has lost it."""


class Verdict(NamedTuple):
    """The answer to a claim."""

    refused: str | None
    """The first counter that has no room. None: all is held."""
    levels: dict[str, int]
    """What the counters had reached before the claim: what is spent, and what others hold."""
    spent: dict[str, int] = {}
    """What of this is spent. A counter is missing here if the state does not have it."""
    whole: bool = True
    """False: the state is empty, or it lost a counter. Nothing is held then: `refill` it and ask again."""


class Beats(NamedTuple):
    """Who uses a state."""

    owners: dict[str, int]
    """How often each owner said that it lives. 0: it has holds, and never said so."""
    epoch: int
    """The number that the last `refill` of an empty state gave it. 0: the state is empty. See `new_epoch`."""


class State(Protocol):
    """What requests count on: counters with holds on them, and small values that end.

    `reserve` and `settle` of one hold may reach the state in any order and more than once; the result is the same. Each
    call is atomic. Each call raises `StoreError` if the state cannot be used.
    """

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room. A hold that is made again replaces the first.

        A hold that was settled before holds nothing. What is not settled within the lease is free again.
        """

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, ended: float | None = None
    ) -> dict[str, int]:
        """Free what is held, and count what was spent: counter -> (amount, expires_at). A hold is settled once.

        Every counter that is held must be named, also those of which nothing was spent. `ended`: when the request did,
        to the same digit as in the decision log; None: now. Returns what is spent now of the counters that have grown,
        as far as that is known.
        """

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""

    async def reset(self, counter: str) -> int:
        """Forget what was spent. Returns how much that was."""

    async def get(self, key: str) -> bytes | None:
        """A value; None: none, or over."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that there are, by their keys."""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one; whether it was set."""

    async def delete(self, key: str) -> None:
        """Forget a value."""

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value by a weight of 0 to 1, and give it; without one it begins there."""

    async def aclose(self) -> None:
        """Close all connections."""


class SharedState(State, Protocol):
    """A `State` that several processes share.

    A hold is named `OWNER/NAME`. The owner is the process that made it; it says again and again that it lives (`beat`).
    The others count that: an owner that has gone silent is released, and its holds with it. So no clock decides, and a
    process that was only slow makes its holds again.
    """

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, ended: float | None = None
    ) -> dict[str, int]:
        """Free what is held, and count what was spent."""
        return await self.count(hold, spent, keep_s=SETTLED_S, epoch=0) or {}

    async def count(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, keep_s: float, epoch: int
    ) -> dict[str, int] | None:
        """As `settle`. None: the state has another epoch, and nothing is done. Epoch 0: whatever its epoch.

        `keep_s`: how long the state remembers that the hold was settled.
        """

    async def beat(self, owner: str) -> Beats:
        """Say that an owner lives."""

    async def release(self, owner: str) -> None:
        """Free all that an owner holds, and forget the owner."""

    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]]) -> int:
        """Count what is known to be spent, and mark the state as not empty. Returns its epoch: the first gives it.

        Nothing is done to a state of another epoch. Of what is filled into a counter again and again the largest amount
        counts, beside all that was counted otherwise: so it does no harm if several processes do this.
        """
