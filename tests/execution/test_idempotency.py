from __future__ import annotations

import asyncio

import pytest

from semroute.errors import IdempotencyError
from semroute.execution.idempotency import MAX_ANSWER_BYTES, Idempotency, MemoryAnswers, Running, Saved


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
        running.add(b"answer ")
        await self.go.wait()
        running.add(str(self.made).encode())
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
    assert maker.made == 1


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
    await answers.put("a", saved(b"12345678"), 60)
    await answers.put("b", saved(b"12345678"), 60)
    assert await answers.get("a") is None
    assert await answers.get("b") is not None
    await answers.put("b", saved(b"1"), 60)
    await answers.put("c", saved(b"12345678"), 60)
    assert await answers.get("b") is not None


async def test_a_very_long_answer_is_not_kept() -> None:
    async def make(running: Running) -> bool:
        running.start(200, ())
        running.add(b"x" * (MAX_ANSWER_BYTES + 1))
        return True

    answers = MemoryAnswers()
    await body(Idempotency(answers).follow("k", "f", make))
    assert await answers.get("k") is None
