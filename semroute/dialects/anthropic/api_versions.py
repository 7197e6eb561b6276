"""Versions of Anthropic's API: the headers that name a version and its features, and what a version refuses.

Source: https://platform.claude.com/docs/en/api/migration-2026-10-21, read on 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.forwarded_headers import NAMES, Header

FIRST = "2023-06-01"
"""The version for which semroute renders bodies."""
SECOND = "2026-10-21"
VERSION_HEADER = "anthropic-version"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
HEADERS = (
    Header(VERSION_HEADER, _DATE, "https://platform.claude.com/docs/en/api/versioning", "2026-11-30"),
    Header("anthropic-beta", NAMES, "https://platform.claude.com/docs/en/api/beta-headers", "2026-11-30", joins=True),
)
"""Headers of callers that are forwarded."""
SAMPLING = ("temperature", "top_p", "top_k")
"""The fields of a body that set sampling."""


def pinned_version(headers: Mapping[str, str]) -> str:
    """Return the version in a provider's headers in the route files. Empty: they name none."""
    return next((value for name, value in headers.items() if name.lower() == VERSION_HEADER), "")


def keep_to_version(body: dict[str, Any], version: str, dropped: Dropped) -> None:
    """Remove what a version refuses from a body. Nested parts are copied, as they may be the caller's own."""
    if version < SECOND:
        return
    for name in SAMPLING:
        if body.pop(name, None) is not None:
            dropped.add(f"{name}: not in version {version}")
    body["messages"] = _messages(body["messages"], dropped)


def _messages(messages: list[dict[str, Any]], dropped: Dropped) -> list[dict[str, Any]]:
    """Move documents of the model's turns to the user's next turn, and remove citations from the user's texts."""
    kept: list[dict[str, Any]] = []
    waiting: list[Any] = []
    for message in messages:
        said = content = message.get("content")
        if message["role"] == "assistant" and isinstance(content, list):
            documents = [block for block in content if _is(block, "document")]
            waiting += documents
            content = [block for block in content if block not in documents] if documents else content
        elif message["role"] == "user":
            content = _uncited(content, dropped)
            if waiting:
                texts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
                content, waiting = [*texts, *waiting], []
                dropped.adapt("documents of the model's turns: sent in the user's next turn")
        if content is said:
            kept.append(message)
        elif content:
            kept.append({**message, "content": content})
    if waiting:
        dropped.add("documents in the model's last turn")
    return kept


def _uncited(content: Any, dropped: Dropped) -> Any:
    """Remove citations from texts, also from texts inside search results."""
    if not isinstance(content, list):
        return content
    blocks = content
    for place, block in enumerate(content):
        changed = block
        if _is(block, "text") and block.get("citations"):
            changed = {name: value for name, value in block.items() if name != "citations"}
            dropped.add("citations of the user's texts")
        elif _is(block, "search_result"):
            inner = _uncited(block.get("content"), dropped)
            changed = block if inner is block.get("content") else {**block, "content": inner}
        if changed is not block:
            blocks = [*content] if blocks is content else blocks
            blocks[place] = changed
    return blocks


def _is(block: Any, kind: str) -> bool:
    return isinstance(block, dict) and block.get("type") == kind
