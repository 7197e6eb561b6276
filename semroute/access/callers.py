"""Who may call what."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

from semroute.access.keys import KeyRing, key_id
from semroute.errors import AccessError, ForbiddenError
from semroute.record import Caller, Scope
from semroute.settings import PREFIX, Settings

FROM_ENVIRONMENT = "env"
_NOBODY = bytes(32)


class Access:
    """Checks keys. It keeps their hashes alone, and compares those in constant time.

    Keys are those that `semroute keys create` made, and two from the environment to begin with. Without any of them the
    service is open on a loopback address, and elsewhere where it was told to be.
    """

    def __init__(self, settings: Settings, ring: KeyRing | None = None, clock: Callable[[], float] = time.time) -> None:
        self._api = digest(settings.api_key) if settings.api_key else None
        self._admin = digest(settings.admin_key) if settings.admin_key else None
        self._loopback = settings.loopback
        self._ring = KeyRing() if ring is None else ring
        self._clock = clock

    def caller(self, authorization: str | None, api_key: str | None) -> Caller:
        """Who sends `Authorization: Bearer …` or `x-api-key: …`. Raises `AccessError`."""
        token = _token(authorization, api_key)
        given = digest(token)
        if self._admin is not None and hmac.compare_digest(given, self._admin):
            return Caller(id=FROM_ENVIRONMENT, name=f"{PREFIX}ADMIN_KEY")
        if self._api is not None and hmac.compare_digest(given, self._api):
            return Caller(id=FROM_ENVIRONMENT, name=f"{PREFIX}API_KEY", scopes=("route", "complete", *self._open()))
        key = self._ring.get(key_id(token))
        if hmac.compare_digest(given, key.digest if key else _NOBODY) and key is not None:
            if key.ended(self._clock()):
                raise AccessError(f"the key {key.caller.id} has expired or was revoked")
            return key.caller
        scopes: tuple[Scope, ...] = self._open()
        if self._api is None and not self._ring:
            scopes = ("route", "complete", *scopes)
        if not scopes:
            raise AccessError("the key is missing or wrong: send it as `Authorization: Bearer KEY`")
        return Caller(scopes=scopes)

    def require(self, caller: Caller, scope: Scope) -> None:
        """Check that a caller may do something. Raises `AccessError` and `ForbiddenError`."""
        if scope in caller.scopes or "admin" in caller.scopes:
            return
        if caller.id not in ("", FROM_ENVIRONMENT):
            raise ForbiddenError(f"the key {caller.id} has no scope {scope!r}, only {', '.join(caller.scopes)}")
        if scope in ("route", "complete"):
            raise AccessError("the key is missing or wrong: send it as `Authorization: Bearer KEY`")
        if self._admin is None and not self._ring:
            raise AccessError(f"admin calls are closed: set {PREFIX}ADMIN_KEY to open them to its holder")
        raise AccessError("the admin key is missing or wrong: send it as `Authorization: Bearer KEY`")

    def _open(self) -> tuple[Scope, ...]:
        """What needs no key: reading and operating, on this machine, while no key is there for them."""
        return ("read", "admin") if self._loopback and self._admin is None and not self._ring else ()


def digest(key: str) -> bytes:
    """SHA-256. Keys are long and random: nothing slower is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _token(authorization: str | None, api_key: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key or ""
