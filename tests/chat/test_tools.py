"""Tools and calls are read strictly, and become what chat templates take."""

from typing import Any

import pytest

from puna.chat.tools import Tool, ToolCall, arguments_of, read_tool_call, read_tools
from puna.core.errors import GenerateError

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Hé", "parameters": SCHEMA}}


def test_a_tool_is_what_templates_take() -> None:
    (tool,) = read_tools([WEATHER])
    assert tool == Tool("weather", "Hé", SCHEMA)
    assert tool.variable == WEATHER
    assert read_tools([tool]) == [tool]


def test_a_tool_without_parameters_takes_an_object_without_fields() -> None:
    (tool,) = read_tools([{"type": "function", "function": {"name": "now"}}])
    assert tool.variable["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ("weather", "tools is not a list"),
        ([{"type": "custom", "custom": {}}], r"tools\[0\]: is not an object with type"),
        ([WEATHER, WEATHER], "two functions are named weather"),
        ([WEATHER | {"strict": True}], r"tools\[0\]: 'strict' is not understood"),
        ([{"type": "function", "function": {"name": "a b"}}], r"tools\[0\].function.name is 'a b', and not 1 to 64"),
        ([{"type": "function", "function": {"name": "a", "x": 1}}], r"tools\[0\].function: 'x' is not understood"),
        ([{"type": "function", "function": {"name": "a", "description": 1}}], "description is int, and not text"),
        ([{"type": "function", "function": {"name": "a", "parameters": []}}], "parameters: is not an object"),
        ([{"type": "function", "function": {"name": "a", "parameters": {"a": {1, 2}}}}], "is not JSON: TypeError"),
        ([{"type": "function", "function": {"name": "a", "parameters": {"a": 1e999}}}], "JSON does not have, inf"),
    ],
)
def test_what_is_not_a_tool_is_named(tools: Any, says: str) -> None:
    with pytest.raises(GenerateError, match=says):
        read_tools(tools)


def test_a_call_has_arguments_as_text_or_as_an_object() -> None:
    call = ToolCall("1", "weather", '{"city": "Hé"}')
    function = {"name": "weather", "arguments": {"city": "Hé"}}
    assert read_tool_call({"id": "1", "type": "function", "function": function}, "x") == call
    assert read_tool_call(call.saved, "x") == read_tool_call(call, "x") == call
    assert call.variable == {"id": "1", "type": "function", "function": function}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (1, "x: is not an object with id"),
        ({"type": "custom"}, "x: is not an object with id"),
        ({"id": "1"}, "x.function: is not an object"),
        ({"id": 1, "function": {"name": "a", "arguments": "{}"}}, "x.id is int, and not text"),
        ({"id": "1", "function": {"name": "a", "arguments": "[]"}}, "x.function.arguments: is not a JSON object"),
        ({"id": "1", "function": {"name": "a", "arguments": "{"}}, "x.function.arguments: is not JSON"),
        ({"id": "1", "function": {"name": "a"}}, "x.function.arguments is NoneType, and not text"),
        ({"id": "1", "function": {"arguments": "{}"}}, "x.function.name is None"),
        ({"id": "1", "index": 0, "function": {}}, "x: 'index' is not understood"),
    ],
)
def test_what_is_not_a_call_is_named(call: Any, says: str) -> None:
    with pytest.raises(GenerateError, match=says):
        read_tool_call(call, "x")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": [-Infinity]}', '{"a": {"b": 1e999}}', '{"a": 1, "a": 2}', "1"])
def test_arguments_that_json_does_not_have_are_refused(text: str) -> None:
    with pytest.raises(GenerateError, match=r"^here: "):
        arguments_of(text, "here")
