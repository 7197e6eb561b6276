"""Decide who may call what."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import cast

from semroute.access.api_keys import KeyRing, key_id
from semroute.caller import Caller, Scope
from semroute.errors import AccessError, ForbiddenError
from semroute.settings import PREFIX, Openness, Settings

FROM_ENVIRONMENT = "env"
_NOBODY = bytes(32)
_ADMIN = Caller(id=FROM_ENVIRONMENT, name=f"{PREFIX}ADMIN_KEY")
_API = Caller(id=FROM_ENVIRONMENT, name=f"{PREFIX}API_KEY", scopes=("route", "complete"))


WITHOUT_KEY: Mapping[Openness, Caller] = {
    "loopback": Caller(scopes=("route", "complete", "read", "admin")),
    "insecure": Caller(scopes=("route", "complete")),
}
"""Who calls without a key. If every call needs one, there is nobody."""
ASK = "send it as `Authorization: Bearer KEY`"


class Access:
    """Checks keys. It keeps only hashes of keys, and compares them in constant time.

    `semroute keys create` makes keys, and two may come from the environment. Whether some calls need no key is decided
    at the start. A key that is made later closes the service: from then on, every call needs a key.
    """

    def __init__(self, settings: Settings, ring: KeyRing | None = None, clock: Callable[[], float] = time.time) -> None:
        """Raises `SettingsError` if the settings do not say who is served."""
        self._ring = KeyRing() if ring is None else ring
        if settings.access == "auto":
            settings = settings.decided(has_keys=self._ring.seen)
        self._decided: Openness = cast("Openness", settings.access)
        self._api = digest(settings.api_key) if settings.api_key else None
        self._admin = digest(settings.admin_key) if settings.admin_key else None
        self._clock = clock

    @property
    def openness(self) -> Openness:
        """Say who is served now."""
        return "keys" if self._ring.seen else self._decided

    @property
    def shut(self) -> bool:
        """Return whether nobody can be served, because every call needs a key and there is none."""
        return self.openness == "keys" and self._api is None and self._admin is None and self._ring.empty

    @property
    def several_keys(self) -> bool:
        """Return whether more than one key may ask for answers."""
        return len(self._ring) + (self._api is not None) > 1

    def caller(self, token: str) -> Caller:
        """Return the caller who sends a key. Empty: no key was sent. Raises `AccessError` if each call needs one."""
        if token and (holder := self._holder(token)) is not None:
            return holder
        if (visitor := WITHOUT_KEY.get(self.openness)) is None:
            raise AccessError(f"the key is missing or wrong: {ASK}")
        return visitor

    def _holder(self, token: str) -> Caller | None:
        """Return the caller with this key. None: there is no such key."""
        given = digest(token)
        if self._admin is not None and hmac.compare_digest(given, self._admin):
            return _ADMIN
        if self._api is not None and hmac.compare_digest(given, self._api):
            return _API
        key = self._ring.get(key_id(token))
        if hmac.compare_digest(given, key.digest if key else _NOBODY) and key is not None:
            if key.ended(self._clock()):
                raise AccessError(f"the key {key.caller.id} has expired or was revoked")
            return key.caller
        return None

    def looks_new(self, token: str) -> bool:
        """Return whether a refused key may be new, or may have a new secret, since the keys were read."""
        if not (id_ := key_id(token)):
            return False
        given, key = digest(token), self._ring.get(id_)
        known = key is not None and hmac.compare_digest(given, key.digest)
        return not known and not self._ring.is_stranger(given)

    def note_stranger(self, token: str) -> None:
        """Note that a refused key is not one of the present keys."""
        self._ring.note_stranger(digest(token))

    def require(self, caller: Caller, scope: Scope) -> None:
        """Check that a caller may do something. Raises `AccessError` and `ForbiddenError`."""
        if scope in caller.scopes or "admin" in caller.scopes:
            return
        if caller.id not in ("", FROM_ENVIRONMENT):
            raise ForbiddenError(f"the key {caller.id} has no scope {scope!r}, only {', '.join(caller.scopes)}")
        if self._admin is None and not self._ring.seen:
            raise AccessError(
                f"this call needs a key with the scope {scope!r}, and there is none: set {PREFIX}ADMIN_KEY"
            )
        raise AccessError(f"this call needs a key with the scope {scope!r}, or the admin key: {ASK}")


def digest(key: str) -> bytes:
    """Return the SHA-256 of a key. Keys are long and random, so no slower hash is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
