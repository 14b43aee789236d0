"""Which schemas are taken, and how the others are refused."""

import json
from typing import Any

import pytest

from puna.infer.guide_schema import SchemaError, enforced_schema


def test_annotations_are_left_out_and_all_else_is_kept_in_order() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "T",
        "type": "object",
        "properties": {"title": {"type": "string", "description": "d"}, "b": True},
        "required": ["title"],
        "$defs": {"default": {"enum": [1, "a"], "default": 1}},
    }
    assert json.dumps(enforced_schema(json.dumps(schema))) == json.dumps(
        {
            "type": "object",
            "properties": {"title": {"type": "string"}, "b": True},
            "required": ["title"],
            "$defs": {"default": {"enum": [1, "a"]}},
        }
    )


@pytest.mark.parametrize(
    ("schema", "place", "why"),
    [
        ({"patternProperties": {}}, "patternProperties", "the keyword patternProperties is not supported: name the"),
        ({"properties": {"a": {"uniqueItems": True}}}, "properties.a.uniqueItems", "the keyword uniqueItems is not"),
        ({"anyOf": [{}, {"not": {}}]}, "anyOf[1].not", "the keyword not is not supported: say what is valid instead"),
        ({"minProperties": 1}, "minProperties", "the keyword minProperties is not supported"),
        ({"x-guidance": {"lenient": True}}, "x-guidance", "the keyword x-guidance is not supported"),
        ({"$id": "http://a"}, "$id", "the keyword $id is not supported"),
        ({"typpe": "string"}, "typpe", "the keyword typpe is not supported: it would not be enforced"),
        ({"items": [{}]}, "items", "a schema is expected, an object or a boolean, but this is an array"),
        ({"properties": []}, "properties", "an object is expected, but this is an array"),
        ({"anyOf": []}, "anyOf", "an array with something in it is expected"),
        ({"enum": [2**53 + 1]}, "enum", "whole numbers beyond 2^53 are not compared exactly"),
        ({"const": {"a": [2**60]}}, "const", "whole numbers beyond 2^53 are not compared exactly"),
        ({"minimum": True}, "minimum", "a number is expected, but this is a boolean"),
        ({"minLength": -1}, "minLength", "a whole number from 0 on is expected"),
        ({"maxItems": 1.0}, "maxItems", "a whole number from 0 on is expected, but this is a number"),
        ({"format": "regex"}, "format", "the format 'regex' is not one of date, date-time"),
        ({"$ref": "http://a/b"}, "$ref", "a reference must point into this schema: #/$defs/NAME"),
        ({"$ref": "#/$defs/a"}, "$ref", "the reference '#/$defs/a' points at nothing in this schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "$schema", "schemas are read as JSON Schema 2020-12"),
    ],
)  # fmt: skip
def test_a_schema_that_would_not_be_enforced_is_refused(schema: Any, place: str, why: str) -> None:
    with pytest.raises(SchemaError) as error:
        enforced_schema(json.dumps(schema))
    assert error.value.place == place
    assert error.value.why.startswith(why)


@pytest.mark.parametrize("source", ["", "{", "[1]", "1", '{"const": NaN}', "[" * 100_000])
def test_what_is_not_a_schema_is_refused(source: str) -> None:
    with pytest.raises(SchemaError):
        enforced_schema(source)


def test_schemas_have_a_bound_on_depth_and_number() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"items": deep}
    with pytest.raises(SchemaError, match="nested more than 32 deep"):
        enforced_schema(json.dumps(deep))
    with pytest.raises(SchemaError, match="more than 10,000 schemas"):
        enforced_schema(json.dumps({"anyOf": [{}] * 10_000}))


def test_references_may_name_any_part_of_the_schema() -> None:
    schema = {"$defs": {"a/b~c": {"anyOf": [{}, {"type": "null"}]}}, "$ref": "#/$defs/a~1b~0c/anyOf/1"}
    assert enforced_schema(json.dumps(schema)) == schema
    assert enforced_schema('{"items": {"$ref": "#"}}') == {"items": {"$ref": "#"}}
