"""Requests that say what an answer is to be become guides, or errors that name the field."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from letters import letters
from pydantic import TypeAdapter

from puna.infer.guides import Guide
from puna.serve.errors import ApiError
from puna.serve.schema.structured import ResponseFormat, ResponseTextFormat, StructuredOutputs
from puna.serve.structured import (
    check_guide,
    guide_of_response_format,
    guide_of_structured_outputs,
    guide_of_text_format,
)

SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}}}
BAD = {"properties": {"b": {"contains": {}}}}


@pytest.mark.parametrize(
    ("sent", "guide"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Guide.json_object()),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}, Guide.json_schema(SCHEMA)),
    ],
)
def test_response_formats_become_guides(sent: Any, guide: Guide | None) -> None:
    read = None if sent is None else TypeAdapter(ResponseFormat).validate_python(sent)
    assert guide_of_response_format(read) == guide


@pytest.mark.parametrize(
    ("sent", "guide"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Guide.json_object()),
        ({"type": "json_schema", "name": "n", "schema": SCHEMA}, Guide.json_schema(SCHEMA)),
    ],
)
def test_text_formats_become_guides(sent: Any, guide: Guide | None) -> None:
    assert guide_of_text_format(TypeAdapter(ResponseTextFormat).validate_python(sent)) == guide


@pytest.mark.parametrize(
    ("sent", "guide"),
    [
        ({"json": SCHEMA}, Guide.json_schema(SCHEMA)),
        ({"json": '{"type": "null"}'}, Guide.json_schema({"type": "null"})),
        ({"json_object": True}, Guide.json_object()),
        ({"regex": "a+", "choice": None, "json_object": False}, Guide.regex("a+")),
        ({"choice": ["a", "b"]}, Guide.choice(["a", "b"])),
    ],
)
def test_structured_outputs_become_guides(sent: Any, guide: Guide) -> None:
    assert guide_of_structured_outputs(StructuredOutputs.model_validate(sent)) == guide


@pytest.mark.parametrize("sent", [{}, {"regex": "a", "choice": ["a"]}, {"json_object": False}])
def test_exactly_one_of_structured_outputs_is_wanted(sent: Any) -> None:
    with pytest.raises(ApiError) as error:
        guide_of_structured_outputs(StructuredOutputs.model_validate(sent))
    assert error.value.status == 400
    assert error.value.param == "structured_outputs"


def test_errors_name_the_field_down_to_the_keyword() -> None:
    chat = TypeAdapter(ResponseFormat).validate_python(
        {"type": "json_schema", "json_schema": {"name": "n", "schema": BAD}}
    )
    with pytest.raises(ApiError) as error:
        guide_of_response_format(chat)
    assert error.value.param == "response_format.json_schema.schema.properties.b.contains"
    assert error.value.message.startswith(f"{error.value.param}: the keyword contains is not supported")
    flat = TypeAdapter(ResponseTextFormat).validate_python({"type": "json_schema", "name": "n", "schema": BAD})
    with pytest.raises(ApiError) as error:
        guide_of_text_format(flat)
    assert error.value.param == "text.format.schema.properties.b.contains"
    with pytest.raises(ApiError) as error:
        guide_of_structured_outputs(StructuredOutputs.model_validate({"choice": [""]}))
    assert error.value.param == "structured_outputs.choice"


def test_a_guide_is_compiled_before_it_waits() -> None:
    model = cast(Any, SimpleNamespace(tokenizer=letters()))
    asyncio.run(check_guide(None, model, param="x"))
    asyncio.run(check_guide(Guide.regex("a+"), model, param="x"))
    with pytest.raises(ApiError) as error:
        asyncio.run(check_guide(Guide.regex("a(?=b)"), model, param="structured_outputs.regex"))
    assert error.value.status == 400
    assert "look-around" in error.value.message
