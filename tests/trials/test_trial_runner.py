"""Trials beside requests: which are drawn, when they are dropped, and that none is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from semroute import Router
from semroute.access.trial_budget import TrialBudget
from semroute.config.config import Config
from semroute.decision import Decision
from semroute.dialects.openai.client import OpenAI
from semroute.errors import StoreError
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.gateway.trial_queue import Served
from semroute.messages import ChatRequest, Text
from semroute.providers.transport import Transport
from semroute.record import Record, Trial, TrialPurpose
from semroute.stores.memory import MemoryState
from semroute.trials import pace, trial_runner
from semroute.trials.trial_runner import TrialMeans, Trials, trial_of

ROUTES = """
providers: {echo: {dialect: openai, base_url: "http://127.0.0.1:9/v1", api_key: sk-none-0123}}
models: {small: {provider: echo, name: m}}
default: {models: [small]}
"""


class Kind:
    """A kind of trial that does nothing but note what it was given."""

    purpose: TrialPurpose = "judge"

    def __init__(self, chance: float = 1.0, wait: asyncio.Event | None = None) -> None:
        self.served: list[Served] = []
        self.all_at_work = asyncio.Event()
        self._chance = chance
        self._wait = wait

    def wanted(self, config: Config) -> bool:
        return True

    def chance(self, request: ChatRequest, decision: Decision, config: Config) -> float:
        return self._chance

    async def run(self, served: Served, means: TrialMeans) -> Sequence[Trial]:
        self.served.append(served)
        if len(self.served) == trial_runner.WORKERS:
            self.all_at_work.set()
        if self._wait is not None:
            await self._wait.wait()
        return [trial_of(served, "judge", 5.0, (), served_score=1.0)]


class Books:
    """Takes trials unless it is away."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.away = False
        self.taken = asyncio.Event()

    async def append(self, trials: Sequence[Trial]) -> None:
        if self.away:
            raise StoreError("away")
        self.trials += trials
        self.taken.set()


async def idle() -> float:
    return 0.0


def trials_of(kind: Kind, books: Books, looked: Callable[..., object] = idle, **given: object) -> Trials:
    return Trials([kind], TrialBudget(MemoryState()), books.append, looked=looked, **given)  # type: ignore[arg-type]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[InService]:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    yield InService(Serving.open(Router.load(tmp_path), Transport(), echo=True))


async def answered(serving: InService, trials: Trials, *, stream: bool, user: str = "ann") -> Record:
    records: list[Record] = []
    gateway = Gateway(serving, records.append)
    gateway.recorder.trials = trials
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}], "user": user, "stream": stream}
    call = await gateway.open(OpenAI().parse_request(body, "0123"))
    if stream:
        async for _ in await call.stream():
            pass
    else:
        await call.complete()
    await gateway.aclose()
    return records[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_drawn_request_reaches_its_trial_with_its_answer(serving: InService, stream: bool) -> None:
    kind, books = Kind(chance=0.5), Books()
    trials = trials_of(kind, books, rng=random.Random(3))
    record = await answered(serving, trials, stream=stream)
    running = asyncio.create_task(trials.run())
    await books.taken.wait()
    running.cancel()
    await asyncio.wait([running])
    assert "".join(part.text for part in kind.served[0].answer if isinstance(part, Text))
    assert record.answer is None, "the log keeps no text"
    trial = books.trials[0]
    assert (trial.id, trial.decision, trial.served) == ("0123:judge", "0123", "small")
    assert trial.propensity == 0.5 and trial.unit == record.unit
    assert record.unit.startswith("u") and len(record.unit) == 17


async def test_a_request_that_is_not_drawn_keeps_no_answer(serving: InService) -> None:
    kind = Kind(chance=0.0)
    trials = trials_of(kind, Books())
    await answered(serving, trials, stream=True)
    assert trials._queue.empty()


async def test_a_full_queue_drops_and_counts(serving: InService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runner, "WAITING", 1)
    dropped: list[tuple[str, str, int]] = []
    trials = trials_of(Kind(), Books(), on_drop=lambda *each: dropped.append(each))
    for _ in range(3):
        await answered(serving, trials, stream=False)
    assert dropped == [("judge", "queue full", 1)] * 2
    assert trials.dropped == {("judge", "queue full"): 2}


async def test_a_busy_event_loop_comes_first(serving: InService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runner, "REST_S", 0.0)
    monkeypatch.setattr(trial_runner, "LOOKS", 3)
    looks: list[int] = []
    gone = asyncio.Event()

    async def busy() -> float:
        looks.append(1)
        return 1.0

    kind = Kind()
    trials = trials_of(kind, Books(), busy, on_drop=lambda *_: gone.set())
    await answered(serving, trials, stream=False)
    running = asyncio.create_task(trials.run())
    await gone.wait()
    running.cancel()
    await asyncio.wait([running])
    assert len(looks) == 3 and kind.served == []
    assert trials.dropped == {("judge", "busy"): 1}


async def test_trials_wait_for_a_database_that_is_away(serving: InService) -> None:
    books = Books()
    books.away = True
    trials = trials_of(Kind(), books)
    trials._ended.append(Trial(id="a:judge", decision="a", at=1, purpose="judge"))
    await trials.write()
    assert trials.trouble == "away" and books.trials == []
    books.away = False
    await trials.aclose()
    assert trials.trouble is None and [one.id for one in books.trials] == ["a:judge"]


async def test_what_waits_at_a_stop_is_counted(serving: InService) -> None:
    hold = asyncio.Event()
    kind = Kind(wait=hold)
    trials = trials_of(kind, Books())
    for _ in range(trial_runner.WORKERS + 2):
        await answered(serving, trials, stream=False)
    running = asyncio.create_task(trials.run())
    await kind.all_at_work.wait()
    running.cancel()
    await asyncio.wait([running])
    assert trials.dropped == {("judge", "shutdown"): trial_runner.WORKERS + 2}


async def test_a_busy_process_passes_requests_over_and_counts_them(
    serving: InService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "BURST", 3)
    monkeypatch.setattr(pace, "PER_S", 0.0)
    moments, used = itertools.count(), itertools.count()  # a processor core all the time
    dropped: list[tuple[str, str, int]] = []
    kind = Kind()
    trials = trials_of(
        kind,
        Books(),
        on_drop=lambda *each: dropped.append(each),
        now=lambda: float(next(moments)),
        used=lambda: float(next(used)),
    )
    for _ in range(5):
        await answered(serving, trials, stream=False)
    await trials.write()
    assert dropped == [("all", "pace", 2)]


async def test_what_waited_before_the_process_got_busy_begins_at_the_pace(
    serving: InService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "REST_S", 0.0)
    monkeypatch.setattr(trial_runner, "LOOKS", 2)
    monkeypatch.setattr(pace, "BURST", 2)
    monkeypatch.setattr(pace, "PER_S", 0.0)
    moment, gone = [0.0], asyncio.Event()
    kind = Kind()
    trials: Trials = trials_of(
        kind,
        Books(),
        on_drop=lambda *_: gone.set() if trials.dropped.total() == 3 else None,
        now=lambda: moment[0],
        used=lambda: moment[0],
    )
    for _ in range(5):
        await answered(serving, trials, stream=False)
    moment[0] = 2.0
    running = asyncio.create_task(trials.run())
    await gone.wait()
    running.cancel()
    await asyncio.wait([running])
    assert len(kind.served) == 2 and trials.dropped == {("judge", "busy"): 3}
