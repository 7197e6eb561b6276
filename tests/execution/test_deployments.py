from __future__ import annotations

import asyncio

import pytest

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import BreakerSettings, RateLimits
from semroute.execution.clock import Clock
from semroute.execution.deployments import LONGEST_BLOCK_S, BusyError, Deployment, Deployments, PausedError
from semroute.messages import CHAT, EMBEDDINGS
from semroute.providers.rate_limit_headers import RateLimit, RateLimitState
from semroute.routing.policy import away_reason


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, random=lambda: 0.0)


def model(**limits: int) -> Model:
    return Model(
        id="m", provider="p", name="m", limits=RateLimits(**limits), breaker=BreakerSettings(failures=1, probe_s=10)
    )


def deployment(hands: Hands, **limits: int) -> Deployment:
    return Deployments(hands.clock).of(model(**limits))


def test_a_probe_is_over_with_the_first_content() -> None:
    hands = Hands()
    known = deployment(hands)
    known.begin(1).end("fault")
    hands.now = 10
    permit = known.begin(1)
    assert known.breaker.state(hands.now) == "open"
    permit.begun()
    assert known.breaker.state(hands.now) == "closed"
    permit.end("ok")
    permit.end("fault")
    assert (known.in_flight, known.breaker.state(hands.now)) == (0, "closed")


def test_a_probe_that_nobody_waited_for_tells_nothing() -> None:
    hands = Hands()
    known = deployment(hands)
    known.begin(1).end("fault")
    hands.now = 10
    known.begin(1).end("neither")
    assert known.ready(1, hands.now)


def test_a_pause_that_was_asked_for_is_kept_but_not_for_ever() -> None:
    hands = Hands()
    known = deployment(hands)
    known.learn(RateLimitState(retry_after_s=7))
    assert known.full(1, 0) == "its provider asked semroute to wait another 7.0 s"
    assert known.wait_s(1, 0) == 7
    known.learn(RateLimitState(retry_after_s=86400))
    assert known.wait_s(1, 0) == LONGEST_BLOCK_S


def test_headers_correct_what_was_counted_here() -> None:
    hands = Hands()
    known = deployment(hands, rpm=100, tpm=1000)
    known.begin(500)
    known.learn(
        RateLimitState(
            limits=(
                RateLimit(resource="requests", remaining=0, limit=100, reset_s=60),
                RateLimit(resource="tokens", remaining=10, limit=1000, reset_s=60),
            )
        )
    )
    assert "requests a minute" in str(known.full(1, 0))
    assert known.wait_s(100, 0) > known.wait_s(10, 0) > 0


def test_latency_is_a_moving_average() -> None:
    hands = Hands()
    deployments = Deployments(hands.clock)
    known = deployments.of(model())
    for latency_ms in (100, 200):
        known.begin(1).end("ok", latency_ms=latency_ms)
    known.begin(1)
    signals = deployments.signals({"other": "no key"}, 1)
    assert signals.latency_ms == {"m": 120}
    assert signals.in_flight == {"m": 1}
    assert away_reason("other", signals) == "no key"
    assert away_reason("m", signals) is None


def test_a_changed_entry_begins_anew_and_a_removed_one_is_forgotten() -> None:
    deployments = Deployments(Hands().clock)
    known = deployments.of(model())
    assert deployments.of(model()) is known
    assert deployments.of(model(rpm=5)) is not known
    deployments.keep([])
    assert deployments.states() == {}
    assert deployments.retry_after_s(["m"]) is None


async def test_waiting_ends_when_the_breaker_opens() -> None:
    hands = Hands()
    known = deployment(hands, concurrency=1)
    permit = known.begin(1)
    waiting = asyncio.create_task(known.queue(1, 60))
    await asyncio.sleep(0)
    permit.end("fault")
    with pytest.raises(BusyError, match="circuit breaker is open"):
        await waiting


async def test_waiting_has_a_deadline() -> None:
    known = deployment(Hands(), concurrency=1)
    known.begin(1)
    with pytest.raises(BusyError, match="no room within"):
        await known.queue(1, 0.01)


async def test_who_came_first_is_served_first() -> None:
    hands = Hands()
    known = deployment(hands, rpm=60)
    for _ in range(60):
        known.begin(1)
    served: list[int] = []

    async def ask(number: int) -> None:
        await known.queue(1, 60)
        known.begin(1)
        served.append(number)

    await asyncio.gather(*(ask(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert hands.now == pytest.approx(5)


def test_what_a_model_does_at_one_endpoint_says_nothing_of_another() -> None:
    hands, asked = Hands(), model()
    conversations = Deployments(hands.clock)
    embeddings = conversations.at(EMBEDDINGS)
    embeddings.of(asked).begin(1).end("fault")
    conversations.learn(EMBEDDINGS, asked, RateLimitState(retry_after_s=30.0))
    assert embeddings.signals({}, 1).open_breakers.keys() == embeddings.signals({}, 1).exhausted.keys() == {"m"}
    assert conversations.at(CHAT) is conversations
    assert conversations.of(asked).ready(1, hands.now)
    conversations.keep([])
    assert embeddings.states() == {}


def of_account(name: str, **limits: int) -> Model:
    """A model of a provider that takes so much from all of its models together."""
    return Model(id=name, provider="p", name=name, account=RateLimits(**limits))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"rpm": 2}, "the limit of its provider p, 2 requests a minute, is used up"),
        ({"tpm": 20}, "the limit of its provider p, 20 tokens a minute, is used up"),
        ({"concurrency": 2}, "2 calls to its provider p are under way, the provider's limit"),
    ],
    ids=str,
)
def test_the_models_of_a_provider_share_the_limits_of_its_account(limits: dict[str, int], reason: str) -> None:
    hands = Hands()
    deployments = Deployments(hands.clock)
    one, other = deployments.of(of_account("one", **limits)), deployments.of(of_account("other", **limits))
    permits = [one.begin(10), other.begin(10)]
    assert one.full(10, 0) == other.full(10, 0) == reason
    assert deployments.signals({}, 10).exhausted == dict.fromkeys(("one", "other"), reason)
    embeddings = deployments.at(EMBEDDINGS).of(of_account("third", **limits))
    assert embeddings.full(10, 0) == reason
    elsewhere = deployments.of(Model(id="elsewhere", provider="q", name="x", account=RateLimits(**limits)))
    assert elsewhere.full(10, 0) is None
    for permit in permits:
        permit.end("ok", tokens=10)
    hands.now = 60
    assert one.full(10, 60) is other.full(10, 60) is embeddings.full(10, 60) is None


async def test_who_waits_for_a_provider_goes_on_when_a_call_of_another_model_ends() -> None:
    deployments = Deployments(Hands().clock)
    one, other = (deployments.of(of_account(name, concurrency=1, queue=1)) for name in ("one", "other"))
    permit = one.begin(1)
    waiting = asyncio.create_task(other.queue(1, 60))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="1 requests are waiting for its provider p already"):
        await one.queue(1, 60)
    assert not waiting.done()
    permit.end("ok")
    await waiting


def test_changed_limits_of_an_account_begin_anew() -> None:
    deployments = Deployments(Hands().clock)
    for _ in range(2):
        deployments.of(of_account("one", rpm=2)).begin(1)
    assert deployments.of(of_account("one", rpm=2)).full(1, 0) is not None
    deployments.keep([of_account("one", rpm=3)])
    assert deployments.of(of_account("one", rpm=3)).full(1, 0) is None
    assert [account.limits.rpm for account in deployments.accounts()] == [3]
    deployments.keep([])
    assert [*deployments.accounts()] == []


def test_a_provider_without_models_keeps_its_account_when_the_files_are_read_again() -> None:
    deployments, limits = Deployments(), RateLimits(rpm=2)
    account = deployments.account("alone", limits)
    assert account is not None
    deployments.keep([], {"alone": limits})
    assert deployments.account("alone", limits) is account
    deployments.keep([], {"alone": RateLimits(rpm=3)})
    assert deployments.account("alone", limits) is not account


async def test_nobody_waits_for_long_for_what_a_provider_says_it_takes() -> None:
    hands = Hands()
    known = deployment(hands)
    known.learn(RateLimitState(limits=(RateLimit(resource="tokens", remaining=0, limit=1000, reset_s=120),)))
    with pytest.raises(PausedError, match=r"its provider asked semroute to wait another 60\.0 s"):
        await known.queue(500, 600, 5)
    assert hands.now == 0
    await known.queue(25, 600, 5)
    assert round(hands.now, 2) == 3
    await known.queue(500, 600, 100)  # a route may be more patient
    assert round(hands.now, 2) == 60


async def test_who_waits_hears_of_a_pause_that_the_provider_asks_for_meanwhile() -> None:
    known = deployment(Hands(), concurrency=1)
    permit = known.begin(1)
    waiting = asyncio.create_task(known.queue(1, 600, 5))
    await asyncio.sleep(0)
    known.learn(RateLimitState(retry_after_s=30))
    permit.end("neither")
    with pytest.raises(PausedError, match=r"its provider asked semroute to wait another 30\.0 s"):
        await waiting
