"""What a JSON Schema may not hold, in each draft: one that is accepted ends no check."""

from __future__ import annotations

import re
from typing import Any

import pytest

from semroute.config.json_schemas import SchemaFaultError, usable
from semroute.execution.json_schema_check import schema_error

DRAFT = "http://json-schema.org/draft-{:02}/schema#"
BESIDE = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/x/y"}}}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (5, "$: got 5, expected an object or a boolean"),
        ([], "$: got [], expected an object or a boolean"),
        (None, "$: got null, expected an object or a boolean"),
        ({"type": "text"}, "$.type: 'text' is not valid"),
        ({"type": [["string"]]}, "$.type: "),
        ({"properties": []}, "$.properties: [] is not of type 'object'"),
        ({"properties": {"a": None}}, "$.properties.a: None is not of type 'object', 'boolean'"),
        ({"required": "a"}, "$.required: 'a' is not of type 'array'"),
        ({"items": [{}]}, "$.items: "),
        ({"items": 5, "$schema": DRAFT.format(7)}, "$.items: "),
        ({"id": 5, "$schema": DRAFT.format(4)}, "$.id: 5 is not of type 'string'"),
        ({"minLength": "a"}, "$.minLength: 'a' is not of type 'integer'"),
        ({"maximum": float("inf")}, "$.maximum: None is not of type 'number'"),
        ({"multipleOf": 0}, "$.multipleOf: 0 is less than or equal to the minimum of 0"),
        ({"enum": None}, "$.enum: None is not of type 'array'"),
        ({"pattern": "("}, "$.pattern: '(' is not a 'regex'"),
        ({"patternProperties": {"(": {}}}, "$.patternProperties: '(' is not a 'regex'"),
        ({"pattern": "a{1,99999999999999}"}, "$: the repetition number is too large"),
        ({"$schema": 5}, "$.$schema: got 5, expected a text"),
        ({"$schema": []}, "$.$schema: got [], expected a text"),
        ({"$schema": DRAFT.format(3)}, "$.$schema: got draft 3, expected draft 4 or newer"),
        ({"$ref": 5}, "$.$ref: 5 is not of type 'string'"),
        ({"$ref": "#/x"}, "got a reference that leads nowhere: #/x"),
        ({"$ref": "http://[x"}, "got a reference that leads nowhere: http://[x"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "got a reference that leads nowhere: https://"),
        ({"$dynamicRef": "#x"}, "got a reference that leads nowhere: #x"),
        ({"$ref": "#/x/0/y", "x": [5]}, "got a reference that leads nowhere: #/x/0/y"),
        ({"$ref": "#/enum/0", "enum": [5]}, "$ref #/enum/0: got 5, expected an object or a boolean"),
        ({"$ref": "#/x", "x": {"type": 5}}, "$ref #/x.type: 5 is not valid"),
        (BESIDE | {"x": {"y": {"pattern": "("}}}, "$ref #/x/y.pattern: '(' is not a 'regex'"),
        (deep(3_000), "$: it is nested too deeply"),
        ({None: 1}, "$: "),
        ({"enum": [object()]}, "$: "),
    ],
)
def test_what_is_no_schema_is_told_with_its_place(schema: Any, said: str) -> None:
    with pytest.raises(SchemaFaultError, match=f"^{re.escape(said)}"):
        usable(schema)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"$schema": "https://example.com/unknown"},
        {"$schema": DRAFT.format(4), "exclusiveMinimum": True, "minimum": 0},
        {"$schema": DRAFT.format(7), "$ref": "#/definitions/a", "definitions": {"a": {"type": "string"}}},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "properties": {"a": {"$recursiveRef": "#"}}},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {"multipleOf": 1e-320},
        {"maximum": 10**400, "minLength": 10**30},
        {"format": "unheard-of", "const": {"$ref": "#/nowhere"}},
        {1: {"type": "no keyword"}},
        {"pattern": "(a{1,1000}){1,1000}"},
        {"pattern": "(?=a)"},
    ],
)
def test_a_schema_that_is_accepted_ends_no_check(schema: Any) -> None:
    usable(schema)
    for document in (1, 10**400, 1e308, "a", [1, {"a": [2]}], {"a": 1, "b": {}}, None, True):
        assert isinstance(schema_error(schema, document), str | None)
