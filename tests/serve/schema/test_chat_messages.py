"""Turns are read strictly, and become those that chat templates take."""

from typing import Any

import pytest
from pydantic import ValidationError

from puna.chat.messages import Message
from puna.chat.tools import ToolCall
from puna.serve.schema.chat import ChatRequest

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TALK: list[dict[str, Any]] = [
    {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "audio": None, "annotations": []},
    {"role": "tool", "content": "r", "tool_call_id": "1"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "."}]},
]  # fmt: skip


def test_turns_become_those_of_templates() -> None:
    assert ChatRequest.model_validate({"messages": TALK}).turns() == [
        Message("developer", "ab"), Message("user", "q"),
        Message("assistant", "", tool_calls=(ToolCall("1", "f", '{"a": 1}'),)),
        Message("tool", "r", tool_call_id="1"), Message("assistant", "no."),
    ]  # fmt: skip


def test_no_arguments_are_an_empty_object() -> None:
    call = {**CALL, "function": {"name": "f", "arguments": ""}}
    (turn,) = ChatRequest.model_validate({"messages": [{"role": "assistant", "tool_calls": [call]}]}).turns()
    assert turn.tool_calls[0].arguments == "{}"


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "models here read text only"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "models here read text only"),
        ({"role": "user", "content": "a", "name": "b"}, "chat templates do not write who speaks"),
        ({"role": "assistant", "content": "a", "function_call": {}}, "write tool_calls"),
        ({"role": "assistant", "content": "a", "annotations": [{}]}, "List should have at most 0 items"),
        ({"role": "assistant"}, "is missing, and so is tool_calls"),
        ({"role": "assistant", "tool_calls": []}, "List should have at least 1 item"),
        ({"role": "tool", "content": "a", "tool_call_id": "2"}, "is not the id of a call in the turns before"),
        ({"role": "function", "content": "a", "name": "f"}, "does not match any of the expected tags"),
        ({"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "["}}]}, "is not a JSON"),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "a b", "arguments": ""}}]},
            "match pattern",
        ),
    ],
)
def test_what_is_not_a_turn_is_named(turn: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({"messages": [turn]})
    told = " ".join(
        str(one.get("ctx", {}).get("why", one.get("ctx", {}).get("problem", one["msg"])))
        for one in caught.value.errors()
    )
    assert says in told
