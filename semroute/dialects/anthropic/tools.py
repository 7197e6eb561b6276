"""Anthropic's tools that callers run themselves. Claude knows them without a description, but other models do not.

Sources: https://platform.claude.com/docs/en/agents-and-tools/tool-use/bash-tool, …/text-editor-tool, …/memory-tool; and
https://github.com/anthropics/anthropic-sdk-python, 2.14.0; read on 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semroute.dialects.shared.custom_tools import COUNT, TEXT, object_schema
from semroute.messages import Tool

_EDITS = {
    "view_range": {
        "type": "array",
        "items": COUNT,
        "description": "The first line and the last, from 1; -1: to the end.",
    },
    "file_text": {**TEXT, "description": "For `create`."},
    "old_str": {**TEXT, "description": "For `str_replace`: it must occur once."},
    "new_str": {**TEXT, "description": "For `str_replace`."},
    "insert_line": {**COUNT, "description": "For `insert`: after this line; 0: at the beginning."},
    "insert_text": {**TEXT, "description": "For `insert`."},
}
"""The parameters of both tools that edit files."""
_KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "bash": (
        "Run a command in a shell that stays open.",
        object_schema({"command": TEXT, "restart": {"type": "boolean", "description": "Open a new shell instead."}}),
    ),
    "text_editor": (
        "View and change files.",
        object_schema(
            {
                "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
                "path": TEXT,
                **_EDITS,
            },
            "command",
            "path",
        ),
    ),
    "memory": (
        "Read and write files of the memory directory, which lasts from one conversation to the next.",
        object_schema(
            {
                "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
                "path": {**TEXT, "description": "Not for `rename`."},
                **_EDITS,
                "old_path": {**TEXT, "description": "For `rename`."},
                "new_path": {**TEXT, "description": "For `rename`."},
            },
            "command",
        ),
    ),
}
"""Descriptions and schemas, by the tool's type without the date at its end."""


def known_tool(tool: Mapping[str, Any]) -> Tool | None:
    """Return the function that describes the tool to other models. None: it is no such tool, or Anthropic runs it."""
    kind, _, date = str(tool.get("type") or "").rpartition("_")
    name = tool.get("name")
    if kind not in _KNOWN or not date.isdigit() or not isinstance(name, str):
        return None
    description, schema = _KNOWN[kind]
    return Tool(name=name, description=description, parameters=schema)
