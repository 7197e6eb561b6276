"""Changes of a caller's own Chat Completions body."""

from __future__ import annotations

from typing import Any

from semroute.dialects.shared.body_edits import BodyEdits, add_to_messages
from semroute.messages import JsonSchema


def _add_instruction(raw: dict[str, Any], text: str) -> dict[str, Any]:
    return {**raw, "messages": [{"role": "system", "content": text}, *raw.get("messages", ())]}


def _ask_for_json(raw: dict[str, Any], schema: JsonSchema | None) -> dict[str, Any]:
    form: dict[str, Any] = {"type": "json_object"}
    if schema is not None:
        form = {"type": "json_schema", "json_schema": {"name": schema.name, "schema": schema.document}}
    return {**raw, "response_format": form}


EDITS = BodyEdits(add_turns=add_to_messages, add_instruction=_add_instruction, ask_for_json=_ask_for_json)
