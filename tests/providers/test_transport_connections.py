"""Places for connections: first come, first served, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from semroute.errors import NoPlaceError
from semroute.providers.transport import ConnectionSlots


async def test_a_free_place_is_taken_at_once() -> None:
    places = ConnectionSlots(1)
    with pytest.raises(StopIteration):
        places.take(1).send(None)  # it did not wait
    with pytest.raises(NoPlaceError):
        await places.take(0.001)


async def test_who_came_first_is_served_first() -> None:
    places, served = ConnectionSlots(1), []

    async def take(name: str) -> None:
        await places.take(1)
        served.append(name)

    await places.take(1)
    waiting = [asyncio.create_task(take(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    places.give_back()
    late = asyncio.create_task(take("late"))
    await waiting[0]
    assert served == ["first"]
    places.give_back()
    await waiting[1]
    places.give_back()
    await late
    assert served == ["first", "second", "late"]


async def test_a_place_for_one_who_has_left_goes_to_the_next() -> None:
    places = ConnectionSlots(1)
    await places.take(1)
    gone = asyncio.create_task(places.take(1))
    await asyncio.sleep(0)
    places.give_back()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    for _ in range(3):
        await places.take(1)
        places.give_back()
