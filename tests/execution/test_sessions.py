from __future__ import annotations

from semroute.execution.sessions import Sessions
from semroute.routing.sticky import Remembered

HERE = Remembered(route="billing", model="small")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_remembered_until_it_is_silent_for_too_long() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=10, clock=clock)
    sessions.put("a", HERE)
    clock.now += 10
    assert sessions.get("a") == HERE
    sessions.put("a", HERE)
    clock.now += 10
    assert sessions.get("a") == HERE
    clock.now += 1
    assert sessions.get("a") is None
    assert len(sessions) == 0
    assert sessions.get("never") is None


def test_the_longest_silent_makes_way() -> None:
    sessions = Sessions(limit=2)
    for name in ("a", "b", "a", "c"):
        sessions.put(name, HERE)
    assert [name for name in ("a", "b", "c") if sessions.get(name)] == ["a", "c"]
