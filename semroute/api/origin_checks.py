"""Refuse some requests before they are read: from strangers, from other web pages, and with bodies that are not JSON.

A browser sends requests for any page that it shows, also to services on the user's own machine. So if no key is needed,
a request must come from this machine and name it in `Host`. In any case, a call that may change something must not come
from a page of another site, unless `cors` in the route files allows it.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import cast

from litestar.types import HTTPResponseStartEvent, HTTPScope, Message, Send

from semroute.access.callers import Access
from semroute.config.schema.service import Cors
from semroute.errors import ForbiddenError, MediaTypeError
from semroute.settings import PREFIX

LIVE = "/health/live"
"""A path that anybody may call, because the answer tells nothing."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
FORWARDED = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}
    | {b"cf-connecting-ip", b"true-client-ip", b"x-client-ip", b"x-cluster-client-ip", b"fly-client-ip"}
)
"""Headers in which a proxy names the caller it forwards for."""
MEDIA = (b"application/json", b"application/x-www-form-urlencoded")
"""Media types that bodies may have: JSON, and the one that curl's `-d` gives to every body. A browser uses that one for
forms, but then also names the page of the form."""
UPLOADS, FORM = "/v1/files", b"multipart/form-data"
"""The path on which a body may be a form with a file, as OpenAI's clients upload it, and its media type."""
EXPOSED = frozenset({b"x-request-id", b"request-id", b"retry-after", b"x-should-retry"})
"""Headers of answers that scripts of other origins may read, besides our own."""
OURS = b"x-semroute-"
ASKS = b"access-control-request-method"
"""The header with which a browser asks whether a page may send a request."""
HERE = frozenset({"127.0.0.1", "::1"})
"""The addresses of nearly all callers on this machine."""
PREFLIGHT_S = b"600"
"""Seconds for which a browser may remember what a page may do."""
MAX_SHOWN = 100
_LINK = re.compile(r"/feedback/[\w.-]+\.[\w-]+\.[\w-]+", re.ASCII)
"""The path of a signed link: what was signed, when, and the signature."""
_LOCAL_NAME = re.compile(r"(?:\[([0-9a-f:]+)\]|([0-9.]+)|localhost)(?::[0-9]*)?", re.IGNORECASE)
_FORWARDED_PART = re.compile(rb'(?:for|host)="?([^;,"]+)', re.IGNORECASE)
"""In the header of https://datatracker.ietf.org/doc/html/rfc7239."""

Found = Mapping[bytes, bytes]
"""The headers by name. A header that was sent twice has both values, so it matches nothing."""


class OriginGate:
    """Decides which requests are let in."""

    def __init__(self, access: Access, cors: Callable[[], Cors | None]) -> None:
        """`cors`: returns the settings in service."""
        self._access = access
        self._cors = cors

    def look(self, scope: HTTPScope) -> Found:
        """Return the headers in the form that the other methods need."""
        headers = cast("Sequence[tuple[bytes, bytes]]", scope["headers"])
        found = dict(headers)
        if len(found) < len(headers):
            every: defaultdict[bytes, list[bytes]] = defaultdict(list)
            for name, value in headers:
                every[name].append(value)
            found = {name: b", ".join(values) for name, values in every.items()}
        return found

    def welcomes(self, found: Found) -> bool:
        """Return whether the request comes from a page that `cors` allows."""
        origin = found.get(b"origin")
        if origin is None:
            return False
        cors = self._cors()
        return cors is not None and cors.allows(origin.decode("latin-1"))

    def check(self, scope: HTTPScope, found: Found, *, welcome: bool) -> None:
        """Raise `ForbiddenError` or `MediaTypeError` if the request is not let in."""
        path, method, local = scope["path"], scope["method"], self._access.openness == "loopback"
        if local and path != LIVE:
            _check_local(scope, found)
        if method in SAFE and not (method == "OPTIONS" and ASKS in found):
            return
        if _LINK.fullmatch(path):
            return  # a signed link needs no key, and its page sends a form
        if not welcome and (b"origin" in found or b"sec-fetch-site" in found) and _is_foreign(found, local):
            origin = _shown(found.get(b"origin", b"another site"))
            raise ForbiddenError(
                f"this call was sent by a web page of {origin}, which may not use the service: to allow it, add "
                "its origin to `cors: {origins: [...]}` in the route files"
            )
        if (media := found.get(b"content-type")) is not None and media not in MEDIA:
            _check_media(media, path)


def preflight(scope: HTTPScope, found: Found) -> list[tuple[bytes, bytes]] | None:
    """Return the headers for a browser that asks what a page may do. None: the request is not such a question."""
    if scope["method"] != "OPTIONS" or ASKS not in found:
        return None
    headers = [
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", found.get(b"access-control-request-headers", b"authorization, content-type")),
        (b"access-control-max-age", PREFLIGHT_S),
    ]
    if b"access-control-request-private-network" in found:
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def readable(send: Send, origin: bytes) -> Send:
    """Wrap `send` so that scripts of an origin may read the answer."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            names = [name for name, _ in headers if name.startswith(OURS) or name in EXPOSED]
            added = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            if names:
                added.append((b"access-control-expose-headers", b", ".join(names)))
            message = cast("HTTPResponseStartEvent", {**message, "headers": [*headers, *added]})
        await send(message)

    return tell


def _check_local(scope: HTTPScope, found: Found) -> None:
    """Raise `ForbiddenError` if the caller is not on this machine."""
    client, host = scope.get("client"), found.get(b"host", b"")
    if client is not None and client[0] not in HERE and not _is_local(client[0]):
        got = f"a call from {client[0]}"
    elif not found.keys().isdisjoint(FORWARDED) and (via := _passed_on(found)):
        got = f"a call that a proxy passes on for {_shown(via)}"
    elif not _is_local(host.decode("latin-1")):
        got = f"the Host {_shown(host)}, expected localhost or 127.0.0.1"
    else:
        return
    raise ForbiddenError(
        f"there is no key, so only programs on this machine are served: got {got}. To serve others, set "
        f"{PREFIX}API_KEY, or make a key with `semroute keys create`"
    )


def _passed_on(found: Found) -> bytes:
    """Return the caller outside this machine for whom a proxy asks. Empty: there is none."""
    named = [found[name].split(b",") for name in sorted(FORWARDED - {b"forwarded"}) if name in found]
    named.append(_FORWARDED_PART.findall(found.get(b"forwarded", b"")))
    hosts = (host.strip() for each in named for host in each)
    return next((host for host in hosts if not _is_local(host.decode("latin-1"))), b"")


def _is_local(host: str) -> bool:
    """Return whether an address or a `Host` means this machine."""
    return len(host) <= MAX_SHOWN and _means_here(host)


@lru_cache(maxsize=256)
def _means_here(host: str) -> bool:
    match = _LOCAL_NAME.fullmatch(host)
    address = host if match is None else match[1] or match[2] or "127.0.0.1"
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_foreign(found: Found, local: bool) -> bool:
    """Return whether a request comes from a page of another origin. Only browsers send these headers."""
    origin, site = found.get(b"origin"), found.get(b"sec-fetch-site")
    if site not in (None, b"same-origin", b"none"):
        return True
    host = found.get(b"host", b"")
    if origin is None or origin in (b"http://" + host, b"https://" + host):
        return False
    # A proxy may have put another `Host` in place of the one that the browser knows.
    return local or site != b"same-origin"


def _check_media(media: bytes, path: str) -> None:
    kind = media.partition(b";")[0].strip().lower()
    if path.rstrip("/") == UPLOADS and kind == FORM:
        return
    if kind and kind not in MEDIA and b"json" not in kind:
        raise MediaTypeError(f"content-type: got {_shown(media)}, expected application/json")


def _shown(value: bytes) -> str:
    return repr(value.decode("latin-1")[:MAX_SHOWN])
