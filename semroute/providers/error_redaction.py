"""Find a provider's address in error texts, in all forms that other programs write. No caller may see it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

SOMEWHERE = "the provider"
"""What an error says in place of the address."""
_PORTS = {"http": 80, "https": 443}
_ANY_IP = r"(?:\d{1,3}\.){3}\d{1,3}"


def place_of(base_url: str) -> re.Pattern[str] | None:
    """Return a pattern that finds a provider's address. None: the address is malformed, so it is never called.

    It finds the address with or without its scheme, credentials, port and path: `http://10.0.0.5:8000/v1`,
    `10.0.0.5:8000`, `10.0.0.5 port 8000`, `host='10.0.0.5', port=8000`. A name without a dot may also be that of
    a model, so it is found only with a scheme or a port. Any IP address with the provider's port is found, too.
    """
    try:
        url = urlsplit(base_url.rstrip("/"))
        host, port = url.hostname, url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    if not host or port is None:
        return None
    name = rf"(?<![\w.-])\[?{re.escape(host)}\]?(?![\w-]|\.\w)"
    scheme = r"https?://(?:[^\s/@]{0,200}@)?"
    # Each repetition has a limit, so that the search in a text never takes long.
    at_port = rf"(?:['\"]?[\s,]{{0,3}}:?[\s(]{{0,3}}(?:port)?[\s=:]{{0,3}}\b{port}\b)"
    path = rf"(?:{re.escape(url.path)})?" if url.path else ""
    alone = rf"|{name}" if "." in host or ":" in host else ""
    found = rf"{scheme}{name}{at_port}?{path}|(?:{name}|\b{_ANY_IP}){at_port}{path}{alone}"
    return re.compile(found, re.IGNORECASE)
