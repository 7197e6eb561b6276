"""Gets JSON from models that have no setting for it: by a tool whose arguments are the answer, or by an instruction."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from semroute.messages import JsonSchema, Params, Tool

ANSWER_TOOL = "semroute_json_answer"
"""The name of that tool. Its call is the answer, so callers never see it."""


class JsonWay(NamedTuple):
    """How to tell a model to answer in JSON. At most one field is set, and none if no JSON is asked for."""

    schema: JsonSchema | None = None
    """The schema for the model's own setting."""
    tool: Tool | None = None
    """A tool that the model must call. Its arguments are the answer."""
    instruction: str = ""
    """A text for the system prompt."""


def way_to_json(params: Params, *, setting: bool, tool: bool) -> JsonWay:
    """Choose the first way that works.

    `setting`: the model takes a JSON Schema. `tool`: it can be forced to call a tool.
    """
    schema = params.json_schema
    if schema is None:
        return JsonWay(instruction=instruction(None) if params.json_output else "")
    if setting and is_closed(schema.document):
        return JsonWay(schema=schema)
    if tool and schema.document.get("type") == "object":
        return JsonWay(tool=_answer_tool(schema))
    return JsonWay(instruction=instruction(schema))


def _answer_tool(schema: JsonSchema) -> Tool:
    description = schema.description or "Gives the answer. Always call this tool, once."
    return Tool(name=ANSWER_TOOL, description=description, parameters=schema.document)


def instruction(schema: JsonSchema | None) -> str:
    """Write the instruction for a model that has no other way. Without a schema, any JSON object will do."""
    is_object = schema is None or schema.document.get("type") == "object"
    text = f"Answer with {'one JSON object' if is_object else 'JSON'} and nothing else: no prose, no Markdown."
    if schema is None:
        return text
    document = msgspec.json.encode(schema.document).decode()
    return f"{text} It must conform to this JSON Schema: {document}"


def is_closed(schema: Any) -> bool:
    """Whether every object in a schema has `additionalProperties: false`. Strict decoding requires it."""
    if isinstance(schema, list):
        return all(is_closed(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    is_object = schema.get("type") == "object" or isinstance(schema.get("properties"), dict)
    if is_object and schema.get("additionalProperties") is not False:
        return False
    return all(is_closed(each) for each in schema.values())
