import json
import os
from pathlib import Path
from typing import Any

import pytest

from puna.chat.messages import Message, load_messages, read_messages, save_messages
from puna.chat.tools import ToolCall
from puna.core.errors import GenerateError, StorageError

TURNS = [Message("system", "Be brief."), Message("user", 'Hé "x"\n🙂\0'), Message("assistant", "")]


def test_objects_and_records_are_turns() -> None:
    assert read_messages([{"role": "user", "content": "a"}, Message("assistant", "b")]) == [
        Message("user", "a"), Message("assistant", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages is empty"),
        ("hello", "messages is not a list of turns"),
        ({"role": "user", "content": "a"}, "messages is not a list of turns"),
        (["a"], r"messages\[0\]: is str"),
        ([{"role": "user"}], r"messages\[0\]: content is NoneType"),
        ([{"role": "user", "content": [{"type": "text"}]}], r"messages\[0\]: content is list"),
        ([{"role": "user", "content": "a"}, {"role": "<|x|>", "content": "a"}], r"messages\[1\]: role is '<\|x\|>'"),
        ([{"role": "user", "content": "a", "name": "b"}], r"messages\[0\]: 'name' is not understood"),
        ([{"role": "assistant", "content": None}], r"messages\[0\]: content is NoneType"),
        ([{"role": "user", "content": "a", "tool_calls": []}], r"messages\[0\]: 'tool_calls' is not understood"),
        ([{"role": "assistant", "content": "", "tool_calls": "x"}], r"messages\[0\].tool_calls: is not a list"),
        ([{"role": "assistant", "content": "", "tool_calls": [{}]}], r"messages\[0\].tool_calls\[0\].function: is not"),
        ([{"role": "tool", "content": "", "tool_call_id": 1}], r"messages\[0\].tool_call_id is int"),
        ([{"role": "tool", "content": "", "name": "a b"}], r"messages\[0\].name is 'a b'"),
        ([{"role": "user", "content": "a\ud800"}], r"messages\[0\]: content has a lone surrogate, U\+D800, at 1"),
    ],
)
def test_what_is_not_a_turn_is_named(messages: Any, says: str) -> None:
    with pytest.raises(GenerateError, match=says):
        read_messages(messages)


def test_a_conversation_comes_back_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    save_messages(file, TURNS)
    assert load_messages(file) == TURNS
    assert json.loads(file.read_text())["messages"][0] == {"role": "system", "content": "Be brief."}
    assert os.listdir(tmp_path) == ["talk.json"]


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CALLED = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "b", "tool_call_id": "1"},
    {"role": "tool", "content": "c"},
]


def test_calls_are_read_and_their_results_named() -> None:
    _, calling, named, unnamed = read_messages(CALLED)
    assert calling == Message("assistant", "", tool_calls=(ToolCall("1", "f", '{"a": 1}'),))
    assert (named.name, unnamed.name) == ("f", "")


def test_a_conversation_with_calls_comes_back_from_its_file(tmp_path: Path) -> None:
    turns = read_messages(CALLED)
    save_messages(tmp_path / "talk.json", turns)
    assert load_messages(tmp_path / "talk.json") == turns


def test_a_file_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    file.write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        save_messages(file, TURNS)
    assert file.read_text() == "mine"
    save_messages(file, TURNS, replace=True)
    assert load_messages(file) == TURNS


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "is not a saved conversation"),
        ("{", "is not JSON"),
        ('{"messages": []}', "has version None"),
        ('{"version": 2, "messages": []}', "has version 2"),
        ('{"version": 1, "messages": {}}', "messages is not a list"),
        ('{"version": 1, "messages": [{"role": "x", "content": ""}]}', r"talk.json: messages\[0\]: role is 'x'"),
    ],
)
def test_a_file_that_is_not_a_conversation_is_named(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "talk.json"
    file.write_text(content)
    with pytest.raises(GenerateError, match=says):
        load_messages(file)


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match="cannot be read"):
        load_messages(tmp_path / "none.json")
    with pytest.raises(GenerateError, match="is a directory"):
        load_messages(tmp_path)
