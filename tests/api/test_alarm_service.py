"""Alarms in the service: several processes with one log, the webhook, and what callers see."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from semroute.api import alarm_service, alarm_webhook
from semroute.api.alarm_service import LATE_S, PAUSES_S, Alarms
from semroute.api.app import create_app
from semroute.config.config import Config
from semroute.config.schema.alarms import AlarmSettings, AlarmWebhook
from semroute.config.schema.routes import Default
from semroute.errors import StoreError
from semroute.providers.transport import Transport
from semroute.settings import Settings
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback
from semroute.stores.leadership import SILENT_LOOKS
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from semroute.telemetry.prometheus import Metrics
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import record

DIM = 12
GIVE_UP_S = 7200.0
SETTINGS = AlarmSettings(reference_requests=2000, reference_scores=50)
ROUTES = """
providers: {here: {dialect: echo}}
models: {small: {provider: here, name: s, input_price: 1, output_price: 1}}
default: {models: [small]}
routes: [{name: weather, models: [small], utterances: [will it rain, is it cold, is it hot, is it windy, any snow]}]
"""


class Rig:
    """A log, and processes that watch it. One request comes each second; a test says when a process looks."""

    def __init__(self, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "semroute.db")
        migrate(self.database)
        self.log = SqlLog(self.database)
        self.transport = Transport()
        self.settings: AlarmSettings | None = SETTINGS
        self.now = NOW
        self.sent = 0
        self.pauses: list[float] = []
        self.away = False
        self._random = np.random.default_rng(3)
        self._topics = self._random.normal(size=(5, DIM))

    def process(self, metrics: Metrics | None = None) -> Alarms:
        async def ask(work: Any, *arguments: Any) -> Any:
            if self.away:
                raise StoreError("the database is away")
            return work(*arguments)

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            self.now += seconds

        return Alarms(self.database, self.config, self.transport, metrics, ask=ask, clock=lambda: self.now, pause=pause)

    def config(self) -> Config:
        return Config(providers={}, models={}, default=Default(models=()), routes={}, alarms=self.settings)

    def requests(self, number: int, *, new: bool = False) -> None:
        """Write requests to the log: of four topics, or of a new one."""
        topics = np.full(number, 4) if new else self._random.integers(4, size=number)
        vectors = (self._topics[topics] + 0.5 * self._random.normal(size=(number, DIM))).astype("<f2")
        made = []
        for vector in vectors:
            self.sent += 1
            one = record(self.sent, embedding=vector.tobytes(), encoder="e")
            made.append(replace(one, decision=replace(one.decision, in_scope=0.9)))
        self.log.write(made)
        self.now = NOW + self.sent + LATE_S

    def scores(self, first: int, number: int, score: float) -> None:
        """Give feedback to requests, by their numbers from 1."""
        for one in range(first, first + number):
            self.log.feed_back(record(one).request_id, Feedback(score=score), self.now)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    yield made
    await made.transport.aclose()
    made.database.close()


class Receiver:
    """The operator's endpoint. It answers with the statuses in turn, then with 204."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.others: list[str] = []
        self.silent = threading.Event()
        self.silent.set()
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                own.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                own.silent.wait(60)
                self.send_response(own.statuses.pop(0) if own.statuses else 204)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                own.others.append(self.path)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/very-secret-token"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def told(self) -> list[tuple[str, str]]:
        messages = [json.loads(body) for _, body in self.received]
        return [(message["data"]["alarm"], message["type"]) for message in messages]

    def close(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def webhook(receiver: Receiver, secret: str | None = None, **settings: Any) -> AlarmSettings:
    return replace(SETTINGS, webhook=AlarmWebhook(url=receiver.url, secret=secret), **settings)


async def deliver(alarms: Alarms) -> None:
    await alarms._deliver()


async def test_one_process_watches_and_all_show_what_it_found(rig: Rig, receiver: Receiver) -> None:
    rig.settings = webhook(receiver)
    rig.requests(2500)
    metrics, first, second = Metrics(), rig.process(), rig.process()
    other = rig.process(metrics)
    for one in (first, second, other):
        await one.once()
        assert one.raised == []
    rig.requests(1500, new=True)
    for one in (second, other, first, second, other):
        await one.once()
    [alarm] = first.raised
    assert second.raised == other.raised == [alarm]
    assert alarm.alarm == "prompts"
    assert abs(alarm.since - (NOW + 2500)) <= 400
    assert first.notes == [f"alarm: {alarm.text}"]
    assert other.notes == first.notes
    assert 'semroute_alarm_raised{alarm="prompts",source="",tier=""} 1.0' in metrics.render().decode()
    for one in (second, other, first):
        await deliver(one)
    assert receiver.told == [("prompts", "alarm.raised")]


async def test_another_process_goes_on_where_the_leader_died(rig: Rig, receiver: Receiver) -> None:
    rig.settings = webhook(receiver)
    rig.requests(2500)
    first = rig.process()
    await first.once()
    rig.requests(1000, new=True)
    await first.once()
    [alarm] = first.raised
    second, third = rig.process(), rig.process()
    rig.requests(6000)
    for _ in range(SILENT_LOOKS):
        await second.once()
        await third.once()
        assert second.raised == third.raised == [alarm]
    await second.once()
    await third.once()
    assert second.raised == third.raised == []
    await deliver(second)  # the first one had no time to tell anybody
    await deliver(third)
    await first.once()
    await deliver(first)
    assert receiver.told == [("prompts", "alarm.raised"), ("prompts", "alarm.over")]


async def test_a_leader_that_another_one_replaced_saves_and_tells_nothing(rig: Rig, receiver: Receiver) -> None:
    rig.settings = webhook(receiver)
    rig.requests(2500)
    first, second = rig.process(), rig.process()
    await first.once()
    for _ in range(SILENT_LOOKS + 1):  # the first one hangs
        await second.once()
    rig.requests(1000, new=True)
    await first.once()
    assert first.raised == []
    await deliver(first)
    assert receiver.received == []
    await second.once()
    assert len(second.raised) == 1


async def test_a_service_that_stops_is_followed_at_once(rig: Rig) -> None:
    rig.requests(2500)
    first, second = rig.process(), rig.process()
    await first.once()
    await first.aclose()
    rig.requests(1000, new=True)
    await second.once()
    assert [one.alarm for one in second.raised] == ["prompts"]


async def test_scores_that_fall_raise_an_alarm_for_their_tier(rig: Rig) -> None:
    rig.settings = replace(SETTINGS, watch=("quality",))
    rig.requests(800)
    alarms = rig.process()
    rig.scores(1, 300, 1.0)
    await alarms.once()
    rig.scores(301, 100, 1.0)
    await alarms.once()
    assert alarms.raised == []
    for _ in range(3):  # somebody says the same again and again
        rig.scores(1, 8, 0.0)
        await alarms.once()
    assert alarms.raised == []
    rig.scores(401, 60, 0.25)
    await alarms.once()
    [alarm] = alarms.raised
    assert (alarm.alarm, alarm.tier, alarm.source) == ("quality", "simple", "feedback")
    assert alarm.text.startswith("the scores of the tier simple from feedback have been lower since about 2026-")
    assert "expected at least 0.9" in alarm.text
    rig.scores(461, 300, 1.0)
    await alarms.once()
    assert alarms.raised == []


async def test_the_reference_is_what_came_last_before_the_alarms_were_switched_on(rig: Rig) -> None:
    rig.settings = None
    rig.requests(1000, new=True)
    rig.requests(2300)
    alarms = rig.process()
    await alarms.once()
    assert alarms.progress.collected == 0
    rig.settings = SETTINGS
    await alarms.once()
    assert alarms.progress.collected == 2000
    rig.requests(1000, new=True)
    await alarms.once()
    assert [one.alarm for one in alarms.raised] == ["prompts"]
    rig.settings = None
    assert alarms.raised == []
    assert alarms.notes == []


async def test_requests_that_may_not_have_ended_are_left_for_later(rig: Rig) -> None:
    rig.requests(2500)
    rig.now = NOW + 1000 + LATE_S
    alarms = rig.process()
    await alarms.once()
    assert alarms.progress.collected == 1000


async def test_a_new_beginning_makes_the_new_traffic_the_reference(rig: Rig) -> None:
    rig.requests(2500)
    leader, other = rig.process(), rig.process()
    await leader.once()
    rig.requests(1000, new=True)
    await leader.once()
    assert len(leader.raised) == 1
    await other.reset()
    await leader.once()
    assert (leader.raised, leader.progress.collected) == ([], 0)
    rig.requests(4000, new=True)
    await leader.once()
    assert (leader.raised, leader.progress.collected) == ([], 2000)
    await leader.once()
    assert leader.progress.collected == 2000


async def test_a_database_that_is_away_is_told_and_forgets_nothing(rig: Rig) -> None:
    rig.requests(2500)
    alarms = rig.process()
    await alarms.once()
    rig.away = True
    await alarms.once()
    assert alarms.notes == ["alarms cannot be watched for: the database is away"]
    rig.requests(1000, new=True)
    await alarms.once()
    rig.away = False
    await alarms.once()
    assert [note.partition(":")[0] for note in alarms.notes] == ["alarm"]


async def test_what_cannot_be_read_begins_anew(rig: Rig) -> None:
    rig.requests(2500)
    alarms = rig.process()
    await alarms.once()
    await alarms.aclose()
    with rig.database.transaction() as session:
        session.run("UPDATE progress SET data = ? WHERE name = 'alarms.progress'", (b"\xc1 torn",))
    later = rig.process()
    await later.once()
    assert later.progress.collected == 2000
    with rig.database.transaction() as session:
        session.run("UPDATE progress SET data = ? WHERE name = 'alarms.progress'", (b"\xc1 torn",))
    follower = rig.process()
    await follower.once()
    assert follower.raised == []


async def test_without_a_decision_log_the_service_says_that_nothing_is_watched(rig: Rig) -> None:
    alarms = Alarms(rig.database, rig.config, rig.transport, logs=False)
    await alarms.once()
    assert alarms.notes == ["the route files have `alarms`, but the decision log is off, so none can be raised"]


# --- the webhook ---


async def raised(rig: Rig, settings: AlarmSettings) -> Alarms:
    """A process that has just raised an alarm."""
    rig.settings = settings
    rig.requests(2500)
    alarms = rig.process()
    await alarms.once()
    rig.requests(1000, new=True)
    await alarms.once()
    assert len(alarms.raised) == 1
    return alarms


@pytest.mark.parametrize("secret", [None, "just a text", f"whsec_{base64.b64encode(b'just a text').decode()}"])
async def test_a_message_has_a_signature_and_no_prompts(rig: Rig, receiver: Receiver, secret: str | None) -> None:
    alarms = await raised(rig, webhook(receiver, secret))
    await deliver(alarms)
    [(headers, body)] = receiver.received
    message, [alarm] = json.loads(body), alarms.raised
    assert message["type"] == "alarm.raised"
    data = message["data"]
    assert (data["id"], data["alarm"], data["text"]) == (alarm.id, "prompts", alarm.text)
    assert set(data) == {
        *("id", "alarm", "at", "since", "requests", "tier", "source", "mean", "floor", "text"),
    }
    assert message["timestamp"].endswith("Z")
    assert (headers["webhook-id"], headers["content-type"]) == (f"{alarm.id}.raised", "application/json")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.digest(b"just a text", signed, hashlib.sha256)).decode()
    assert headers.get("webhook-signature") == (None if secret is None else f"v1,{digest}")


async def test_a_message_is_sent_again_until_it_arrives(
    rig: Rig, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 302, 404]
    alarms = await raised(rig, webhook(receiver, "key"))
    await deliver(alarms)
    assert rig.pauses == [PAUSES_S[0], 2 * PAUSES_S[0], 4 * PAUSES_S[0]]
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1
    assert len({headers["webhook-signature"] for headers, _ in receiver.received}) == 4  # each has its own time
    assert receiver.others == []  # no redirect is followed
    assert alarms.notes == [f"alarm: {alarms.raised[0].text}"]
    await deliver(alarms)
    later = rig.process()
    await alarms.aclose()
    await later.once()
    await deliver(later)
    assert len(receiver.received) == 4
    assert caplog.text.count("it answered with status 500, expected one from 200 to 299") == 1
    assert "very-secret-token" not in caplog.text


async def test_an_endpoint_that_says_nothing_is_left_alone_after_a_while(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_webhook, "DEADLINE_S", 0.05)
    receiver.silent.clear()
    alarms = await raised(rig, webhook(receiver))
    [event] = alarms._watch.unsent if alarms._watch is not None else []
    assert rig.settings is not None
    assert rig.settings.webhook is not None
    trouble = await alarm_webhook.tell(rig.transport, rig.settings.webhook, event, rig.now)
    assert trouble == "it did not answer within 0.05 s"


async def test_pauses_grow_up_to_a_limit_and_it_is_given_up_in_the_end(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_service, "GIVE_UP_S", GIVE_UP_S)
    unused = AlarmWebhook(url="http://127.0.0.1:9/very-secret-token")
    alarms = await raised(rig, replace(SETTINGS, webhook=unused))
    since = rig.now
    await deliver(alarms)
    assert max(rig.pauses) == PAUSES_S[1]
    assert GIVE_UP_S - 2000 <= rig.now - since <= GIVE_UP_S + PAUSES_S[1]
    assert "the webhook was not told within three days, which is given up" in caplog.text
    assert "very-secret-token" not in caplog.text
    await deliver(alarms)
    assert rig.now - since <= GIVE_UP_S + PAUSES_S[1]


async def test_ready_says_that_the_webhook_fails(rig: Rig) -> None:
    alarms = await raised(rig, replace(SETTINGS, webhook=AlarmWebhook(url="http://127.0.0.1:9/")))

    async def look(seconds: float) -> None:
        rig.settings = replace(SETTINGS, webhook=None)

    alarms._pause = look
    await deliver(alarms)
    assert alarms.notes[1:] == ["the webhook of the alarms cannot be told: the provider refused the connection"]


# --- callers ---


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncTestClient[Litestar]]:
    """A service that looks at its log all the time."""
    monkeypatch.setattr(alarm_service, "LOOK_S", 0.02)
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "all.yaml").write_text(f"{ROUTES}alarms: {{reference_requests: 2000}}\n")
    settings = Settings(
        routes=str(tmp_path / "routes"), database_url=f"sqlite:///{tmp_path}/semroute.db", admin_key="all"
    )
    async with AsyncTestClient(create_app(settings)) as opened:
        opened.headers["authorization"] = "Bearer all"
        yield opened


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
async def test_callers_see_alarms_and_can_begin_anew(tmp_path: Path, client: AsyncTestClient[Litestar]) -> None:
    async def shown(is_so: Callable[[Any], bool]) -> Any:
        """What `/alarms` shows once this is so."""
        async with asyncio.timeout(60):
            while not is_so(now := (await client.get("/alarms")).json()):
                pass
        return now

    assert (await client.get("/alarms")).json() == {
        "watch": ["prompts", "in_scope", "quality"],
        "raised": [],
        "reference": {"requests": 0, "requests_needed": 2000, "scores": {}, "scores_needed": 300},
    }
    log = SqlLog(SqliteDatabase(tmp_path / "semroute.db"))
    log.write([replace(record(number), at=time.time()) for number in range(1, 500)])
    for number in range(1, 400):
        log.feed_back(record(number).request_id, Feedback(score=1.0), NOW)
    await shown(lambda now: now["reference"]["scores"] == {"feedback/simple": 300})
    for number in range(400, 500):
        log.feed_back(record(number).request_id, Feedback(score=0.0), NOW)
    [alarm] = (await shown(lambda now: bool(now["raised"])))["raised"]
    assert (alarm["alarm"], alarm["tier"], alarm["mean"]) == ("quality", "simple", 0.0)
    ready = (await client.get("/health/ready")).json()
    assert (ready["status"], ready["warnings"]) == ("ready", [f"alarm: {alarm['text']}"])
    metrics = (await client.get("/metrics")).text
    assert 'semroute_alarm_raised{alarm="quality",source="feedback",tier="simple"} 1.0' in metrics
    assert 'semroute_alarms_total{alarm="quality",source="feedback",tier="simple"} 1.0' in metrics
    assert (await client.post("/admin/alarms/reset")).status_code == 202
    await shown(lambda now: not now["raised"])
    assert (await client.get("/health/ready")).json()["warnings"] == []
    log.database.close()
