"""The fields that say what an answer is to be, as clients send them."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from puna.serve.schema.structured import ResponseFormat, ResponseTextFormat, StructuredOutputs

SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}


def test_the_order_of_properties_is_kept() -> None:
    sent = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    read = TypeAdapter(ResponseFormat).validate_json(json.dumps(sent))
    assert json.dumps(read.json_schema.schema_) == json.dumps(SCHEMA)
    assert json.loads(read.model_dump_json(exclude_none=True, by_alias=True)) == sent


@pytest.mark.parametrize(
    "sent",
    [
        {"type": "json_schema", "name": "n", "schema": SCHEMA},
        {"type": "json_object"},
        {"type": "text"},
    ],
)
def test_the_formats_of_responses_are_flat(sent: dict[str, object]) -> None:
    read = TypeAdapter(ResponseTextFormat).validate_json(json.dumps(sent))
    assert json.loads(read.model_dump_json(exclude_none=True, by_alias=True)) == sent


@pytest.mark.parametrize(
    "sent",
    [
        {"type": "grammar"},
        {"type": "text", "schema": {}},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": []}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": "yes"}},
    ],
)
def test_unknown_formats_and_fields_are_refused(sent: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ResponseFormat).validate_json(json.dumps(sent))


def test_fields_of_structured_outputs_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValidationError, match="grammar"):
        StructuredOutputs.model_validate_json('{"grammar": "root ::= 1"}')
