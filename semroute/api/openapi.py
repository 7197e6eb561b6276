"""What OpenAPI says about bodies that handlers read themselves: the fields of their structs."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from litestar.openapi.spec import Operation

from semroute.config.jsonschema import field_docs
from semroute.routing.facts import DIAL

_REFERENCE = "#/{name}"
_DIAL = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "The dial, from 0 (the cheapest model that is good enough) to 1 (the best model).",
}


@dataclass
class BodyOperation(Operation):
    """An operation whose body is read into a struct."""

    body: ClassVar[type[msgspec.Struct]]
    in_path: ClassVar[Collection[str]]
    dial: ClassVar[bool]

    def to_schema(self) -> dict[str, Any]:
        """Return the operation with its body."""
        schema = {"application/json": {"schema": body_schema(self.body, self.in_path, dial=self.dial)}}
        about = inspect.cleandoc(self.body.__doc__ or "")
        return {**super().to_schema(), "requestBody": {"description": about, "content": schema, "required": True}}


def reads(body: type[msgspec.Struct], *in_path: str, dial: bool = True) -> type[Operation]:
    """Return an operation class whose body is read into this struct.

    `in_path`: the fields that stand in the path instead. `dial`: see `body_schema`.
    """
    return type("BodyOperation", (BodyOperation,), {"body": body, "in_path": in_path, "dial": dial})


def body_schema(body: type[msgspec.Struct], in_path: Collection[str] = (), *, dial: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of a body, without references.

    `dial`: whether the body has the dial beside its own fields, as every request for a decision has.
    """
    (root,), components = msgspec.json.schema_components([body], ref_template=_REFERENCE)
    schema: dict[str, Any] = _inlined(root, components)
    docs, properties = field_docs(body), {}
    for name, field in schema["properties"].items():
        if name not in in_path:
            properties[name] = {**field, "description": docs[name]} if name in docs else field
    required = [name for name in schema.get("required", ()) if name not in in_path]
    return {**schema, "properties": properties | ({DIAL: _DIAL} if dial else {}), "required": required}


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    """Return the schema with each reference replaced by what it refers to. Bodies do not contain themselves."""
    if isinstance(schema, list):
        return [_inlined(item, components) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"].removeprefix(_REFERENCE.format(name=""))], components)
    return {key: _inlined(value, components) for key, value in schema.items()}
