"""Turns in the forms of data sets; every form of one conversation gives the same turns."""

import json
from typing import Any

import pytest

from puna.chat.messages import Message
from puna.chat.tools import Tool, ToolCall
from puna.core.errors import GenerateError
from puna.data.readers.example_rows import BAD_VALUE, NO_ANSWER, NOT_SUPPORTED, RowError
from puna.data.readers.turns import check_answers, read_functions, read_said, read_turns

TALK = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"))
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": turn.role, "content": turn.content} for turn in TALK],
        [{"role": turn.role, "content": turn.content, "name": None, "weight": None} for turn in TALK],
        [{"role": turn.role, "content": [{"type": "text", "text": turn.content}]} for turn in TALK],
        [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "weight": 1}],
        {"from": ["system", "human", "gpt"], "value": ["s", "a", "b"]},
        json.dumps([{"role": turn.role, "content": turn.content} for turn in TALK]),
        [{"role": "System", "content": "s"}, {"role": " prompter", "content": "a"}, {"role": "model", "content": "b"}],
        [{"role": turn.role, "content": turn.content, "timestamp": 3, "toxic": False} for turn in TALK],
    ],
)
def test_one_conversation_in_every_form(turns: Any):
    assert read_turns(turns, "messages") == TALK


@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_a_system_turn_that_says_nothing_is_left_out(nothing: str | None):
    turns = [{"role": "system", "content": nothing}, {"role": "user", "content": "a"}]
    assert read_turns(turns, "messages") == (Message("user", "a"),)


@pytest.mark.parametrize(
    ("turns", "kind", "complaint"),
    [
        (None, BAD_VALUE, "messages is null, not a list of turns"),
        ("a", BAD_VALUE, "messages is text, not a list of turns"),
        ("[{", BAD_VALUE, "messages is text, but not JSON"),
        ([], BAD_VALUE, "messages has no turns"),
        ({}, BAD_VALUE, "messages is an object, not a list of turns"),
        ({"from": ["human"], "value": []}, BAD_VALUE, "messages has columns of 0 and 1 turns"),
        ([[{"role": "user", "content": "a"}]], BAD_VALUE, r"messages\[0\] is a list, not an object"),
        (["a", "b"], BAD_VALUE, r"messages\[0\] is text, not an object"),
        ([{"content": "a"}], BAD_VALUE, r"messages\[0\] has no role"),
        ([{"role": 1, "content": "a"}], BAD_VALUE, r"messages\[0\] has a number as its role"),
        ([{"role": "narrator", "content": "a"}], BAD_VALUE, "has the role 'narrator', which is not known"),
        ([{"role": "user"}], BAD_VALUE, r"messages\[0\] has null as its content, not text"),
        ([{"role": "user", "content": None}], BAD_VALUE, "has null as its content, not text"),
        ([{"role": "user", "content": True}], BAD_VALUE, "has a boolean as its content, not text"),
        ([{"role": "user", "content": {"a": 1}}], BAD_VALUE, "has an object as its content, not text"),
        ([{"role": "user", "content": [["a"]]}], BAD_VALUE, "has a list as its content, not text"),
        ([{"role": "user", "content": []}], BAD_VALUE, "has a list as its content, not text"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], BAD_VALUE, "has a list as its content"),
        ([{"role": "user", "content": " "}], BAD_VALUE, r"messages\[0\] says nothing"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], NOT_SUPPORTED, "has a part that is not text"),
        ([{"role": "user", "content": "a", "images": ["x"]}], NOT_SUPPORTED, "has 'images'"),
        ([{"role": "assistant", "content": "a", "reasoning": "b"}], NOT_SUPPORTED, "has 'reasoning'"),
        ([{"role": "assistant", "content": "a", "weight": 0}], NOT_SUPPORTED, "has weight = 0"),
        ([{"role": "assistant", "content": "a", "train": False}], NOT_SUPPORTED, "has train = False"),
        ([{"role": "assistant", "tool_calls": "x"}], BAD_VALUE, "has text as its tool_calls, not a list"),
        ([{"from": "function_call", "value": "add(1)"}], BAD_VALUE, "is a function_call, but not JSON"),
    ],
)  # fmt: skip
def test_what_is_not_a_list_of_turns_is_refused_with_its_place(turns: Any, kind: str, complaint: str):
    with pytest.raises(RowError, match=complaint) as caught:
        read_turns(turns, "messages")
    assert caught.value.kind == kind


def test_calls_of_tools_are_the_same_in_every_form():
    calls = (ToolCall("", "add", '{"x": 1}'),)
    for call in (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": "", "tool_calls": [CALL | {"index": None}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"x": 1}, "z": None}}]},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'},
    ):
        (turn,) = read_turns([call], "messages")
        assert (turn.role, turn.content, turn.tool_calls) == ("assistant", "", calls)
    answered = [{"role": "tool", "content": "", "name": "add"}, {"from": "observation", "value": "2"}]
    assert read_turns(answered, "m") == (Message("tool", "", name="add"), Message("tool", "2"))
    with pytest.raises(GenerateError, match="arguments"):
        read_turns([{"from": "function_call", "value": '{"name": "add"}'}], "messages")


def test_answers_must_say_something():
    check_answers(TALK, "it")
    check_answers([Message("assistant", "", (ToolCall("", "add", "{}"),))], "it")
    for turns, complaint in (
        (TALK[:2], "it has no turn of the assistant"),
        ([Message("assistant", " \n")], "it has an empty answer"),
    ):
        with pytest.raises(RowError, match=complaint) as caught:
            check_answers(turns, "it")
        assert caught.value.kind == NO_ANSWER


def test_a_column_of_text_says_something():
    assert read_said(" a\r\n", "prompt") == " a\n"
    for value in ("", " \n", None, 3, ["a"]):
        with pytest.raises(RowError, match="prompt is"):
            read_said(value, "prompt")


def test_functions_are_the_same_in_every_form():
    add = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}
    whole = {"type": "function", "function": add}
    (tool,) = read_functions([whole], "tools")
    assert isinstance(tool, Tool)
    for value in ([add], [whole | {"strict": None}], json.dumps([whole]), json.dumps([add])):
        assert read_functions(value, "tools") == (tool,)
    for nothing in (None, [], "", " "):
        assert read_functions(nothing, "tools") == ()
    for value, complaint in (
        (3, "a number, not a list"),
        ("{", "text, but not JSON"),
        ("{}x", "not JSON"),
        ([3], "function"),
    ):
        with pytest.raises((RowError, GenerateError), match=complaint):
            read_functions(value, "tools")
