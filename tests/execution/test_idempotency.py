from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from semroute.errors import IdempotencyError
from semroute.execution.idempotency import MAX_SHARED_BYTES, Idempotency, MemoryAnswers, SharedAnswers
from semroute.execution.running_answer import AHEAD_BYTES, MAX_ANSWER_BYTES, HeldBytes, Running, Saved
from semroute.stores.memory import MemoryState


def saved(body: bytes = b"x", fingerprint: str = "f") -> Saved:
    return Saved(fingerprint=fingerprint, status=200, headers=(), pieces=(body,))


async def body(running: Running) -> bytes:
    text = b"".join([piece async for piece in running.pieces()])
    running.leave()
    return text


class Maker:
    """Makes numbered answers, in two pieces."""

    def __init__(self, *, good: bool = True) -> None:
        self.made = 0
        self.go = asyncio.Event()
        self._good = good

    async def __call__(self, running: Running) -> bool:
        self.made += 1
        running.start(200, ((b"n", b"1"),))
        await running.add(b"answer ")
        await self.go.wait()
        await running.add(str(self.made).encode())
        return self._good


async def test_all_who_ask_while_it_runs_get_the_same_from_its_start() -> None:
    idempotency, maker = Idempotency(), Maker()
    first = asyncio.create_task(body(idempotency.follow("k", "f", maker)))
    running = idempotency.follow("k", "f", maker)
    assert await running.head()
    second = asyncio.create_task(body(running))
    maker.go.set()
    assert await first == await second == b"answer 1"
    assert maker.made == 1


async def test_it_is_kept_for_a_while() -> None:
    now = 0.0
    idempotency, maker = Idempotency(MemoryAnswers(now=lambda: now), ttl_s=10), Maker()
    maker.go.set()
    assert await body(idempotency.follow("k", "f", maker)) == b"answer 1"
    running = idempotency.follow("k", "f", maker)
    assert await body(running) == b"answer 1"
    assert running.headers[-1] == (b"idempotent-replayed", b"true")
    assert await body(idempotency.follow("other", "f", maker)) == b"answer 2"
    now = 11
    assert await body(idempotency.follow("k", "f", maker)) == b"answer 3"


async def test_a_bad_answer_is_not_kept() -> None:
    idempotency, maker = Idempotency(), Maker(good=False)
    maker.go.set()
    assert await body(idempotency.follow("k", "f", maker)) == b"answer 1"
    assert await body(idempotency.follow("k", "f", maker)) == b"answer 2"


async def test_a_key_belongs_to_one_request() -> None:
    idempotency, maker = Idempotency(), Maker()
    running = idempotency.follow("k", "f", maker)
    with pytest.raises(IdempotencyError):
        idempotency.follow("k", "another", maker)
    maker.go.set()
    await body(running)
    other = idempotency.follow("k", "another", maker)
    assert not await other.head()
    assert isinstance(other.error, IdempotencyError)
    assert maker.made == 1


class BrokenState(MemoryState):
    """Fails in a way that no store should."""

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        raise RuntimeError("broken")


async def test_followers_are_told_why_there_is_no_answer() -> None:
    """A defect is not told as a key that was used before, because the caller could do nothing about it."""
    idempotency = Idempotency(SharedAnswers(BrokenState()))
    running = idempotency.follow("k", "f", Maker())
    assert not await running.head()
    assert str(running.error) == "broken"
    running.leave()


async def test_it_is_given_up_when_the_last_follower_leaves() -> None:
    idempotency, maker = Idempotency(), Maker()
    first, second = idempotency.follow("k", "f", maker), idempotency.follow("k", "f", maker)
    assert await first.head()
    first.leave()
    assert not first.abandoned.is_set()
    second.leave()
    assert first.abandoned.is_set()
    again = idempotency.follow("k", "f", maker)
    assert again is not first
    maker.go.set()
    assert await body(again) == b"answer 2"


async def test_the_store_is_bounded() -> None:
    answers = MemoryAnswers(max_bytes=10)
    await answers.keep("a", saved(b"12345678"), 60)
    await answers.keep("b", saved(b"12345678"), 60)
    assert await answers.claim("a", Running("f")) is None
    assert await answers.claim("b", Running("f")) is not None
    await answers.keep("b", saved(b"1"), 60)
    await answers.keep("c", saved(b"12345678"), 60)
    assert await answers.claim("b", Running("f")) is not None


async def test_a_very_long_answer_is_not_kept() -> None:
    async def make(running: Running) -> bool:
        running.start(200, ())
        await running.add(b"x" * (MAX_ANSWER_BYTES + 1))
        return True

    answers = MemoryAnswers()
    await body(Idempotency(answers).follow("k", "f", make))
    assert await answers.claim("k", Running("f")) is None


# --- back pressure ----------------------------------------------------------------------------------------------------


class Long:
    """Makes an answer of many pieces, as fast as it is let."""

    def __init__(self, pieces: int, size: int = 1000) -> None:
        self._pieces, self._size = pieces, size
        self.made = 0
        self.over = False

    async def __call__(self, running: Running) -> bool:
        running.start(200, ())
        for _ in range(self._pieces):
            await running.add(b"x" * self._size)
            self.made += 1
        self.over = True
        return True


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def take(pieces: AsyncIterator[bytes], number: int) -> int:
    """Take so many pieces, and come back for the next. Returns how many bytes they had."""
    return sum([len(await anext(pieces)) for _ in range(number)])


async def test_an_answer_is_made_as_fast_as_its_fastest_follower_takes_it() -> None:
    maker = Long(1000)
    idempotency = Idempotency()
    running = idempotency.follow("k", "f", maker)
    idempotency.follow("k", "f", maker)  # never reads
    pieces = running.pieces()
    assert await running.head()
    await settle()
    ahead = AHEAD_BYTES // 1000
    assert maker.made == ahead
    await take(pieces, 101)
    await settle()
    assert maker.made == ahead + 100
    assert await take(pieces, 899) == 899_000
    assert [piece async for piece in pieces] == []
    assert maker.over


async def test_a_slow_follower_sees_all_that_is_kept() -> None:
    maker = Long(1000)
    idempotency = Idempotency()
    fast, slow = idempotency.follow("k", "f", maker), idempotency.follow("k", "f", maker)
    slower = slow.pieces()
    await take(slower, 1)
    assert len(await body(fast)) == 1_000_000
    assert sum([len(piece) async for piece in slower]) == 999_000


async def test_of_a_long_answer_the_start_is_let_go_and_who_is_behind_is_told() -> None:
    size = 100_000
    maker = Long(MAX_ANSWER_BYTES // size + 50, size)
    answers = MemoryAnswers()
    idempotency = Idempotency(answers)
    running = idempotency.follow("k", "f", maker)
    idempotency.follow("k", "f", maker)
    near, behind, fast = running.pieces(), running.pieces(), running.pieces()
    await take(behind, 1)
    for follower, number in ((fast, 40), (near, 40), (fast, 21), (near, 13)):
        await take(follower, number)
    assert running._held_bytes <= MAX_ANSWER_BYTES + AHEAD_BYTES + size
    with pytest.raises(IdempotencyError, match="its start was dropped"):
        await take(behind, 2)
    with pytest.raises(IdempotencyError):
        idempotency.follow("k", "f", maker)
    assert sum([len(piece) async for piece in fast]) == 30 * size
    assert sum([len(piece) async for piece in near]) == (MAX_ANSWER_BYTES // size + 50 - 53) * size
    await idempotency.aclose()
    assert await answers.claim("k", Running("f")) is None


async def test_very_many_long_answers_are_not_kept() -> None:
    held = HeldBytes(max_bytes=10_000)
    one, other = Running("f", held), Running("f", held)
    for running in (one, other):
        running.join()
        running.start(200, ())
    pieces = one.pieces()
    for _ in range(9):
        await one.add(b"x" * 1000)
        await take(pieces, 1)
    assert one.whole
    await other.add(b"x" * 5000)
    await take(pieces, 0)
    await one.add(b"x" * 1000)
    assert await take(pieces, 1) == 1000
    assert not one.whole
    assert other.whole
    for running in (one, other):
        running.release()
    assert held.bytes == 0


async def test_who_makes_an_answer_that_nobody_follows_does_not_wait() -> None:
    maker = Long(1000)
    idempotency = Idempotency()
    running = idempotency.follow("k", "f", maker)
    await settle()
    assert not maker.over
    running.leave()
    await settle()
    assert maker.over


# --- several processes ------------------------------------------------------------------------------------------------


class Fleet:
    """Processes that share a state."""

    def __init__(self, lease_s: float = 60) -> None:
        self.state = MemoryState()
        self._lease_s = lease_s

    def process(self) -> Idempotency:
        return Idempotency(SharedAnswers(self.state, lease_s=self._lease_s, poll_s=0.001))


async def test_another_process_gives_the_same_answer() -> None:
    fleet, maker = Fleet(), Maker()
    maker.go.set()
    one, other = fleet.process(), fleet.process()
    assert await body(one.follow("k", "f", maker)) == b"answer 1"
    await one.aclose()
    running = other.follow("k", "f", maker)
    assert await body(running) == b"answer 1"
    assert running.headers[-1] == (b"idempotent-replayed", b"true")
    wrong = other.follow("k", "another", maker)
    assert not await wrong.head()
    assert maker.made == 1


async def test_another_process_waits_for_an_answer_in_the_making() -> None:
    fleet, maker = Fleet(lease_s=0.3), Maker()
    first = fleet.process().follow("k", "f", maker)
    assert await first.head()
    other = fleet.process()
    second = asyncio.create_task(body(other.follow("k", "f", maker)))
    wrong = fleet.process().follow("k", "another", maker)
    assert not await wrong.head()
    await asyncio.sleep(0.5)  # longer than the lease: it is renewed
    assert not second.done()
    maker.go.set()
    assert await body(first) == await second == b"answer 1"
    assert maker.made == 1


async def test_who_waits_takes_over_what_failed_or_was_given_up() -> None:
    fleet, bad, good = Fleet(), Maker(good=False), Maker()
    good.go.set()
    first = fleet.process().follow("k", "f", bad)
    assert await first.head()
    second = asyncio.create_task(body(fleet.process().follow("k", "f", good)))
    bad.go.set()
    assert (await body(first), await second) == (b"answer 1", b"answer 1")
    assert (bad.made, good.made) == (1, 1)


async def test_who_waits_takes_over_from_a_process_that_died() -> None:
    fleet, maker = Fleet(lease_s=0.05), Maker()
    maker.go.set()
    dead = Saved(fingerprint="f", status=0, headers=(), pieces=())
    await fleet.state.put("answer:k", msgspec.msgpack.encode(dead), 0.05)
    assert await body(fleet.process().follow("k", "f", maker)) == b"answer 1"


async def test_who_waits_takes_over_from_the_dead_though_the_clock_was_set_back() -> None:
    fleet, maker = Fleet(lease_s=0.05), Maker()
    maker.go.set()
    dead = Saved(fingerprint="f", status=0, headers=(), pieces=())
    await fleet.state.put("answer:k", msgspec.msgpack.encode(dead), 3600)  # by the clock it has an hour left
    async with asyncio.timeout(30):
        assert await body(fleet.process().follow("k", "f", maker)) == b"answer 1"


class Deaf(MemoryState):
    """A state whose answer is lost once."""

    lost = False

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        done = await super().put_new(key, value, ttl_s)
        done, self.lost = done and self.lost, True
        return done


async def test_an_entry_that_cannot_be_read_is_waited_for_like_a_mark() -> None:
    state, now, maker = MemoryState(), 0.0, Maker()
    maker.go.set()
    await state.put("answer:k", b"\xc1", 60)
    idempotency = Idempotency(SharedAnswers(state, lease_s=10, poll_s=0.001, now=lambda: now))
    waiting = asyncio.create_task(body(idempotency.follow("k", "f", maker)))
    await asyncio.sleep(0.01)
    assert not maker.made and not waiting.done()
    now = 20.0
    assert await waiting == b"answer 1"


async def test_a_claim_whose_answer_was_lost_is_known_again() -> None:
    maker = Maker()
    maker.go.set()
    idempotency = Idempotency(SharedAnswers(Deaf()))
    async with asyncio.timeout(60):
        assert await body(idempotency.follow("k", "f", maker)) == b"answer 1"


async def test_who_waits_may_leave() -> None:
    fleet, maker = Fleet(), Maker()
    first = fleet.process().follow("k", "f", maker)
    assert await first.head()
    other = fleet.process()
    other.follow("k", "f", maker).leave()
    await other.aclose()
    assert maker.made == 1
    maker.go.set()
    await body(first)


async def test_a_long_answer_is_not_shared() -> None:
    async def make(running: Running) -> bool:
        running.start(200, ())
        await running.add(b"x" * (MAX_SHARED_BYTES + 1))
        return True

    fleet = Fleet()
    process = fleet.process()
    await body(process.follow("k", "f", make))
    await process.aclose()
    assert await fleet.state.get("answer:k") is None
