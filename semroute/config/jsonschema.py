"""The JSON Schema of a route file, for completion and help in editors."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import Any

import msgspec

from semroute.config.schema import (
    alarms,
    experiments,
    matching,
    models,
    policies,
    providers,
    resilience,
    route_file,
    routes,
    rules,
    service,
    trial_settings,
)
from semroute.config.schema.route_file import RouteFile

MODULES = (
    alarms,
    experiments,
    matching,
    models,
    policies,
    providers,
    resilience,
    route_file,
    routes,
    rules,
    service,
    trial_settings,
)
"""Where the structs of route files are defined."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema of `RouteFile`, with the docstrings of its fields as descriptions.

    Releases of msgspec and Python render some parts differently. This function writes them itself, so that the schema
    stays the same.
    """
    (root,), components = msgspec.json.schema_components([RouteFile], ref_template="#/$defs/{name}")
    structs = {name: value for module in MODULES for name, value in vars(module).items()}
    for name, component in components.items():
        struct = structs[name]
        component["description"] = inspect.cleandoc(struct.__doc__ or "")
        docs, types = field_docs(struct), {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
        for field, property_ in component["properties"].items():
            _price_as_number(property_)
            _null_last(property_)
            _name_the_keys(property_, types[field])
            if field in docs:
                property_["description"] = docs[field]
    return {"$schema": DIALECT, "title": "A semroute route file", **root, "$defs": components}


def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the docstring of each field, inherited fields included."""
    docs = {}
    for class_ in reversed(struct.__mro__):
        if class_ is msgspec.Struct or not issubclass(class_, msgspec.Struct):
            continue
        (definition,) = ast.parse(inspect.getsource(class_)).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = inspect.cleandoc(text)
    written_as = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return {written_as[name]: text for name, text in docs.items()}


def _null_last(property_: dict[str, Any]) -> None:
    if "anyOf" in property_:
        property_["anyOf"].sort(key=lambda kind: kind == {"type": "null"})


def _name_the_keys(property_: dict[str, Any], type_: object) -> None:
    """List the keys that a mapping may have, if they are a closed list."""
    info = msgspec.inspect.type_info(type_)
    if isinstance(info, msgspec.inspect.DictType) and isinstance(info.key_type, msgspec.inspect.LiteralType):
        property_["propertyNames"] = {"enum": sorted(info.key_type.values)}


def _price_as_number(property_: dict[str, Any]) -> None:
    """Describe a price as a number. Msgspec writes a `Decimal` as a string, but people write a number in YAML."""
    for part in (property_, *property_.get("anyOf", ())):
        if part.get("format") == "decimal":
            del part["format"]
            part |= {"type": "number", "minimum": 0}
            if property_.get("default") is not None:
                property_["default"] = float(property_["default"])
