"""Prompts are read in threads, and those that wait together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from semroute import Router
from semroute.config.load import load
from semroute.errors import OverloadedError
from semroute.gateway import encoder_threads
from semroute.gateway.encoder_threads import EncoderThreads
from semroute.routing.ask import find_ask
from semroute.routing.difficulty import Reading
from semroute.semantic.embedder import Features, OnnxEmbedder

ROUTES = """
providers: {local: {dialect: echo}}
models: {echo: {provider: local, name: echo}}
default: {models: [echo]}
routes:
  - {name: billing, utterances: [why was I charged twice, I want my money back], models: [echo]}
  - {name: travel, utterances: [book me a flight, find a hotel in Rome], models: [echo]}
"""


class Held(OnnxEmbedder):
    """The bundled model, which can be made to wait; and what it was asked for."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.go = threading.Event()
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        self.asked.append(list(texts))
        self.go.wait(60)
        if self.error is not None:
            raise self.error
        return super().featurize(texts)


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "routes.yaml").write_text(ROUTES)
    return Router.build(load(folder, {}))


def holding(router: Router) -> tuple[Router, Held]:
    embedder = Held()
    return Router(router.config, embedder, router.trained), embedder


async def ask(pool: EncoderThreads, router: Router, texts: Sequence[str]) -> list[asyncio.Task[Reading]]:
    asked = [asyncio.create_task(pool.read(router, find_ask(text))) for text in texts]
    await asyncio.sleep(0.05)
    return asked


async def test_what_waits_is_read_together_and_tells_the_same(router: Router) -> None:
    held, embedder = holding(router)
    pool = EncoderThreads(1)
    texts = ["why was I charged", "a hotel please", "hello there", "book me something nice for the weekend"]
    asked = await ask(pool, held, texts)
    embedder.go.set()
    found = await asyncio.gather(*asked)
    assert embedder.asked == [texts[:1], texts[1:]]
    for text, reading in zip(texts, found, strict=True):
        (alone,) = router.read([text])
        assert reading.match == alone.match and np.array_equal(reading.embedding, alone.embedding)
    pool.close()


async def sizes_read(router: Router, threads: int, prompts: int) -> list[int]:
    """How many prompts were read together, call by call, where all came at once."""
    held, embedder = holding(router)
    pool = EncoderThreads(threads)
    asked = await ask(pool, held, [f"prompt {number}" for number in range(prompts)])
    embedder.go.set()
    await asyncio.gather(*asked)
    pool.close()
    return [len(texts) for texts in embedder.asked]


async def test_threads_share_what_waits(router: Router) -> None:
    sizes = await sizes_read(router, threads=2, prompts=12)
    assert sizes[:2] == [1, 1] and max(sizes[2:]) <= encoder_threads.TOGETHER and sum(sizes) == 12 and len(sizes) <= 6


async def test_one_thread_takes_no_more_than_a_few(router: Router) -> None:
    assert await sizes_read(router, threads=1, prompts=20) == [1, encoder_threads.TOGETHER, encoder_threads.TOGETHER, 3]


async def test_who_has_left_is_not_read(router: Router) -> None:
    held, embedder = holding(router)
    pool = EncoderThreads(1)
    asked = await ask(pool, held, ["a", "b", "c"])
    asked[1].cancel()
    await asyncio.sleep(0)
    embedder.go.set()
    await asyncio.wait(asked)
    assert embedder.asked == [["a"], ["c"]]
    pool.close()


async def test_a_new_router_reads_its_own(router: Router) -> None:
    held, embedder = holding(router)
    other, its_embedder = holding(router)
    its_embedder.go.set()
    pool = EncoderThreads(1)
    asked = await ask(pool, held, ["a", "b"]) + await ask(pool, other, ["c", "d"])
    embedder.go.set()
    await asyncio.gather(*asked)
    assert embedder.asked == [["a"], ["b"]]
    assert its_embedder.asked == [["c", "d"]]
    pool.close()


async def test_an_error_reaches_all_who_asked_and_none_after(router: Router) -> None:
    held, embedder = holding(router)
    pool = EncoderThreads(1)
    asked = await ask(pool, held, ["a", "b", "c"])
    embedder.error = RuntimeError("out of memory")
    embedder.go.set()
    assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [RuntimeError] * 3
    embedder.error = None
    assert len((await pool.read(held, find_ask("d"))).embedding)
    pool.close()


async def test_too_many_are_turned_away(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_threads, "MAX_WAITING", 2)
    held, embedder = holding(router)
    pool = EncoderThreads(1)
    asked = await ask(pool, held, ["a", "b", "c"])
    with pytest.raises(OverloadedError, match="2 prompts are waiting"):
        await pool.read(held, find_ask("d"))
    with pytest.raises(OverloadedError, match="2 prompts are waiting"):
        await pool.run(lambda: None)
    embedder.go.set()
    await asyncio.gather(*asked)
    assert await pool.run(lambda: "done") == "done"
    pool.close()


async def test_what_no_thread_has_begun_is_cancelled_at_the_end() -> None:
    pool, go, begun = EncoderThreads(1), threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        go.wait(60)
        return "done"

    first = asyncio.create_task(pool.run(hold))
    await asyncio.sleep(0)
    second = asyncio.create_task(pool.run(lambda: "never"))
    await asyncio.to_thread(begun.wait, 60)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    await asyncio.wait([second], timeout=60)
    go.set()
    assert await first == "done"
    assert second.cancelled()
    await closing
