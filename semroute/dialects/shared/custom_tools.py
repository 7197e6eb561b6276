"""Functions that stand for tools of other kinds, such as tools that take plain text.

Source: https://platform.openai.com/docs/guides/function-calling#custom-tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.dialects.shared.body_parsing import arguments_of
from semroute.json_errors import UNREADABLE
from semroute.messages import Tool

FIELD = "input"
TEXT = {"type": "string"}
COUNT = {"type": "integer"}


def object_schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Make the JSON Schema of a function's parameters."""
    return {"type": "object", "properties": properties, "required": list(required)}


def function_of(name: str, declared: Mapping[str, Any], about: str = "") -> Tool:
    """Make the function for a tool that takes plain text. `about` comes before the tool's own description."""
    said = [about, str(declared.get("description") or ""), _format_of(declared.get("format"))]
    schema = {
        "type": "object",
        "properties": {FIELD: {"type": "string", "description": "The whole input of the tool, as plain text."}},
        "required": [FIELD],
        "additionalProperties": False,
    }
    return Tool(name=name, description="\n\n".join(filter(None, said)), parameters=schema)


def _format_of(form: object) -> str:
    """Describe the form of the text. OpenAI's two dialects write grammars a little differently."""
    match form:
        case {"type": "grammar", "grammar": dict(grammar)} | {"type": "grammar", **grammar} if grammar:
            syntax, definition = grammar.get("syntax"), grammar.get("definition")
            return f"`{FIELD}` must match this grammar ({syntax}):\n{definition}"
        case _:
            return ""


def arguments_for(text: str) -> str:
    """Return the function's arguments for a text."""
    return arguments_of({FIELD: text})


def text_of(arguments: str) -> str:
    """Return the text in a call of the function. Arguments in another form are the text itself."""
    try:
        found = msgspec.json.decode(arguments or '""')
    except UNREADABLE:
        return arguments
    match found:
        case {"input": str(text)} | str(text):
            return text
        case dict() if len(found) == 1 and isinstance(text := next(iter(found.values())), str):
            return text
        case {}:
            return "" if not found else arguments
        case _:
            return arguments
