"""One suite over every back end of the shared state."""

from __future__ import annotations

import asyncio

import pytest

from semroute.stores.interfaces import SharedState, State, Want
from semroute.stores.memory import MemoryState
from tests.stores.conftest import NOW, Clock

END = NOW + 86_400


def want(amount: int = 1, limit: int | None = 100, counter: str = "usd:all") -> Want:
    return Want(counter, amount, limit, END)


async def test_a_claim_is_held_then_settled(state: State) -> None:
    verdict = await state.reserve("r1", [want(30)], 60)
    assert verdict == (None, {"usd:all": 0}, {}, True)
    assert await state.levels(["usd:all", "other"]) == {"usd:all": 30, "other": 0}
    await state.settle("r1", {"usd:all": (12, END)})
    assert await state.levels(["usd:all"]) == {"usd:all": 12}


async def test_what_does_not_fit_is_refused_and_nothing_of_it_is_held(state: State) -> None:
    await state.reserve("r1", [want(60)], 60)
    refused = await state.reserve("r2", [want(10, None, "usd:team"), want(41)], 60)
    assert refused.refused == "usd:all"
    assert refused.levels == {"usd:team": 0, "usd:all": 60}
    assert await state.levels(["usd:team", "usd:all"]) == {"usd:team": 0, "usd:all": 60}
    assert (await state.reserve("r3", [want(40)], 60)).refused is None


async def test_settling_twice_charges_once(state: State) -> None:
    await state.reserve("r1", [want(5)], 60)
    for _ in range(3):
        await state.settle("r1", {"usd:all": (5, END)})
    assert await state.levels(["usd:all"]) == {"usd:all": 5}


async def test_settling_what_was_not_held_still_counts(state: State) -> None:
    await state.settle("r1", {"usd:all": (7, END)})
    assert await state.levels(["usd:all"]) == {"usd:all": 7}


async def test_an_empty_state_does_not_tell_what_is_spent(empty_state: SharedState) -> None:
    assert await empty_state.settle("r1", {"usd:all": (7, END)}) == {}
    await empty_state.refill(1, {"usd:all": (50, END)})
    assert await empty_state.settle("r2", {"usd:all": (7, END)}) == {"usd:all": 57}


async def test_a_state_of_another_epoch_counts_nothing(empty_state: SharedState) -> None:
    assert await empty_state.count("r1", {"usd:all": (7, END)}, keep_s=60, epoch=5) is None
    assert await empty_state.refill(6, {"usd:all": (50, END)}) == 6
    assert await empty_state.count("r1", {"usd:all": (7, END)}, keep_s=60, epoch=5) is None
    assert await empty_state.refill(5, {"usd:all": (90, END)}) == 6
    assert await empty_state.count("r1", {"usd:all": (7, END)}, keep_s=60, epoch=6) == {"usd:all": 57}


async def test_new_spend_does_not_hide_what_is_filled_in_later(empty_state: SharedState) -> None:
    await empty_state.refill(6, {"usd:all": (50, END)})
    await empty_state.settle("r1", {"usd:all": (7, END)})
    for amount in (40, 52, 52):
        await empty_state.refill(6, {"usd:all": (amount, END)})
    assert await empty_state.levels(["usd:all"]) == {"usd:all": 59}


async def test_a_lease_that_is_over_frees_its_claim(state: State, clock: Clock) -> None:
    await state.reserve("r1", [want(100)], 60)
    clock.now += 59
    assert (await state.reserve("r2", [want(1)], 60)).refused == "usd:all"
    clock.now += 2
    assert (await state.reserve("r3", [want(100)], 60)).refused is None


async def test_a_reset_forgets_what_was_spent_and_keeps_what_is_held(state: State) -> None:
    await state.settle("r1", {"usd:all": (90, END)})
    await state.reserve("r2", [want(10)], 60)
    await state.reset("usd:all")
    assert await state.levels(["usd:all"]) == {"usd:all": 10}


async def test_large_amounts_are_exact(state: State) -> None:
    limit = 9_000 * 10**12
    await state.settle("r1", {"usd:all": (limit - 1, END)})
    assert (await state.reserve("r2", [want(2, limit)], 60)).refused == "usd:all"
    assert (await state.reserve("r3", [want(1, limit)], 60)).refused is None
    assert await state.levels(["usd:all"]) == {"usd:all": limit}


@pytest.mark.parametrize("held", [True, False], ids=["held", "settled"])
async def test_a_thousand_at_once_get_exactly_what_fits(state: State, held: bool) -> None:
    async def request(number: int) -> bool:
        wants = [want(1_234_567, 100 * 1_234_567), want(1, 1000, "rpm")]
        verdict = await state.reserve(f"r{number}", wants, 600)
        if verdict.refused is None and not held:
            await state.settle(f"r{number}", {"usd:all": (1_234_567, END), "rpm": (1, END)})
        return verdict.refused is None

    served = await asyncio.gather(*(request(number) for number in range(1000)))
    assert sum(served) == 100
    assert await state.levels(["usd:all", "rpm"]) == {"usd:all": 123_456_700, "rpm": 100}


async def test_values_end(state: State, clock: Clock) -> None:
    assert await state.get("session:1") is None
    await state.put("session:1", b"\x00model", 1000)
    assert await state.get("session:1") == b"\x00model"
    await state.delete("session:1")
    assert await state.get("session:1") is None


async def test_only_the_first_sets_a_new_value(state: State) -> None:
    won = await asyncio.gather(*(state.put_new("idempotency:1", str(n).encode(), 1000) for n in range(20)))
    assert sum(won) == 1
    assert await state.get("idempotency:1") == str(won.index(True)).encode()


async def test_an_average_moves_by_its_weight(state: State) -> None:
    assert await state.smooth("latency:small", 100.0, 0.5, 1000) == 100.0
    assert await state.smooth("latency:small", 200.0, 0.5, 1000) == 150.0
    assert await state.smooth("latency:small", 150.5, 0.5, 1000) == 150.25


async def test_several_values_are_read_at_once(state: State, clock: Clock) -> None:
    await state.put("a", b"1", 60)
    await state.put("b", b"2", 5)
    await state.put("c", b"", 60)
    assert await state.get_many(["a", "b", "c", "none"]) == {"a": b"1", "b": b"2", "c": b""}
    assert await state.get_many([]) == {}


async def test_memory_is_bounded() -> None:
    state = MemoryState(max_bytes=100)
    for number in range(50):
        await state.put(f"{number:02}", b"x" * 18, 60)
    assert [await state.get(f"{number:02}") is not None for number in (44, 45, 49)] == [False, True, True]
    await state.put("49", b"y", 60)
    await state.delete("48")
    assert await state.get("45") == b"x" * 18


async def test_a_call_that_is_cancelled_ends_at_whatever_turn_of_the_loop(state: State) -> None:
    """redis-py 8.1 writes within `asyncio.wait_for`, which on Python 3.11 may lose a cancellation (gh-86296)."""
    for turns in range(60):
        call = asyncio.create_task(state.get("key"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if call.done():
            break
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
