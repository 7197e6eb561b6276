"""Requests in the arms of experiments: who goes where, what is recorded, and what arms may spend."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from semroute import reload
from semroute.access.accounts import Accounts
from semroute.access.trial_budget import TrialBudget
from semroute.caller import Caller
from semroute.config.folder import read_files
from semroute.execution.sessions import Sessions
from semroute.gateway.experiment_arms import days_of
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import EMBEDDINGS, ChatRequest, Message, Params, Text
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.stores.experiment_store import Run
from semroute.stores.memory import MemoryState

NOW = 1_780_000_000.0
ROUTES = """
providers: {local: {dialect: echo}}
models:
  large: {provider: local, name: large, input_price: 10, output_price: 10}
  small: {provider: local, name: small, input_price: 1, output_price: 1}
default: {models: [large]}
"""
HALVES = "experiments: {trial: {arms: {control: {}, cheap: {models: [small]}}%s}}"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Bench:
    """A gateway whose experiments run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.transport, self.records, self.state = Transport(), list[Record](), MemoryState(self.clock)
        self.numbers = iter(range(10**6))

    def serve(self, experiments: str, *, started: bool = True, routes: str = ROUTES) -> None:
        """Put route files into service, as a reload does."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "routes.yaml").write_text(routes)
        (self.folder / "experiments.yaml").write_text(experiments)
        router = reload.build(read_files(self.folder))
        serving = Serving.open(router, self.transport, echo=True)
        if not hasattr(self, "in_service"):
            self.in_service = InService(serving)
            self.gateway = Gateway(
                self.in_service,
                self.records.append,
                accounts=Accounts(self.state),
                sessions=Sessions(),
                clock=self.clock,
            )
            self.gateway.recorder.arm_budget = TrialBudget(self.state, self.clock)
        self.in_service.serving = serving
        if started:
            self.gateway.experiments.runs = {each.name: Run(started_at=NOW) for each in serving.experiments}

    async def ask(
        self,
        user: str = "",
        caller: Caller = Caller(id="k"),
        *,
        session: str = "",
        feature: str = "",
        endpoint: str = "chat",
    ) -> Record:
        """Return the record of a request."""
        request = ChatRequest(
            id=f"{next(self.numbers):028x}",
            messages=(Message(role="user", parts=(Text(text="hello"),)),),
            params=Params(user=user, max_tokens=100),
            session=session,
            metadata={"feature": feature} if feature else {},
            model="small" if endpoint == EMBEDDINGS else "auto",
            endpoint=endpoint,
        )
        call = await self.gateway.open(request, caller)
        await (call.decided() if endpoint == EMBEDDINGS else call.complete())
        await self.gateway.recorder.written()
        return self.records[-1]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "routes")
    yield made
    await made.gateway.aclose()
    await made.transport.aclose()


async def test_each_user_stays_in_an_arm_which_the_record_and_the_explanation_name(bench: Bench) -> None:
    bench.serve(HALVES % "")
    arms = {}
    for number in range(60):
        record = await bench.ask(f"user-{number}")
        assert record.experiment == "trial"
        assert record.model == {"control": "large", "cheap": "small"}[record.arm]
        assert record.decision.explanation.endswith(f"; arm {record.arm} of the experiment trial")
        arms[number] = record.arm
    assert 15 < Counter(arms.values())["cheap"] < 45
    bench.serve(HALVES % ", least_days: 3")  # a reload in the middle
    assert {number: (await bench.ask(f"user-{number}")).arm for number in range(60)} == arms


@pytest.mark.parametrize("by", ["session", "key"])
async def test_without_a_user_the_conversation_counts_and_then_the_key(bench: Bench, by: str) -> None:
    bench.serve(HALVES % "")

    async def arms() -> list[str]:
        names = [f"{by}-{number}" for number in range(20)]
        if by == "session":
            return [(await bench.ask(session=name)).arm for name in names]
        return [(await bench.ask(caller=Caller(id=name))).arm for name in names]

    first = await arms()
    assert await arms() == first
    assert len(set(first)) == 2


async def test_requests_of_nobody_known_are_spread(bench: Bench) -> None:
    bench.serve(HALVES % "")
    arms = Counter([(await bench.ask(caller=Caller())).arm for _ in range(60)])
    assert 15 < arms["cheap"] < 45


async def test_other_requests_take_no_part(bench: Bench) -> None:
    bench.serve(HALVES % ", only: {teams: [shop], features: [search]}")
    inside = Caller(id="k", team="shop")
    assert (await bench.ask("u", inside, feature="search")).experiment == "trial"
    for record in (
        await bench.ask("u", inside, feature="mail"),
        await bench.ask("u", Caller(id="k"), feature="search"),
        await bench.ask("u", inside, feature="search", endpoint=EMBEDDINGS),
    ):
        assert (record.experiment, record.arm) == ("", "")


async def test_an_experiment_runs_only_in_its_days_and_only_while_it_is_not_ended(bench: Bench) -> None:
    bench.serve(HALVES % ", start: 2026-05-29, end: 2026-05-30")
    [each] = bench.in_service.serving.experiments
    first, last = days_of(each.experiment)
    for moment, runs in ((first - 1, False), (first, True), (last - 1, True), (last, False)):
        bench.clock.now = moment
        records = [await bench.ask(f"user-{number}") for number in range(10)]
        assert [bool(record.experiment) for record in records] == [runs] * 10
        assert runs or {record.model for record in records} == {"large"}
    bench.clock.now = first
    bench.gateway.experiments.runs = {"trial": Run(started_at=NOW, ended_at=NOW)}
    assert not any([(await bench.ask(f"user-{number}")).experiment for number in range(10)])


async def test_an_experiment_can_follow_one_that_has_ended(bench: Bench) -> None:
    arms = "arms: {control: {}, cheap: {models: [small]}}"
    bench.serve(f"experiments: {{one: {{{arms}, end: 2026-05-28}}, two: {{{arms}, start: 2026-05-29}}}}")
    bench.gateway.experiments.runs = {name: Run(started_at=NOW) for name in ("one", "two")}
    [one, _] = bench.in_service.serving.experiments
    bench.clock.now = days_of(one.experiment)[1] - 1
    assert (await bench.ask("u")).experiment == "one"
    bench.clock.now += 1
    assert (await bench.ask("u")).experiment == "two"


async def test_the_clock_of_the_database_decides(bench: Bench) -> None:
    bench.serve(HALVES % ", start: 2026-05-29")
    [each] = bench.in_service.serving.experiments
    bench.clock.now = days_of(each.experiment)[0] - 3600
    assert (await bench.ask("u")).experiment == ""
    bench.gateway.experiments.ahead_s = 3600.0
    assert (await bench.ask("u")).experiment == "trial"


async def test_nothing_runs_before_the_database_was_read(bench: Bench) -> None:
    bench.serve(HALVES % "", started=False)
    assert (await bench.ask("u")).experiment == ""


async def test_a_spent_budget_sends_all_to_control_until_the_next_day(bench: Bench) -> None:
    bench.serve(HALVES % ", budget_usd_per_day: 0.0003")
    spent = Decimal(0)
    for number in range(40):
        record = await bench.ask(f"user-{number}")
        spent += record.cost_usd if record.arm == "cheap" else 0
    assert 0 < spent <= Decimal("0.0003")
    late = [await bench.ask(f"user-{number}") for number in range(20)]
    assert {(record.experiment, record.model) for record in late} == {("", "large")}
    name = "experiment:trial"
    assert await TrialBudget(bench.state, bench.clock).spent_usd(name) == spent
    bench.clock.now += 86_400
    assert {(await bench.ask(f"user-{number}")).experiment for number in range(20)} == {"trial"}


async def test_a_caller_who_leaves_before_the_call_holds_the_budget_for_an_hour_at_most(bench: Bench) -> None:
    bench.serve(HALVES % ", budget_usd_per_day: 0.0003")
    for number in range(40):
        request = ChatRequest(
            id=f"left-{number:023x}",
            messages=(Message(role="user", parts=(Text(text="hello"),)),),
            params=Params(user=f"user-{number}", max_tokens=100),
        )
        await bench.gateway.open(request, Caller(id="k"))
    budget = TrialBudget(bench.state, bench.clock)
    assert await budget.spent_usd("experiment:trial") > 0
    bench.clock.now += 3601
    assert await budget.spent_usd("experiment:trial") == 0


async def test_a_refused_request_is_decided_again_by_control(bench: Bench) -> None:
    bench.serve(HALVES % ", budget_usd_per_day: 0")
    for number in range(10):
        record = await bench.ask(f"user-{number}")
        assert (record.model, "experiment" in record.decision.explanation) == ("large", record.arm == "control")
        assert record.arm in ("", "control")


async def test_a_folder_is_an_arm_with_an_index_of_its_own(bench: Bench) -> None:
    other = bench.folder.parent / "candidate"
    other.mkdir()
    words = "[hello, hi there, good morning, good evening, howdy]"
    (other / "routes.yaml").write_text(f"{ROUTES}routes: [{{name: greeting, models: [small], utterances: {words}}}]")
    bench.serve("experiments: {trial: {arms: {control: {}, new: {folder: ../candidate}}}}")
    routes: Counter[tuple[str, str | None]] = Counter()
    for number in range(30):
        record = await bench.ask(f"user-{number}")
        routes[record.arm, record.decision.route] += 1
    assert set(routes) == {("control", None), ("new", "greeting")}
    arms = bench.in_service.serving.experiments[0].arms
    assert arms["new"].deployments is arms["control"].deployments
    assert arms["new"].router.embedder is arms["control"].router.embedder


async def test_arms_have_the_prices_of_the_day(bench: Bench) -> None:
    dated = "input_price: 1, output_price: 1, prices: [{from: 2100-01-01, input: 5, output: 5}]}"
    bench.serve(HALVES % "", routes=ROUTES.replace("input_price: 1, output_price: 1}", dated))
    for day, price in (("2099-12-31", 1), ("2100-01-01", 5)):
        [each] = bench.in_service.price_on(datetime.date.fromisoformat(day)).experiments
        assert each.arms["cheap"].router.config.models["small"].input_price == price
