"""The items of an input: which are taken, and how others are refused."""

from typing import Any

import pytest
from bodies import read, refusal_of

from puna.serve.schema.response_items import Called, Returned, Said
from puna.serve.schema.responses import ResponseRequest

CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}


def test_items_are_told_apart_by_their_type_which_a_message_may_leave_out() -> None:
    items: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {
            "type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "phase": None,
            "content": [
                {"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {**CALL, "id": "fc_1", "status": "completed", "namespace": None, "async": None, "caller": None},
        {"type": "function_call_output", "call_id": "call_1", "output": "3", "status": "completed"},
    ]  # fmt: skip
    found = read(ResponseRequest, {"input": items}).input
    assert [type(item) for item in found] == [Said, Said, Said, Called, Returned]


@pytest.mark.parametrize(
    ("item", "param", "says"),
    [
        ({"type": "reasoning", "summary": []}, "input[0]", "must be a message, a function_call or"),
        ({"type": "item_reference", "id": "msg_1"}, "input[0]", "the server has no others"),
        ({}, "input[0]", "must be a message"),
        ("Hello", "input[0]", "must be a message"),
        ({"type": 3}, "input[0]", "must be a message"),
        ({"role": "tool", "content": "3"}, "input[0].role", "'tool'"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "input[0].content[0]", "text alone"),
        ({"role": "user", "content": None}, "input[0].content", "null"),
        ({"role": "user", "content": "a", "name": "me"}, "input[0].name", "not known"),
        ({**CALL, "namespace": "n"}, "input[0].namespace", "no namespaces"),
        ({**CALL, "name": "a b"}, "input[0].name", "name"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input[0].arguments", "missing"),
        ({"type": "function_call_output", "output": "3"}, "input[0].call_id", "missing"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_refused_by_its_place(item: Any, param: str, says: str) -> None:
    error = refusal_of(ResponseRequest, {"input": [item]})
    assert error.param == param
    assert says in error.message
