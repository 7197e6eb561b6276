"""Answers in JSON from models that have no setting for it: by a tool that takes the answer, or by an instruction."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.messages import JsonSchema, Tool

ANSWER_TOOL = "semroute_json_answer"
"""The tool's name. Its call is the answer: callers never see it."""


def answer_tool(schema: JsonSchema) -> Tool:
    """A tool whose arguments are the answer."""
    description = schema.description or "Gives the answer. Always call this tool, once."
    return Tool(name=ANSWER_TOOL, description=description, parameters=schema.document)


def instruction(schema: JsonSchema | None) -> str:
    """What to tell a model that can only be told. No schema: any object."""
    is_object = schema is None or schema.document.get("type") == "object"
    text = f"Answer with {'one JSON object' if is_object else 'JSON'} and nothing else: no prose, no Markdown."
    if schema is None:
        return text
    document = msgspec.json.encode(schema.document).decode()
    return f"{text} It must conform to this JSON Schema: {document}"


def is_closed(schema: Any) -> bool:
    """Whether every object of a schema says `additionalProperties: false`, as strict decoding wants it."""
    if isinstance(schema, list):
        return all(is_closed(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    is_object = schema.get("type") == "object" or isinstance(schema.get("properties"), dict)
    if is_object and schema.get("additionalProperties") is not False:
        return False
    return all(is_closed(each) for each in schema.values())
