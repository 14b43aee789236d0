"""Requests that say what an answer is to be become guides, or errors that name the field."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from guided_texts import TOKENS, written_ids
from jsonschema import Draft202012Validator
from letters import letters
from pydantic import TypeAdapter

from puna.chat.tool_calls import ToolForm, read_answer
from puna.chat.tools import Tool
from puna.infer.guides import Guide
from puna.serve.errors import ApiError
from puna.serve.schema.structured import ResponseFormat, ResponseTextFormat, StructuredOutputs
from puna.serve.structured import (
    check_guide,
    guide_for_tools,
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


TAGS = ToolForm("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", "name", "arguments")
LIST = ToolForm("[TOOL_CALLS] [", ", ", "]", "name", "arguments", marks={0: "[TOOL_CALLS]"})
BARE = ToolForm("", None, "", "name", "parameters")
NAMED = ToolForm("[TOOL_CALLS]", "[TOOL_CALLS]", "", between="[ARGS]", marks={0: "[TOOL_CALLS]", 2: "[ARGS]"})
TOOLS = [
    Tool(
        "f", None, {"type": "object", "properties": {"a": {"enum": [1, "[TOOL_CALLS]"]}}, "additionalProperties": False}
    ),
    Tool(
        "get-it",
        "d",
        {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"], "additionalProperties": False},
    ),
]


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("form", [TAGS, LIST, BARE, NAMED], ids=["tags", "list", "bare", "named"])
def test_what_chance_writes_under_the_guide_of_tools_is_calls_and_nothing_else(form: ToolForm, several: bool) -> None:
    """Read back by the reader of answers, to which control tokens give their texts."""
    guide = guide_for_tools(form, TOOLS, several=several)
    counts = set()
    for seed in range(40):
        if (ids := written_ids(guide, seed)) is None:
            continue
        pieces = [form.marks[one].encode() if one in form.marks else TOKENS.bytes_of(one) for one in ids]
        text, calls = read_answer(form, ["f", "get-it"], b"".join(pieces).decode())
        assert not text.strip()
        for call in calls:
            tool = next(tool for tool in TOOLS if tool.name == call.name)
            Draft202012Validator(tool.parameters).validate(json.loads(call.arguments))
        counts.add(len(calls))
    assert min(counts) == 1
    assert (max(counts) > 1) == (several and form.separator is not None)


def test_parameters_that_cannot_be_enforced_are_named() -> None:
    with pytest.raises(ApiError) as error:
        guide_for_tools(TAGS, [TOOLS[0], Tool("g", None, BAD)], several=True)
    assert error.value.param == "tools[1].function.parameters.properties.b.contains"
