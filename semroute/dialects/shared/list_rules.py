"""Rules of `field_limits.py` for whole lists: what may not come twice or too often, be empty, or stand at its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.fitting import Fitting, Rule

BRIDGE = "Understood."
"""A turn of the assistant between a tool's result and the user."""


def unique(what: str, *path: str) -> Rule:
    """Make the rule for a list in which each name may stand once. `path` leads from an item to its name."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, list) or len(value) < 2:
            return value
        kept: list[Any] = []
        names: set[str] = set()
        for item in value:
            name = item
            for step in path:
                name = name.get(step) if isinstance(name, dict) else None
            if isinstance(name, str) and name in names:
                fitting.dropped.add(f"{what}: only the first of two with the same name")
                continue
            names.add(str(name))
            kept.append(item)
        return value if len(kept) == len(value) else kept

    return rule


def filled(what: str) -> Rule:
    """Make the rule for a text or a list of texts, of which none may be empty."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if value != "" and not (isinstance(value, list) and "" in value):
            return value
        fitting.dropped.add(f"{what}: an empty text")
        return [item for item in value if item != ""] or None

    return rule


def mistral_order(value: Any, fitting: Fitting) -> Any:
    """Bring messages into an order that Mistral takes.

    It refuses a turn of the user after a tool's result, an assistant's turn that says nothing, and a last turn of the
    assistant that is not marked as the start of the answer. Sources, read on 2026-11-30:
    https://github.com/avante-corp/avante.nvim/pull/2695, https://github.com/OpenHands/OpenHands/issues/8685,
    https://github.com/huggingface/smolagents/issues/757.
    """
    if not isinstance(value, list):
        return value
    kept: list[Any] = []
    changed = False
    for message in value:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            fitting.dropped.adapt("messages: a turn of the assistant without content is left out")
            changed = True
            continue
        if role == "user" and kept and kept[-1].get("role") == "tool":
            fitting.dropped.adapt("messages: a turn of the assistant follows a tool's result")
            kept.append({"role": "assistant", "content": BRIDGE})
            changed = True
        kept.append(message)
    last = kept[-1] if kept else None
    if isinstance(last, dict) and last.get("role") == "assistant" and not last.get("tool_calls"):
        kept[-1] = {**last, "prefix": True}
        changed = True
    return kept if changed else value


# --- marks for a prompt's cache ---------------------------------------------------------------------------------------

MARKS = {"anthropic": b'"cache_control"', "bedrock": b'"cachePoint"'}
"""How providers that limit them write a mark."""
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
