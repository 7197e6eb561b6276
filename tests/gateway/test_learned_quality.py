"""What is learned of the models' quality: read by every process, spent within a budget, used by decisions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from semroute import Router
from semroute.access.trial_budget import TrialBudget
from semroute.config.config import Config
from semroute.config.schema.policies import Learn, Policy
from semroute.config.schema.routes import Default
from semroute.decision import Decision, Signals
from semroute.errors import StoreError
from semroute.gateway.gateway import Gateway
from semroute.gateway.learned_quality import PARTS, LearnedQuality, Purse, budget_name
from semroute.gateway.serving import InService, Serving
from semroute.learning.decide_again import Decider
from semroute.learning.learned_table import learned_table
from semroute.learning.logged_decisions import open_log
from semroute.messages import Usage, new_id
from semroute.providers.transport import Transport
from semroute.record import Attempt, Record
from semroute.routing.decide import choose_static, decide
from semroute.stores.decision_log import SqlLog
from semroute.stores.grades import DayOfGrades, read_grades
from semroute.stores.interfaces import Database, Feedback, Query
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.routing.build import ALL, LARGE, SMALL, config, facts, model, request, route
from tests.stores.conftest import NOW, Clock
from tests.stores.test_decision_log import record

DAY = int(NOW // 86_400)
LEARN = Policy(select="best", learn=Learn(prior_weight=10, equal_within=0.0))
LEARNING = config(SMALL, LARGE, routes=(route(),), policy=LEARN)
ROUTES = """
providers: {local: {dialect: echo}}
models:
  small: {provider: local, name: small, tier: simple, input_price: 1, output_price: 1, quality: 0.7}
  large: {provider: local, name: large, tier: complex, input_price: 100, output_price: 100, quality: 0.75}
default: {models: [large]}
log: {features: true}
policy: {select: best, learn: {prior_weight: 5, caution: 1, explore_usd_per_day: BUDGET}}
routes: [{name: billing, models: [small, large], utterances: [pay, refund, invoice, charged twice, my money]}]
"""


class Book:
    """Grades that a test writes, and a database that a test can break."""

    def __init__(self, days: Iterable[DayOfGrades] = ()) -> None:
        self.days, self.revision, self.error, self.reads = list(days), 1, "", 0

    def add(self, *days: DayOfGrades) -> None:
        self.days += days
        self.revision += 1

    async def read(self, since_day: int, known: int | None) -> tuple[int, list[DayOfGrades] | None]:
        if self.error:
            raise StoreError(self.error)
        self.reads += 1
        if known == self.revision:
            return self.revision, None
        return self.revision, [day for day in self.days if day.day >= since_day]


def learned(book: Book, clock: Clock, config: Config = LEARNING, state: MemoryState | None = None) -> LearnedQuality:
    budget = TrialBudget(state or MemoryState(clock), clock)
    return LearnedQuality(lambda: config, book.read, budget, clock)


def signals(found: LearnedQuality, config: Config = LEARNING, name: str = "auto:billing") -> Signals:
    choice = choose_static(config, request(model=name), facts())
    assert choice is not None
    return found.signals(config, choice, Signals())


def means(found: LearnedQuality, config: Config = LEARNING, name: str = "auto:billing") -> dict[str, float]:
    return {id_: round(belief.mean, 4) for id_, belief in signals(found, config, name).beliefs.items()}


def grade(name: str, number: int, score: float, on: str = "billing", day: int = DAY) -> DayOfGrades:
    return DayOfGrades(on, name, "feedback", day, number, score)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- grades -----------------------------------------------------------------------------------------------------------


async def test_before_the_first_look_the_stated_quality_counts_and_nothing_is_tried(clock: Clock) -> None:
    found = learned(Book(), clock)
    assert signals(found) == Signals()
    await found.look()
    assert means(found) == {"small": 0.7, "large": 0.95} and (signals(found).explore_usd or 0) > 0


async def test_new_grades_count_from_the_next_look_on(clock: Clock) -> None:
    book = Book([grade("small", 10, 0.0), grade("gone", 5, 5.0)])
    found = learned(book, clock)
    await found.look()
    assert means(found) == {"small": 0.35, "large": 0.95}
    book.add(grade("large", 10, 2.5))
    await found.look()
    assert means(found) == {"small": 0.35, "large": 0.6}


async def test_half_of_what_other_routes_say_moves_the_prior(clock: Clock) -> None:
    found = learned(Book([grade("small", 30, 30.0, on="other")]), clock)
    await found.look()
    # 30 grades are better than the stated 0.7 by 9 in all. The prior counts as 10 grades.
    assert means(found) == {"small": pytest.approx(0.7 + 0.5 * 9 / 40, abs=1e-4), "large": 0.95}
    found = learned(Book([grade("small", 30, 30.0, on="other"), grade("small", 10, 0.0)]), clock)
    await found.look()
    assert means(found)["small"] == pytest.approx((7 + 10 * 0.5 * 9 / 40) / 20, abs=1e-4)


async def test_old_grades_lose_weight_as_days_pass_without_new_ones(clock: Clock) -> None:
    config = replace_learn(half_life_days=1)
    found = learned(Book([grade("small", 20, 0.0)]), clock, config)
    await found.look()
    before = means(found, config)["small"]
    clock.now += 86_400
    await found.look()
    assert before == pytest.approx(7 / 30, abs=1e-4) and means(found, config)["small"] == pytest.approx(7 / 20)
    clock.now += 30 * 86_400
    await found.look()
    assert means(found, config)["small"] == 0.7


def replace_learn(**fields: Any) -> Config:
    return config(SMALL, LARGE, routes=(route(),), policy=Policy(select="best", learn=Learn(prior_weight=10, **fields)))


async def test_another_stated_quality_changes_the_prior_and_keeps_the_grades(clock: Clock) -> None:
    found = learned(Book([grade("small", 10, 0.0)]), clock)
    await found.look()
    better = model("small", quality=0.9)
    changed = config(better, LARGE, routes=(route(),), policy=LEARN)
    assert means(found)["small"] == 0.35 and means(found, changed)["small"] == 0.45
    by_route = config(
        model("small", quality=0.9, quality_by_route={"billing": 0.5}), LARGE, routes=(route(),), policy=LEARN
    )
    assert means(found, by_route)["small"] == 0.25


async def test_the_grades_of_deployments_count_for_their_model(clock: Clock) -> None:
    places = (SMALL, model("small@q", group="small", quality=0.7), LARGE)
    deployed = config(*places, routes=(route(),), policy=LEARN)
    book = Book([grade("small", 5, 0.0), grade("small@q", 5, 0.0), grade("large@gone", 10, 9.5)])
    found = learned(book, clock, deployed)
    await found.look()
    assert means(found, deployed) == {"small": 0.35, "large": 0.95}
    assert signals(found, deployed).beliefs["large"].bad == pytest.approx(1.0)


async def test_each_policy_has_its_own_settings_and_its_own_budget(clock: Clock) -> None:
    own = Policy(select="best", learn=Learn(prior_weight=100, explore_usd_per_day=Decimal(4)))
    mixed = config(
        *ALL,
        routes=(route(), route("coding", policy=own), route("plain", policy=Policy())),
        policy=LEARN,
        default=Default(models=("small",), policy=own),
    )
    found = learned(Book([grade("small", 10, 0.0, on=on) for on in ("billing", "coding", "plain", "")]), clock, mixed)
    await found.look()
    others = 0.5 * 3 * -7  # each of the other three has ten grades, which are worse by 7 in all
    assert means(found, mixed)["small"] == pytest.approx((7 + 10 * others / 40) / 20, abs=1e-4)
    assert means(found, mixed, "auto:coding")["small"] == pytest.approx((70 + 100 * others / 130) / 110, abs=1e-4)
    assert signals(found, mixed, "auto:plain") == Signals() == signals(found, mixed, "small")
    assert signals(found, mixed, "auto:coding").explore_usd == pytest.approx(4 / PARTS)
    names = [budget_name(mixed, name, "semantic") for name in ("billing", "coding", None)]
    assert names == ["learn", "learn:route:coding", "learn:default"] and budget_name(mixed, None, "rule") == "learn"


async def test_without_a_policy_that_learns_nothing_is_read(clock: Clock) -> None:
    book, plain = Book(), config(*ALL, routes=(route(),))
    found = learned(book, clock, plain)
    await found.look()
    assert book.reads == 0 and signals(found, plain) == Signals()


async def test_while_the_database_is_away_what_was_learned_last_counts(clock: Clock) -> None:
    book = Book([grade("small", 10, 0.0)])
    found = learned(book, clock)
    await found.look()
    book.error = "the disk is full"
    await found.look()
    assert found.trouble == "the disk is full" and means(found)["small"] == 0.35
    book.error = ""
    book.add(grade("small", 10, 0.0))
    await found.look()
    assert found.trouble is None and means(found)["small"] == pytest.approx(7 / 30, abs=1e-4)


async def test_feedback_reaches_every_process_and_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    writer, reader = SqliteDatabase(tmp_path / "x.db"), SqliteDatabase(tmp_path / "x.db")
    migrate(writer)
    state = MemoryState(clock)

    def process(database: Database) -> LearnedQuality:
        async def read(since_day: int, known: int | None) -> tuple[int, list[DayOfGrades] | None]:
            return await asyncio.to_thread(read_grades, database, since_day, known)

        return LearnedQuality(lambda: LEARNING, read, TrialBudget(state, clock), clock)

    one, two = process(writer), process(reader)
    await one.look()
    await two.look()
    SqlLog(writer).write([record(1)])
    for score, expected in ((0.0, 7 / 11), (1.0, 8 / 11)):  # the second feedback replaces the first
        SqlLog(writer).feed_back(record(1).request_id, Feedback(score=score), NOW)
        await one.look()
        await two.look()
        assert means(one)["small"] == means(two)["small"] == pytest.approx(expected, abs=1e-4)
    later = process(reader)
    await later.look()
    assert means(later) == means(one)
    writer.close()
    reader.close()


# --- the budget -------------------------------------------------------------------------------------------------------


async def test_all_processes_together_stay_within_the_budget(clock: Clock) -> None:
    state, budget = MemoryState(clock), Decimal("1.00")
    tills = [Purse("learn") for _ in range(3)]
    spent = Decimal(0)
    for number in range(400):
        till = tills[number % 3]
        await till.refill(TrialBudget(state, clock), budget, clock.now)
        extra = Decimal("0.011")
        if till.room_usd >= extra:
            till.spent_usd += extra
            spent += extra
        clock.now += 15
    assert Decimal("0.85") < spent <= budget
    for till in tills:
        await till.close(TrialBudget(state, clock))
    assert await TrialBudget(state, clock).spent_usd("learn") == spent


async def test_a_new_day_has_a_new_budget(clock: Clock) -> None:
    budget, till = TrialBudget(MemoryState(clock), clock), Purse("learn")
    await till.refill(budget, Decimal(1), clock.now)
    till.spent_usd += Decimal(2)  # an answer was longer than expected
    clock.now += 60
    await till.refill(budget, Decimal(1), clock.now)
    assert till.room_usd <= 0, "the day's budget is spent"
    clock.now += 86_400
    await till.refill(budget, Decimal(1), clock.now)
    assert till.room_usd == Decimal(1) / PARTS


async def test_what_may_be_spent_is_set_aside_until_the_request_ends(clock: Clock) -> None:
    dear = config(SMALL, LARGE, routes=(route(),), policy=LEARN)
    found = learned(Book([grade("small", 10, 10.0), grade("large", 10, 7.0)]), clock, dear)
    await found.look()
    router_decision = tried_decision(found, dear)
    room = signals(found, dear).explore_usd
    found.begin(dear, router_decision)
    set_aside = signals(found, dear).explore_usd
    costs = {entry.model: float(entry.cost_usd) for entry in router_decision.plan_details}
    assert room is not None and set_aside == pytest.approx(room - (costs["large"] - costs["small"]))
    usage = Usage(input_tokens=1000, output_tokens=1000)
    call = Attempt(model="large", status="ok", latency_ms=1, usage=usage, cost_usd=Decimal("0.018"))
    found.finish(
        Record(request_id=router_decision.id, decision=router_decision, attempts=(call,), outcome="ok", overhead_ms=0)
    )
    assert signals(found, dear).explore_usd == pytest.approx(room - (0.018 - 0.0005)) and not found.spending


def tried_decision(found: LearnedQuality, config: Config) -> Decision:
    """Return a decision that tries the larger model."""
    for number in range(500):
        asked = request(id=f"r{number}", model="auto:billing")
        choice = choose_static(config, asked, facts())
        assert choice is not None
        decision = decide(config, asked, facts(), choice, found.signals(config, choice, Signals()))
        if decision.explored and decision.model == "large":
            return decision
    raise AssertionError("nothing was tried")


# --- the whole way ----------------------------------------------------------------------------------------------------


async def served(gateway: Gateway, times: int) -> list[Record]:
    records = []
    for _ in range(times):
        call = await gateway.open(request("pay", id=new_id(), model="auto:billing"))
        await call.complete()
        records.append(call.account.record)
    return records


async def test_the_service_tries_learns_and_settles_and_a_replay_decides_the_same(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "routes.yaml").write_text(ROUTES.replace("BUDGET", "1"))
    url = tmp_path / "x.db"
    database, router = SqliteDatabase(url), Router.load(tmp_path / "routes")
    migrate(database)
    log, transport, kept = SqlLog(database), Transport(), list[Record]()
    in_service, state = InService(Serving.open(router, transport, echo=True)), MemoryState()

    async def read(since_day: int, known: int | None) -> tuple[int, list[DayOfGrades] | None]:
        return await asyncio.to_thread(read_grades, database, since_day, known)

    found = LearnedQuality(in_service.config, read, TrialBudget(state))
    gateway = Gateway(in_service, kept.append, learned=found)
    await found.look()
    records = await served(gateway, 60)
    first = Counter((record.model, record.decision.explored) for record in records)
    assert first.keys() == {("large", False), ("small", True)}, "two models that are hardly known are both tried"
    log.write(kept)
    for one in records:
        log.feed_back(one.request_id, Feedback(score=float(one.model == "small")), one.at)
    await found.look()
    after = await served(gateway, 40)
    assert {record.model for record in after} == {"small"}, "people liked the answers of `small` only"
    _, days = await read(0, None)
    rows = learned_table(in_service.config(), days or (), int(records[0].at // 86_400))
    assert {row.model: row.feedback for row in rows if row.route} == {name: n for (name, _), n in first.items()}
    assert not found.spending, "all requests have ended"

    source = open_log(f"sqlite:///{url}", "")
    again = list(Decider(router).decide(list(source.read(Query()))))
    decided = {one.row.id: one.decision for one in again if one.decision is not None}
    assert {one.request_id: (one.model, one.decision.propensity) for one in records} == {
        id_: (decision.model, decision.propensity) for id_, decision in decided.items()
    }
    assert not any(one.missing for one in again)
    await found.aclose()
    await gateway.aclose()
    await transport.aclose()
    database.close()
