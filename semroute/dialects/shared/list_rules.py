"""Rules of `field_limits.py` for whole lists: what may not come twice, be empty, or stand at its place."""

from __future__ import annotations

from typing import Any

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
    assistant that is not marked as the start of the answer.
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
