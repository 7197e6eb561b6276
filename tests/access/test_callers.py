from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from semroute.access.api_keys import KeyRing, KeyStore
from semroute.access.callers import Access
from semroute.caller import Caller, Scope
from semroute.errors import AccessError, ForbiddenError, SettingsError
from semroute.settings import Settings
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import NOW, Clock


def store(clock: Clock) -> KeyStore:
    database = SqliteDatabase()
    migrate(database)
    return KeyStore(database, clock)


@pytest.mark.parametrize(
    ("written", "has_keys", "access"),
    [
        ({}, False, "loopback"),
        ({"host": "::1"}, False, "loopback"),
        ({"host": "localhost"}, False, "loopback"),
        ({}, True, "keys"),
        ({"api_key": "k"}, False, "keys"),
        ({"admin_key": "k"}, False, "keys"),
        ({"api_key": "k", "admin_key": "a"}, False, "keys"),
        ({"access": "keys"}, False, "keys"),
        ({"access": "keys", "insecure": True}, False, "keys"),
        ({"host": "0.0.0.0"}, False, None),
        ({"host": "0.0.0.0", "access": "loopback"}, False, None),
        ({"host": "0.0.0.0"}, True, "keys"),
        ({"host": "0.0.0.0", "api_key": "k"}, False, "keys"),
        ({"host": "0.0.0.0", "admin_key": "k"}, False, "keys"),
        ({"host": "0.0.0.0", "insecure": True}, False, "insecure"),
        ({"host": "0.0.0.0", "access": "insecure"}, False, "insecure"),
        ({"insecure": True}, False, "insecure"),
        ({"insecure": True, "admin_key": "a"}, False, "insecure"),
        ({"insecure": True, "api_key": "k"}, False, "keys"),
        ({"insecure": True}, True, "keys"),
    ],
)
def test_who_is_served_is_decided_once(written: dict[str, Any], has_keys: bool, access: str | None) -> None:
    settings = Settings(**written)
    if access is None:
        with pytest.raises(SettingsError, match="keys create"):
            settings.decided(has_keys=has_keys)
    else:
        decided = settings.decided(has_keys=has_keys)
        assert decided.access == access
        assert decided.decided().access == access  # a worker decides nothing else


def test_loopback_and_insecure_contradict_each_other() -> None:
    with pytest.raises(SettingsError, match="ACCESS=loopback and --insecure"):
        Settings(access="loopback", insecure=True).decided()


BOUNDS: dict[str, Any] = {
    "routes": ("billing",),
    "models": ("small",),
    "requests_per_minute": 0,
    "tokens_per_minute": 1,
    "concurrency": 0,
    "usd_per_day": Decimal(0),
    "usd_per_month": Decimal(1),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_each_limit_of_a_key_bounds_it(field: str) -> None:
    assert Caller(**{field: BOUNDS[field]}).bounded


def test_a_key_without_limits_is_not_bounded() -> None:
    assert not Caller(id="k", name="app", team="a", scopes=("read",), metadata={"plan": "free"}).bounded
    assert {*Caller.__struct_fields__} == {"id", "name", "team", "scopes", "metadata", *BOUNDS}


def test_a_service_without_a_key_closes_with_the_first_one_and_stays_closed() -> None:
    clock = Clock()
    keys, ring = store(clock), KeyRing()
    access = Access(Settings(), ring, clock)
    anyone = access.caller("whatever")
    assert (anyone.id, set(anyone.scopes), access.openness) == ("", {"route", "complete", "read", "admin"}, "loopback")
    token, made = keys.create(Caller(name="app", scopes=("complete",)), NOW + 10)
    ring.refresh(keys)
    assert (access.openness, access.shut) == ("keys", False)
    with pytest.raises(AccessError):
        access.caller("")
    assert access.caller(token) == made
    with pytest.raises(ForbiddenError, match="no scope 'read'"):
        access.require(made, "read")
    clock.now += 10
    with pytest.raises(AccessError, match="expired"):
        access.caller(token)
    with keys._database.transaction() as session:
        session.run("DELETE FROM keys")
    ring.refresh(keys)
    assert (access.openness, access.shut) == ("keys", True)
    for nobody in ("", token):
        with pytest.raises(AccessError):
            access.caller(nobody)


def test_a_key_table_that_was_full_at_the_start_and_is_empty_in_a_worker_lets_nobody_in() -> None:
    decided = Settings(host="0.0.0.0").decided(has_keys=True)
    with pytest.raises(AccessError, match="missing or wrong"):
        Access(decided, KeyRing()).caller("")


def test_who_serves_everyone_lets_them_ask_and_no_more() -> None:
    open_to_all = Access(Settings(host="0.0.0.0", insecure=True))
    anyone = open_to_all.caller("")
    assert anyone.scopes == ("route", "complete")
    scopes: tuple[Scope, ...] = ("read", "admin")
    for scope in scopes:
        with pytest.raises(AccessError, match="SEMROUTE_ADMIN_KEY"):
            open_to_all.require(anyone, scope)
    operated = Access(Settings(insecure=True, admin_key="boss"))
    assert operated.caller("unused").scopes == ("route", "complete")
    assert "admin" in operated.caller("boss").scopes


@pytest.mark.parametrize("admin_key", ["", "boss"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_key_that_is_set_is_needed_and_makes_nobody_an_admin(host: str, admin_key: str) -> None:
    access = Access(Settings(host=host, api_key="caller", admin_key=admin_key))
    caller = access.caller("caller")
    scopes: tuple[Scope, ...] = ("read", "admin")
    for scope in scopes:
        with pytest.raises(AccessError):
            access.require(caller, scope)
    for sent in ("", "wrong", "Basic caller", "bearer\tcaller"):
        with pytest.raises(AccessError):
            access.caller(sent)


def test_workers_that_share_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match="2 workers need a store that all can use"):
        Settings(workers=2, database_url="memory:").decided()


def test_the_keys_of_the_environment() -> None:
    access = Access(Settings(api_key="caller", admin_key="boss"))
    assert access.caller("caller").scopes == ("route", "complete")
    assert "admin" in access.caller("boss").scopes
    with pytest.raises(AccessError):
        access.caller("wrong")


def test_a_rotated_key_keeps_its_id_and_a_revoked_one_ends() -> None:
    clock = Clock()
    keys, ring = store(clock), KeyRing()
    old, made = keys.create(Caller(name="app"))
    clock.now += 1
    new = keys.rotate(made.id)
    ring.refresh(keys)
    access = Access(Settings(), ring, clock)
    assert new is not None
    assert access.caller(new).id == made.id
    with pytest.raises(AccessError):
        access.caller(old)
    assert keys.revoke(made.id)
    assert keys.rotate(made.id) is None
    assert not keys.revoke("nothing")
    clock.now += 1
    ring.refresh(keys)
    with pytest.raises(AccessError, match="revoked"):
        access.caller(new)


@pytest.mark.parametrize("damage", ["caller = '{'", "digest = 'text'", "expires_at = 'tomorrow'"])
def test_a_damaged_key_lets_nobody_in_and_harms_no_other(damage: str) -> None:
    database, clock = SqliteDatabase(), Clock()
    migrate(database)
    keys, ring = KeyStore(database, clock), KeyRing()
    damaged, caller = keys.create(Caller(name="damaged"))
    kept, _ = keys.create(Caller(name="kept"))
    ended, other = keys.create(Caller(name="ended"))
    ring.refresh(keys)
    with database.transaction() as session:
        session.run(f"UPDATE keys SET {damage} WHERE id = ?", (caller.id,))
    keys.revoke(other.id)

    ring.refresh(keys)

    access = Access(Settings(access="keys"), ring, clock)
    assert access.caller(kept).name == "kept"
    for token in (damaged, ended):
        with pytest.raises(AccessError):
            access.caller(token)
    assert {key.caller.name for key in keys.all()} == {"kept", "ended"}


def test_the_audit_log_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semroute.access.api_keys.MAX_AUDITED", 3)
    clock = Clock()
    keys = store(clock)
    for number in range(5):
        clock.now += 1
        keys.audit("somebody", f"refused {number}", "x" * 10_000, allowed=False)
    clock.now += 1
    keys.audit("boss", "allowed")
    for number in range(5, 7):
        clock.now += 1
        keys.audit("somebody", f"refused {number}", allowed=False)
    noted = keys.audited()
    assert [row["action"] for row in noted] == ["refused 6", "refused 5", "allowed", "refused 4"]
    assert len(noted[-1]["detail"]) == 500
