"""From items to turns of a conversation, to functions, and to what an answer repeats."""

from typing import Any

import pytest
from bodies import read
from openai_types import check_response

from puna.chat.messages import Message, read_messages
from puna.chat.tools import ToolCall
from puna.serve.errors import ApiError
from puna.serve.response_input import Functions, functions_of, messages_of, settings_of
from puna.serve.response_writer import ResponseWriter
from puna.serve.schema.responses import ResponseRequest

TOOLS = [
    {"type": "function", "name": "weather", "description": "Of a city.", "parameters": {"type": "object"}},
    {"type": "function", "name": "time", "strict": True},
]


def asked(**fields: Any) -> ResponseRequest:
    """A request."""
    return read(ResponseRequest, {"input": "Hello", **fields})


def call(number: int, name: str = "weather", arguments: str = "{}") -> dict[str, Any]:
    """An item of a call."""
    return {"type": "function_call", "call_id": f"call_{number}", "name": name, "arguments": arguments}


def output(number: int, text: Any) -> dict[str, Any]:
    """An item with what a call gave back."""
    return {"type": "function_call_output", "call_id": f"call_{number}", "output": text}


def test_a_text_is_what_the_user_says_and_instructions_stand_before_it() -> None:
    assert messages_of(asked()) == [Message("user", "Hello")]
    assert messages_of(asked(instructions="Be brief.")) == [Message("system", "Be brief."), Message("user", "Hello")]


def test_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "input_text", "text": "He"}, {"type": "input_text", "text": "llo"}]
    said = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    assert messages_of(asked(input=said)) == [Message("user", "Hello"), Message("assistant", "No.")]


def test_calls_belong_to_the_turn_of_the_text_before_them() -> None:
    items = [
        {"role": "user", "content": "What is it like?"}, {"role": "assistant", "content": "Let me look."},
        call(1, arguments='{"city": "Rome"}'), call(2, "time"), output(1, "warm"),
        output(2, [{"type": "input_text", "text": "noon"}]), call(3), output(3, "cold"),
        {"role": "assistant", "content": "Warm, then cold."}, {"role": "assistant", "content": "And late."},
    ]  # fmt: skip
    turns = messages_of(asked(input=items))
    assert turns == [
        Message("user", "What is it like?"),
        Message(
            "assistant", "Let me look.",
            (ToolCall("call_1", "weather", '{"city": "Rome"}'), ToolCall("call_2", "time", "{}")),
        ),
        Message("tool", "warm", tool_call_id="call_1", name="weather"),
        Message("tool", "noon", tool_call_id="call_2", name="time"),
        Message("assistant", "", (ToolCall("call_3", "weather", "{}"),)),
        Message("tool", "cold", tool_call_id="call_3", name="weather"),
        Message("assistant", "Warm, then cold."), Message("assistant", "And late."),
    ]  # fmt: skip
    assert read_messages(turns) == turns


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([output(1, "warm")], "input[0].call_id"),
        ([call(1), output(2, "warm")], "input[1].call_id"),
        ([call(1, arguments="[]")], "input[0].arguments"),
        ([call(1, arguments='{"a": ')], "input[0].arguments"),
    ],
)
def test_calls_that_cannot_be_are_refused_by_their_place(items: list[Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        messages_of(asked(input=items))
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.startswith(param)


TIME = {"type": "function", "name": "time"}


@pytest.mark.parametrize(
    ("choice", "told", "allowed", "required"),
    [
        (None, ["weather", "time"], None, False),
        ("auto", ["weather", "time"], None, False),
        ("none", [], None, False),
        ("required", ["weather", "time"], None, True),
        (TIME, ["weather", "time"], ["time"], True),
        ({"type": "allowed_tools", "mode": "auto", "tools": [TIME]}, ["weather", "time"], ["time"], False),
        ({"type": "allowed_tools", "mode": "required", "tools": [TIME]}, ["weather", "time"], ["time"], True),
    ],
)
def test_the_choice_says_which_functions_may_be_called_and_whether_one_must(
    choice: Any, told: list[str], allowed: list[str] | None, required: bool
) -> None:
    found = functions_of(asked(tools=TOOLS, tool_choice=choice))
    assert [tool.name for tool in found.told] == told
    assert (found.allowed, found.required, found.strict) == (allowed, required, ["time"])


def test_a_choice_of_what_is_not_there_is_refused() -> None:
    for choice, param in [
        ({"type": "function", "name": "date"}, "tool_choice.name"),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "date"}]},
            "tool_choice.tools[0].name",
        ),
    ]:
        with pytest.raises(ApiError, match="'date', but tools has no function of this name") as caught:
            functions_of(asked(tools=TOOLS, tool_choice=choice))
        assert caught.value.param == param
    with pytest.raises(ApiError, match="tool_choice is required, but tools has no functions"):
        functions_of(asked(tool_choice="required"))
    with pytest.raises(ApiError, match="two functions of the name time") as caught:
        functions_of(asked(tools=[TOOLS[1], TOOLS[1]]))
    assert caught.value.param == "tools"
    assert functions_of(asked()) == Functions([], None, required=False, strict=[])


# Required by the Open Responses specification (2026-04-24, schema ResponseResource).
REQUIRED = (
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "user", "usage",
    "max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier",
    "prompt_cache_key",
)  # fmt: skip


def test_the_answer_repeats_the_request_with_the_defaults_that_held() -> None:
    default = ResponseWriter(settings_of(asked(), "tiny"), created=1).response("in_progress")
    assert set(REQUIRED) == set(default)
    found = check_response(default)
    assert (found.temperature, found.top_p, found.truncation, found.tool_choice) == (1.0, 1.0, "disabled", "auto")
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
    said = settings_of(
        asked(
            temperature=0, tools=TOOLS, tool_choice={"type": "function", "name": "time"}, metadata={"a": "b"},
            parallel_tool_calls=False, user="me", max_output_tokens=5,
        ),
        "tiny",
    )  # fmt: skip
    found = check_response(ResponseWriter(said, created=1).response("in_progress"))
    assert (found.temperature, found.metadata, found.user, found.max_output_tokens) == (0, {"a": "b"}, "me", 5)
    assert (found.parallel_tool_calls, found.tool_choice.name) == (False, "time")
    assert [tool.name for tool in found.tools] == ["weather", "time"]
    said = settings_of(asked(text={"format": schema}, tools=TOOLS, tool_choice="none"), "tiny")
    check_response(ResponseWriter(said, created=1).response("in_progress"))
    assert (said["text"]["format"], said["tool_choice"]) == (schema, "none")
