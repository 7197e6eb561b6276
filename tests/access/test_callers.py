from __future__ import annotations

import pytest

from semroute.access.callers import Access
from semroute.access.keys import KeyRing, KeyStore
from semroute.errors import AccessError, ForbiddenError, SettingsError
from semroute.record import Caller
from semroute.settings import Settings
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import NOW, Clock


def store(clock: Clock) -> KeyStore:
    database = SqliteDatabase()
    migrate(database)
    return KeyStore(database, clock)


def test_a_loopback_address_is_open_until_there_is_a_key() -> None:
    clock = Clock()
    keys, ring = store(clock), KeyRing()
    access = Access(Settings(), ring, clock)
    anyone = access.caller(None, "whatever")
    assert (anyone.id, set(anyone.scopes)) == ("", {"route", "complete", "read", "admin"})
    token, made = keys.create(Caller(name="app", scopes=("complete",)), NOW + 10)
    ring.refresh(keys)
    with pytest.raises(AccessError):
        access.caller(None, None)
    assert access.caller(f"Bearer {token}", None) == made
    with pytest.raises(ForbiddenError, match="no scope 'read'"):
        access.require(made, "read")
    clock.now += 10
    with pytest.raises(AccessError, match="expired"):
        access.caller(None, token)


def test_an_address_that_others_reach_needs_a_key() -> None:
    outside = Settings(host="0.0.0.0")
    with pytest.raises(SettingsError, match="keys create"):
        outside.check()
    assert outside.check(has_keys=True) is outside
    assert Settings(host="0.0.0.0", insecure=True).check()
    open_to_all = Access(Settings(host="0.0.0.0", insecure=True)).caller(None, None)
    assert open_to_all.scopes == ("route", "complete")
    with pytest.raises(AccessError, match="SEMROUTE_ADMIN_KEY"):
        Access(Settings(host="0.0.0.0", insecure=True)).require(open_to_all, "admin")


def test_workers_that_share_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match="2 workers need something to share"):
        Settings(workers=2, database_url="memory:").check()


def test_the_keys_of_the_environment() -> None:
    access = Access(Settings(api_key="caller", admin_key="boss"))
    assert access.caller("Bearer caller", None).scopes == ("route", "complete")
    assert "admin" in access.caller(None, "boss").scopes
    with pytest.raises(AccessError):
        access.caller("Bearer wrong", None)


def test_a_rotated_key_keeps_its_id_and_a_revoked_one_ends() -> None:
    clock = Clock()
    keys, ring = store(clock), KeyRing()
    old, made = keys.create(Caller(name="app"))
    clock.now += 1
    new = keys.rotate(made.id)
    ring.refresh(keys)
    access = Access(Settings(), ring, clock)
    assert new is not None
    assert access.caller(None, new).id == made.id
    with pytest.raises(AccessError):
        access.caller(None, old)
    assert keys.revoke(made.id)
    assert keys.rotate(made.id) is None
    assert not keys.revoke("nothing")
    clock.now += 1
    ring.refresh(keys)
    with pytest.raises(AccessError, match="revoked"):
        access.caller(None, new)
