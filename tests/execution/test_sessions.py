from __future__ import annotations

from semroute.execution.sessions import Sessions, SharedSessions
from semroute.routing.sticky import Remembered
from semroute.stores.memory import MemoryState

HERE = Remembered(route="billing", model="small")
THERE = Remembered(route=None, model="large")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_session_is_remembered_until_it_is_silent_for_too_long() -> None:
    clock = Clock()
    sessions = Sessions(idle_s=10, clock=clock)
    await sessions.put("a", HERE)
    clock.now += 10
    assert await sessions.get("a") == HERE
    await sessions.put("a", HERE)
    clock.now += 10
    assert await sessions.get("a") == HERE
    clock.now += 1
    assert await sessions.get("a") is None
    assert len(sessions) == 0
    assert await sessions.get("never") is None


async def test_the_longest_silent_makes_way() -> None:
    sessions = Sessions(limit=2)
    for name in ("a", "b", "a", "c"):
        await sessions.put(name, HERE)
    assert [name for name in ("a", "b", "c") if await sessions.get(name)] == ["a", "c"]


async def test_processes_share_sessions() -> None:
    clock = Clock()
    state = MemoryState(clock)
    one, other = SharedSessions(state), SharedSessions(state)
    await one.put("a", HERE)
    assert await other.get("a") == HERE
    await other.put("a", THERE)
    assert await one.get("a") == THERE
    assert await one.get("b") is None


async def test_what_the_shared_state_lost_is_known_where_it_was_seen() -> None:
    state = MemoryState(max_bytes=0)
    sessions = SharedSessions(state)
    await sessions.put("a", HERE)
    assert await sessions.get("a") == HERE


async def test_what_another_version_wrote_is_passed_over() -> None:
    state = MemoryState()
    sessions = SharedSessions(state)
    await sessions.put("a", HERE)
    [key] = state._entries
    await state.put(key, b'{"somewhere": "else"}', 60)
    assert await sessions.get("a") is None
