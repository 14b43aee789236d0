import json
from pathlib import Path
from typing import Any

import pytest
from example_rows import read_file, write_rows

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.data.document import Document, Dropped


def only(tmp_path: Path, row: dict[str, Any], **settings: Any) -> Example | Dropped:
    (found,) = read_file(write_rows(tmp_path / "f", [row]), "conversations", **settings)
    return Example.parse(found.turns, "f") if isinstance(found, Document) else found


def says(*contents: str, system: str = "") -> Example:
    turns = [Message("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(contents)]
    return Example(messages=(*([Message("system", system)] if system else []), *turns))


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
OWN = {"role": "system", "content": "own"}


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"messages": [USER, ANSWER]}, says("a", "b")),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, says("a", "b")),
        ({"messages": None, "conversation": [USER, ANSWER]}, says("a", "b")),
        ({"messages": [USER, ANSWER], "system": "s"}, says("a", "b", system="s")),
        ({"messages": [USER, ANSWER], "system": " ", "prompt": "the first turn again"}, says("a", "b")),
        ({"messages": [OWN, USER, ANSWER], "system": "s"}, says("a", "b", system="own")),
        ({"prompt": "a ", "completion": " b"}, says("a ", " b")),
        ({"prompt": [USER], "completion": [ANSWER]}, says("a", "b")),
        ({"prompt": [USER, ANSWER, USER], "completion": "c"}, says("a", "b", "a", "c")),
        ({"prompt": "a", "response": "b", "system_prompt": "s"}, says("a", "b", system="s")),
        ({"instruction": "a", "input": "", "output": "b"}, says("a", "b")),
        ({"instruction": "a", "input": None, "output": "b", "text": "all of it"}, says("a", "b")),
        ({"instruction": "a", "input": "x", "output": "b"}, says("a\n\n### Input:\nx", "b")),
        ({"instruction": "a", "context": "x", "response": "b", "category": "open_qa"}, says("a\n\n### Input:\nx", "b")),
    ],
)  # fmt: skip
def test_rows_in_the_forms_of_data_sets(tmp_path: Path, row: dict[str, Any], example: Example):
    assert only(tmp_path, row) == example


@pytest.mark.parametrize("as_text", [False, True])
def test_functions_that_could_be_called_come_with_the_conversation(tmp_path: Path, as_text: bool):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
    found = only(tmp_path, {"messages": messages, "tools": json.dumps(tools) if as_text else tools})
    assert isinstance(found, Example)
    assert [tool.variable for tool in found.tools] == tools
    assert only(tmp_path, {"messages": [USER, ANSWER], "tools": "" if as_text else None}) == says("a", "b")


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"messages": [USER, ANSWER], "tools": "[{"}, "bad_value", "tools is text, but not JSON"),
        ({"messages": [USER, ANSWER], "tools": [{"title": "f"}]}, "bad_value", "[0].function"),
        ({"messages": [USER]}, "no_answer", "the conversation has no turn of the assistant"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "no_answer", "has an empty answer"),
        ({"prompt": "a", "completion": " "}, "no_answer", "has an empty answer"),
        ({"prompt": "", "completion": "b"}, "bad_value", "prompt is empty"),
        ({"prompt": 3, "completion": "b"}, "bad_value", "prompt is a number, not a list of turns"),
        ({"prompt": "a"}, "no_columns", "it has prompt"),
        ({"instruction": "a", "input": 3, "output": "b"}, "bad_value", "input is a number, not text"),
        ({"instruction": "a", "output": ["b"]}, "bad_value", "output[0] is text, not an object"),
        ({"messages": [USER, ANSWER], "system": 3}, "bad_value", "system is a number, not text"),
        ({"messages": "a", "prompt": "a", "completion": "b"}, "bad_value", "messages is text"),
    ],
)
def test_rows_that_are_not_conversations(tmp_path: Path, row: dict[str, Any], reason: str, detail: str):
    dropped = only(tmp_path, row)
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, detail in dropped.detail) == (f"conversations.{reason}", True)


def test_columns_are_named_by_the_recipe(tmp_path: Path):
    row = {"question": "a", "answer": "b", "prompt": "x", "completion": "y", "kind": "k", "rules": "s"}
    named = {"prompt": "question", "completion": "answer", "task": "kind", "system": "rules"}
    found = only(tmp_path, row, columns=named)
    assert found == Example(messages=says("a", "b", system="s").messages, task="k")
    found = only(tmp_path, row, columns={"task": "kind"})  # the others are found as usual
    assert found == Example(messages=says("x", "y").messages, task="k")
    dropped = only(tmp_path, row, columns={"prompt": "question", "completion": "reply"})
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "conversations.no_columns"
