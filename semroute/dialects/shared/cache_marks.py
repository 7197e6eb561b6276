"""Leaves out marks for a prompt's cache, if a provider takes only a few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from semroute.dialects.shared.dropped import Dropped

MOST_MARKS = 4
"""Sources: https://github.com/continuedev/continue/pull/6937, which quotes Anthropic;
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, 2026-11-30."""
_ORDER = ("tools", "toolConfig", "system", "messages")
"""The order in which a prompt is read."""
_CALLERS_OWN = ("input", "input_schema", "inputSchema")


def fewer_marks(encoded: bytes, dropped: Dropped) -> bytes:
    """Return a body without its first marks for the cache, if it has too many. The last ones cover the most."""
    body: dict[str, Any] = msgspec.json.decode(encoded)
    marked = [place for key in _ORDER for place in _marked(body.get(key))]
    most = MOST_MARKS - ("cache_control" in body)
    if len(marked) <= most:
        return encoded
    dropped.add(f"cache_control: only the last {most} marks")
    for place, mark in marked[:-most]:
        if isinstance(place, dict):
            del place[mark]
        else:
            place.remove(mark)
    return msgspec.json.encode(body)


def _marked(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each object with a mark, and each list with a block that is one, in order."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in _CALLERS_OWN:
                yield from _marked(each)
        if "cache_control" in value:
            yield value, "cache_control"
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and "cachePoint" in each:
                yield value, each
            else:
                yield from _marked(each)
