"""What Anthropic's API refuses by its version.

Source: https://platform.claude.com/docs/en/api/migration-2026-10-21, read on 2026-11-30.
"""

from __future__ import annotations

from typing import Any

from semroute.dialects.shared.dropped import Dropped

FIRST = "2023-06-01"
"""The version that semroute's own bodies are written for."""
SECOND = "2026-10-21"
SAMPLING = ("temperature", "top_p", "top_k")


def keep_to_version(body: dict[str, Any], version: str, dropped: Dropped) -> None:
    """Take out of a body what a version refuses. What is nested is copied: it may be the caller's own."""
    if version < SECOND:
        return
    for name in SAMPLING:
        if body.pop(name, None) is not None:
            dropped.add(f"{name}: version {version} has none")
    body["messages"] = _messages(body["messages"], dropped)


def _messages(messages: list[dict[str, Any]], dropped: Dropped) -> list[dict[str, Any]]:
    """Documents of the model's turns go to the user's next one. Texts of the user cite nothing."""
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
    """The same without citations of texts, also of those inside search results."""
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
