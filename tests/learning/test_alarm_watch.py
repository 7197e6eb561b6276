"""What the watch makes of requests and scores, and how another process goes on with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from semroute.config.schema.alarms import AlarmSettings, AlarmWebhook
from semroute.learning.alarm_watch import FOREIGN, MOST_UNSENT, QUIET, AlarmEvent, AlarmWatch, WatchProgress
from semroute.learning.drift_alarm import DriftReference
from semroute.stores.alarm_log import ScoresKey, SeenRequest

DIM = 12
SETTINGS = AlarmSettings(reference_requests=2000)


class Traffic:
    """Requests of a few topics, one a second."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(5)
        self._topics = self._random.normal(size=(6, DIM))
        self.sent = 0

    def __call__(
        self, number: int, *, new: bool = False, in_scope: float = 0.9, encoder: str = "e"
    ) -> list[SeenRequest]:
        topics = np.full(number, 5) if new else self._random.integers(5, size=number)
        vectors = (self._topics[topics] + 0.5 * self._random.normal(size=(number, DIM))).astype("<f2")
        scores = np.clip(in_scope + 0.05 * self._random.normal(size=number), 0, 1)
        made = []
        for vector, score in zip(vectors, scores, strict=True):
            self.sent += 1
            made.append(SeenRequest(f"{self.sent:08}", float(self.sent), vector.tobytes(), encoder, float(score)))
        return made


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


def watch_of(settings: AlarmSettings = SETTINGS, before: AlarmWatch | None = None) -> AlarmWatch:
    """A new watch, or what another process makes of what this one saved."""
    ids: Iterator[int] = count(1)
    if before is None:
        return AlarmWatch(settings, new_id=lambda: f"alarm-{next(ids)}")
    progress = msgspec.msgpack.decode(msgspec.msgpack.encode(before.progress), type=WatchProgress)
    reference = None if before.reference is None else DriftReference.unpack(before.reference.pack())
    return AlarmWatch(settings, progress, reference)


def told(events: Sequence[AlarmEvent]) -> list[tuple[str, str]]:
    return [(event.alarm.alarm, event.type) for event in events]


def test_the_first_requests_are_the_reference(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(1500))
    assert (watch.collected, watch.reference, watch.progress.position) == (1500, None, "")
    assert watch.read_to == "00001500"
    watch.see(traffic(600))
    assert watch.collected == 2000
    assert watch.reference is not None
    assert watch.progress.position == "00002100"


def test_a_process_that_takes_over_collects_the_same_reference(traffic: Traffic) -> None:
    requests = traffic(2000)
    first, whole = watch_of(), watch_of()
    first.see(requests[:1500])
    second = watch_of(before=first)
    assert second.read_to == ""  # it reads what the first one had in memory
    second.see(requests)
    whole.see(requests)
    assert second.reference is not None
    assert whole.reference is not None
    assert second.reference.pack() == whole.reference.pack()


def test_another_topic_raises_an_alarm_once_and_it_is_over_when_the_topic_is_gone(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(4000))
    assert watch.take_news() == []
    began = traffic.sent
    watch.see(traffic(2000, new=True))
    [event] = watch.take_news()
    assert told([event]) == [("prompts", "alarm.raised")]
    assert abs(event.alarm.since - began) <= 400
    assert [one.alarm for one in watch.raised] == ["prompts"]
    watch = watch_of(before=watch)
    watch.see(traffic(QUIET - 400))
    assert watch.take_news() == []
    watch.see(traffic(800))
    [over] = watch.take_news()
    assert told([over]) == [("prompts", "alarm.over")]
    assert over.alarm == event.alarm
    assert over.id != event.id
    assert watch.raised == []


def test_prompts_that_the_routes_know_less_well_raise_an_alarm_of_their_own(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(3000))
    watch.see(traffic(1000, in_scope=0.6))
    assert told(watch.take_news()) == [("in_scope", "alarm.raised")]


def test_an_alarm_that_is_not_watched_for_is_not_raised(traffic: Traffic) -> None:
    watch = watch_of(replace(SETTINGS, watch=("in_scope",)))
    watch.see(traffic(2500))
    watch.see(traffic(2000, new=True))
    assert watch.take_news() == []


def test_an_alarm_is_over_when_nobody_watches_for_it_any_more(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(2500))
    watch.see(traffic(2000, new=True))
    later = watch_of(replace(SETTINGS, watch=("quality",)), watch)
    later.end_unwatched(9e9)
    assert told(later.take_news()) == [("prompts", "alarm.over")]


def test_requests_without_a_usable_vector_are_left_out(traffic: Traffic) -> None:
    watch = watch_of()
    sound = traffic(1)[0]
    damaged = [
        sound._replace(embedding=b""),
        sound._replace(embedding=sound.embedding[:-1]),
        sound._replace(embedding=np.zeros(DIM, "<f2").tobytes()),
        sound._replace(embedding=np.full(DIM, np.nan, "<f2").tobytes()),
        sound._replace(embedding=np.full(DIM, np.inf, "<f2").tobytes()),
        sound._replace(in_scope=None),
    ]
    watch.see([*damaged, sound])
    assert watch.collected == 1


def test_vectors_of_another_encoder_begin_a_new_reference_only_when_it_has_replaced_the_first(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(2100))
    for _ in range(FOREIGN):  # an update: both encoders are in service
        watch.see(traffic(2, encoder="new", new=True))
        watch.see(traffic(1))
    assert watch.reference is not None
    watch.see(traffic(FOREIGN - 1, encoder="new"))
    assert watch.reference is not None
    watch.see(traffic(300, encoder="new"))
    assert watch.reference is None
    assert (watch.collected, watch.progress.encoder) == (300, "new")
    assert watch.take_news() == []


def scores(
    n: int, good: float, *, tier: str = "simple", source: str = "feedback", day: int = 1
) -> dict[ScoresKey, tuple[int, int]]:
    return {ScoresKey(source, tier, day): (n, round(good * n * 1e6))}


def test_scores_of_a_tier_that_fall_raise_an_alarm(traffic: Traffic) -> None:
    watch = watch_of()
    others = scores(50_000, 0.2, tier="complex") | scores(50_000, 0.2, source="judge")
    watch.score(scores(1000, 0.9) | others, 1.0)
    watch.score(scores(1000, 0.9) | others, 2.0)
    watch = watch_of(before=watch)
    watch.score(scores(1000, 0.9) | scores(400, 0.4, day=2) | others, 3.0)
    [event] = watch.take_news()
    assert (event.alarm.alarm, event.alarm.tier, event.alarm.source) == ("quality", "simple", "feedback")
    assert (event.alarm.mean, event.alarm.requests, event.alarm.floor) == (0.4, 400, 0.85)
    assert "the scores of the tier simple from feedback" in event.alarm.text
    watch.score(scores(1000, 0.9) | scores(3400, 0.95, day=2) | others, 4.0)
    assert told(watch.take_news()) == [("quality", "alarm.over")]


def test_a_day_that_is_too_old_to_be_read_changes_nothing() -> None:
    watch = watch_of()
    watch.score(scores(1000, 0.9) | scores(1000, 0.9, day=2), 1.0)
    before = watch.progress.quality
    watch.score(scores(1000, 0.9, day=2), 2.0)
    assert watch.progress.quality == before
    watch.score(scores(900, 0.9, day=2), 3.0)  # the database was put back to an earlier moment
    assert watch.progress.quality == before


def test_a_new_beginning_ends_all_alarms_and_forgets_the_references(traffic: Traffic) -> None:
    watch = watch_of()
    watch.see(traffic(2500))
    watch.see(traffic(1000, new=True))
    watch.score(scores(1000, 0.9), 1.0)
    watch.score(scores(2000, 0.4), 2.0)
    assert len(watch.take_news()) == 2
    watch.begin_anew("00009999", 5.0)
    assert told(watch.take_news()) == [("prompts", "alarm.over"), ("quality", "alarm.over")]
    now = watch.progress
    assert (watch.collected, now.position, now.quality, now.raised, now.rang) == (0, "00009999", {}, (), {})
    watch.score(scores(2300, 0.4), 6.0)  # only the 300 new ones are the new reference
    assert watch.progress.quality["feedback/simple"].reference == 300


def test_what_the_webhook_was_not_told_is_kept_and_bounded() -> None:
    settings = replace(SETTINGS, webhook=AlarmWebhook(url="http://127.0.0.1/"))
    watch = watch_of(settings)
    total = 0.0
    watch.score(scores(1000, 1.0), 0.0)
    for round_ in range(1, MOST_UNSENT + 10):
        good = 1000 if round_ % 2 == 0 else 0
        total += good
        watch.score({ScoresKey("feedback", "simple", 1): (1000 * (round_ + 1), round((1000 + total) * 1e6))}, round_)
    assert len(watch.take_news()) == MOST_UNSENT + 9
    assert len(watch.unsent) == MOST_UNSENT
    assert [event.at for event in watch.unsent] == [float(n) for n in range(10, MOST_UNSENT + 10)]
    assert watch_of(settings, watch).unsent == watch.unsent
    assert watch_of().unsent == []
