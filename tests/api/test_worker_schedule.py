"""When workers are started again, and when they are ended."""

from __future__ import annotations

from semroute.api.worker_schedule import HEALTH_S, PAUSES_S, SILENT_S, START_S, STEADY_S, Slot


def serving(now: float) -> Slot:
    slot = Slot(1, now)
    slot.begin(now)
    assert slot.hear(now, serving=True)
    return slot


def test_a_worker_that_cannot_start_is_tried_again_after_growing_pauses() -> None:
    slot, now, pauses = Slot(1, 0.0), 0.0, []
    for _ in range(40):
        slot.begin(now)
        pauses.append(slot.end(now + 1, "broken"))
        now = slot.due
    assert pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert set(pauses[6:]) == {PAUSES_S[1]}


def test_one_that_ends_soon_after_its_start_counts_as_one_that_cannot_start() -> None:
    slot, now, pauses = Slot(1, 0.0), 0.0, []
    for _ in range(4):
        slot.begin(now)
        slot.hear(now, serving=True)
        pauses.append(slot.end(now + STEADY_S / 2, "killed"))
        now = slot.due
    assert pauses == [1, 2, 4, 8]


def test_one_that_has_served_is_started_again_at_once() -> None:
    slot = serving(0.0)
    assert slot.end(STEADY_S, "killed") == 0
    assert (slot.phase, slot.due, slot.failures) == ("pausing", STEADY_S, 0)


def test_the_pauses_begin_anew_once_it_has_served() -> None:
    slot = Slot(1, 0.0)
    for _ in range(5):
        slot.begin(0.0)
        slot.end(0.0, "broken")
    slot.begin(0.0)
    slot.hear(0.0, serving=True)
    slot.end(STEADY_S, "killed")
    slot.begin(STEADY_S)
    assert slot.end(STEADY_S, "broken") == PAUSES_S[0]


def test_a_worker_that_hangs_is_overdue() -> None:
    slot = serving(0.0)
    slot.hear(5.0, serving=True)
    assert not slot.overdue(5.0 + HEALTH_S - 0.1)
    assert slot.overdue(5.0 + HEALTH_S)


def test_one_that_imports_has_more_time_and_one_that_is_not_there_is_never_overdue() -> None:
    slot = Slot(1, 0.0)
    assert not slot.overdue(1e9)
    slot.begin(0.0)
    assert not slot.overdue(START_S - 0.1)
    assert slot.overdue(START_S)
    slot.hear(START_S, serving=False)
    assert not slot.overdue(START_S + HEALTH_S - 0.1)


def test_a_supervisor_that_was_stopped_itself_ends_nobody() -> None:
    slot = serving(0.0)
    slot.forgive(1000)
    assert not slot.overdue(1000 + HEALTH_S - 0.1)


def test_others_accept_the_callers_of_who_does_not_serve() -> None:
    slot = Slot(1, 0.0)
    assert slot.absent(0.0)
    slot.begin(0.0)
    slot.hear(0.0, serving=False)
    assert slot.absent(0.0)
    slot.hear(0.0, serving=True)
    assert not slot.absent(SILENT_S - 0.01)
    assert slot.absent(SILENT_S)
    slot.hear(SILENT_S, serving=True)
    assert not slot.absent(SILENT_S)
    slot.end(SILENT_S, "killed")
    assert slot.absent(SILENT_S)
