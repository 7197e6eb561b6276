"""Who may call what."""

from __future__ import annotations

import hashlib
import hmac

from semroute.errors import AccessError
from semroute.settings import PREFIX, Settings


class Access:
    """Checks keys. It keeps their hashes alone, and compares those in constant time."""

    def __init__(self, settings: Settings) -> None:
        self._api = _digest(settings.api_key) if settings.api_key else None
        self._admin = _digest(settings.admin_key) if settings.admin_key else None
        self._open_admin = settings.loopback

    def require_caller(self, authorization: str | None, api_key: str | None) -> None:
        """Check `Authorization: Bearer …` or `x-api-key: …`. Raises `AccessError`."""
        if self._api is None:
            return
        given = _digest(_token(authorization, api_key))
        if not hmac.compare_digest(given, self._api) and not self._is_admin(given):
            raise AccessError("the key is missing or wrong: send it as `Authorization: Bearer KEY`")

    def require_admin(self, authorization: str | None, api_key: str | None) -> None:
        """Check an admin call's key. Raises `AccessError`."""
        if self._admin is None:
            if self._open_admin:
                return
            raise AccessError(f"admin calls are closed: set {PREFIX}ADMIN_KEY to open them to its holder")
        if not self._is_admin(_digest(_token(authorization, api_key))):
            raise AccessError("the admin key is missing or wrong: send it as `Authorization: Bearer KEY`")

    def _is_admin(self, given: bytes) -> bool:
        return self._admin is not None and hmac.compare_digest(given, self._admin)


def _token(authorization: str | None, api_key: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key or ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
