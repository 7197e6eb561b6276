from __future__ import annotations

import pytest

from semroute.api.request_intake import FREE_BYTES, RequestPlaces
from semroute.caller import Caller
from semroute.errors import LimitError, OverloadedError

ONE, OTHER = Caller(id="one"), Caller(id="other")


def places(*, running: int = 4, room: int = 1000, body: int = 400, several: bool = True) -> RequestPlaces:
    return RequestPlaces(running, room, body + FREE_BYTES, lambda: several)


def test_further_requests_are_turned_away_until_one_leaves() -> None:
    few = RequestPlaces(2, 1000, 1000)
    first, _ = few.take(ONE), few.take(ONE)
    with pytest.raises(OverloadedError, match="the service handles 2 requests already"):
        few.take(ONE)
    first.leave()
    few.take(OTHER)
    assert few.running == 2


def test_one_key_of_several_gets_half_of_the_places() -> None:
    few = places()
    held = [few.take(ONE), few.take(ONE)]
    with pytest.raises(LimitError, match="the key one has 2 requests under way already, which is its share") as caught:
        few.take(ONE)
    assert caught.value.retry_after_s == 1
    few.take(OTHER)
    held[0].leave()
    few.take(ONE)


def test_a_key_may_have_more_than_half_where_its_concurrency_says_so() -> None:
    few = places()
    own = Caller(id="one", concurrency=3)
    for _ in range(3):
        few.take(own)
    with pytest.raises(LimitError):
        few.take(own)


def test_a_key_always_has_one_place() -> None:
    RequestPlaces(1, 1000, 1000, lambda: True).take(ONE)


def test_small_bodies_need_no_room() -> None:
    few = RequestPlaces(9, 1, 1)
    for _ in range(9):
        few.take(ONE).make_room(FREE_BYTES)
    assert few.bytes == 0


@pytest.mark.parametrize("steps", [[600], [100, 350, 600]], ids=["declared", "as it grows"])
def test_room_is_held_until_the_request_leaves(steps: list[int]) -> None:
    few = places(several=False)
    first = few.take(ONE)
    for step in steps:
        first.make_room(FREE_BYTES + step)
    assert few.bytes == 600
    second = few.take(ONE)
    room = max(1000, 400 + FREE_BYTES)
    with pytest.raises(OverloadedError, match=f"take 600 of {room} bytes already, and this one needs {room} more"):
        second.make_room(FREE_BYTES + room)
    assert few.bytes == 600
    first.leave()
    second.make_room(FREE_BYTES + room)
    second.leave()
    assert (few.bytes, few.running) == (0, 0)


def test_one_key_of_several_gets_half_of_the_room_or_one_body() -> None:
    room = 4 * FREE_BYTES
    few = RequestPlaces(9, room, FREE_BYTES, lambda: True)
    for _ in range(2):
        few.take(ONE).make_room(2 * FREE_BYTES)
    with pytest.raises(LimitError, match="the bodies of the key one take"):
        few.take(ONE).make_room(2 * FREE_BYTES)
    few.take(OTHER).make_room(2 * FREE_BYTES)


def test_there_is_room_for_one_body_whatever_the_bound() -> None:
    few = RequestPlaces(9, 1, 10 * FREE_BYTES, lambda: True)
    few.take(ONE).make_room(10 * FREE_BYTES)
    with pytest.raises(OverloadedError):
        few.take(OTHER).make_room(10 * FREE_BYTES)
