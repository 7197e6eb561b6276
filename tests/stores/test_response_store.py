"""Kept responses, in every database."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from semroute.errors import PayloadTooLargeError
from semroute.stores import response_store
from semroute.stores.interfaces import Database
from semroute.stores.response_store import KeptResponse, ResponseStore
from tests.stores.conftest import Clock

HOUR_S = 3600.0


def kept(id_: str, said: str = "hi", asked: bytes = b'["what?"]') -> KeptResponse:
    item = b'{"type":"message","content":"%s"}' % said.encode()
    return KeptResponse(id=id_, response=b'{"id":"%s"}' % id_.encode(), asked=asked, output=((f"msg_{id_}", item),))


@pytest.fixture
def store(database: Database, clock: Clock) -> ResponseStore:
    return ResponseStore(database, clock)


def test_a_response_is_there_for_its_owner_alone_until_it_is_deleted(store: ResponseStore) -> None:
    assert store.keep("anna", kept("one"), HOUR_S)
    assert store.load("anna", "one") == kept("one")
    assert store.items("anna", ["msg_one", "msg_two"]) == {"msg_one": kept("one").output[0][1]}
    assert store.load("bert", "one") is None
    assert store.items("bert", ["msg_one"]) == {}
    assert not store.delete("bert", "one")
    assert store.load("anna", "one") is not None
    assert store.delete("anna", "one")
    assert (store.load("anna", "one"), store.items("anna", ["msg_one"])) == (None, {})
    assert not store.delete("anna", "one")


def test_a_response_ends_with_its_time_and_leaves_nothing(
    store: ResponseStore, database: Database, clock: Clock
) -> None:
    store.keep("anna", kept("one"), HOUR_S)
    clock.now += HOUR_S - 1
    assert store.load("anna", "one") is not None
    clock.now += 1
    assert (store.load("anna", "one"), store.items("anna", ["msg_one"])) == (None, {})
    assert not store.delete("anna", "one")
    store.keep("anna", kept("two"), HOUR_S)
    clock.now += HOUR_S
    store.sweep()
    with database.transaction(write=False) as session:
        assert session.run("SELECT COUNT(*) FROM kept_responses") == [(0,)]
        assert session.run("SELECT COUNT(*) FROM kept_items") == [(0,)]


def test_no_more_is_unpacked_than_may_be(store: ResponseStore) -> None:
    for number in range(3):
        store.keep("anna", kept(f"r{number}", "a" * 1_000_000), HOUR_S)
    size = len(kept("r0", "a" * 1_000_000).output[0][1])
    ids = ["msg_r0", "msg_r1", "msg_r2"]
    assert len(store.items("anna", ids, 3 * size)) == 3
    with pytest.raises(PayloadTooLargeError, match=f"more than {3 * size - 1} bytes"):
        store.items("anna", ids, 3 * size - 1)
    whole = size + len(kept("r0").response) + len(kept("r0").asked)
    assert store.load("anna", "r0", whole) is not None
    for limit in (whole - 1, 0, -1):
        with pytest.raises(PayloadTooLargeError):
            store.load("anna", "r0", limit)


def test_a_text_that_is_packed_a_thousand_times_takes_no_more_memory_than_may_be(store: ResponseStore) -> None:
    store.keep("anna", kept("one", asked=b'["%s"]' % (b"a" * 20_000_000)), HOUR_S)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLargeError):
            store.load("anna", "one", 100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_response_that_comes_again_replaces_the_first(store: ResponseStore) -> None:
    store.keep("anna", kept("one", "first"), HOUR_S)
    store.keep("anna", kept("one", "second"), HOUR_S)
    assert store.load("anna", "one") == kept("one", "second")


def test_an_item_of_several_responses_is_the_newest(store: ResponseStore, clock: Clock) -> None:
    for number in range(3):
        clock.now += 1
        same = KeptResponse(id=f"r{number}", response=b"{}", asked=b"[]", output=(("msg_0", b"%d" % number),))
        store.keep("anna", same, HOUR_S)
    assert store.items("anna", ["msg_0"]) == {"msg_0": b"2"}


def test_the_oldest_of_an_owner_go_first(store: ResponseStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_store, "MAX_COUNT", 3)
    monkeypatch.setattr(response_store, "SPARE", 0)
    store.keep("bert", kept("other"), HOUR_S)
    for number in range(5):
        clock.now += 1
        store.keep("anna", kept(f"r{number}"), HOUR_S)
    assert [store.load("anna", f"r{number}") is not None for number in range(5)] == [False, False, True, True, True]
    assert store.load("bert", "other") is not None


def test_what_is_kept_is_bounded_in_bytes(store: ResponseStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    large = random.Random(7).randbytes(1000)  # cannot be compressed
    monkeypatch.setattr(response_store, "MAX_ONE_BYTES", 2500)
    monkeypatch.setattr(response_store, "MAX_BYTES", 2500)
    monkeypatch.setattr(response_store, "MAX_ALL_BYTES", 3500)
    monkeypatch.setattr(response_store, "ALL_EVERY", 1)
    assert not store.keep("anna", kept("too large", asked=random.Random(8).randbytes(3000)), HOUR_S)
    assert store.load("anna", "too large") is None
    for number in range(3):
        clock.now += 1
        assert store.keep("anna", kept(f"r{number}", asked=large), HOUR_S)
    assert [store.load("anna", f"r{number}") is not None for number in range(3)] == [False, True, True]
    for number in range(2):
        clock.now += 1
        store.keep("bert", kept(f"b{number}", asked=large), HOUR_S)
    assert [store.load("anna", f"r{number}") is not None for number in range(3)] == [False, False, True]


@pytest.mark.parametrize("id_", ["a\0b", "ä", "a\nb"])
def test_what_can_be_no_id_is_not_there(store: ResponseStore, id_: str) -> None:
    assert not store.keep("anna", kept(id_), HOUR_S)
    assert (store.load("anna", id_), store.items("anna", [id_]), store.delete("anna", id_)) == (None, {}, False)


def test_no_text_stands_in_the_database_as_it_is(store: ResponseStore, database: Database) -> None:
    store.keep("anna", kept("one", asked=b'["a secret that somebody told"]' * 3), HOUR_S)
    with database.transaction(write=False) as session:
        [row] = session.run("SELECT owner, id, response, asked FROM kept_responses")
    assert b"secret" not in b"".join(bytes(value) for value in row[2:])
