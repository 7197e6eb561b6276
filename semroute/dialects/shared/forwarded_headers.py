"""How a dialect describes the headers of callers that are forwarded to its providers, and which headers never are.

Each dialect lists its own as `HEADERS`, and `headers_to_forward` picks them out of a request. A header is forwarded if
it names the version or the features that the body was written for. Headers that say who pays or who asks come from the
provider's entry in the route files. Keys are never forwarded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from semroute.bases import Frozen
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import ChatRequest

MAX_HEADER_CHARS = 2048
"""The most characters of a forwarded header."""
MAX_SHOWN_CHARS = 40
"""How much of a value that is not forwarded is shown."""
NAMES = r"[\w.=:/@-]+(?:[ \t]*,[ \t]*[\w.=:/@-]+)*"
"""A pattern for a list of names."""


class Header(Frozen, frozen=True):
    """A header that is forwarded."""

    name: str
    """The name, in lower case."""
    takes: str
    """A pattern for the values that are forwarded. Other values are left out with a note."""
    source: str
    seen: str
    """The day on which the source was read, as YYYY-MM-DD."""
    joins: bool = False
    """The header holds a list. If the provider's own headers have it too, both lists are sent as one."""


NOT_FORWARDED: dict[str, str] = {
    "authorization": "it is a key for semroute: the provider gets the key in the route files",
    "x-api-key": "likewise",
    "api-key": "likewise",
    "x-goog-api-key": "likewise",
    "cookie": "it belongs to semroute's own pages",
    "openai-organization": "it says who pays: write it in the provider's `headers`",
    "openai-project": "likewise",
    "anthropic-workspace-id": "likewise",
    "x-goog-user-project": "likewise",
    "x-goog-api-client": "it names the program that asks, which is semroute here",
    "x-goog-fieldmask": "it removes fields that semroute reads",
    "x-server-timeout": "semroute has its own deadlines and retries",
    "anthropic-dangerous-direct-browser-access": "semroute is no browser",
    "idempotency-key": "semroute uses it itself: each call to a provider is a new one",
    "x-stainless-retry-count": "it counts the caller's retries",
}
"""Headers of clients that are not forwarded, each with the reason. Nor is any header that no dialect names."""


def headers_to_forward(
    request: ChatRequest, dialect: str, headers: Sequence[Header], dropped: Dropped
) -> dict[str, str]:
    """Return the caller's headers to forward to a provider of this dialect. Note values that cannot go on."""
    found: dict[str, str] = {}
    if request.dialect == dialect and request.headers:
        for header in headers:
            value = request.headers.get(header.name)
            if value is None or not (value := value.strip()):  # most headers are missing
                continue
            if len(value) <= MAX_HEADER_CHARS and _pattern(header.takes).fullmatch(value):
                found[header.name] = value
            else:
                dropped.add(f"header {header.name}: {value[:MAX_SHOWN_CHARS]!r}")
    return found


@cache
def _pattern(takes: str) -> re.Pattern[str]:
    return re.compile(takes, re.ASCII)
