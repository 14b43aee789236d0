"""A template sees of a conversation what transformers shows it, and each stand-in tells who wrote its character."""

import json
from collections.abc import Iterator

import pytest

from puna.chat.controls import ANSWER, TEMPLATE, TYPED, Control
from puna.chat.messages import Message
from puna.chat.stand_ins import Said, StandIns
from puna.chat.tools import Tool, ToolCall

CALL = ToolCall("id1", "f", '{"a\\"": ["<x>", 1, {"b": null}]}')
TURNS = [
    Message("user", "q '1'\n"), Message("assistant", "", tool_calls=(CALL,)), Message("tool", "{}", (), "id1", "f"),
    Message("assistant", "done"),
]  # fmt: skip
TOOLS = [Tool("f", 'say "it"', {"type": "object", "properties": {"city": {"type": "string", "enum": ["a<x>"]}}})]


@pytest.fixture
def free() -> Iterator[str]:
    return map(chr, range(0xF0000, 0xF1000))


def test_a_turn_has_the_fields_that_transformers_templates_know() -> None:
    said = Said.of(TURNS, TOOLS)
    function = {"name": "f", "arguments": {'a"': ["<x>", 1, {"b": None}]}}
    assert said.messages == [
        {"role": "user", "content": "q '1'\n"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "id1", "type": "function", "function": function}]},
        {"role": "tool", "content": "{}", "tool_call_id": "id1", "name": "f"},
        {"role": "assistant", "content": "done"},
    ]
    assert said.tools == [TOOLS[0].variable]
    assert Said.of(TURNS[:1], []).tools is None


def test_every_text_has_stand_ins_and_comes_back(free: Iterator[str]) -> None:
    said = Said.of(TURNS, TOOLS)
    stand = StandIns.every(said, free)
    hidden = json.dumps([stand.said.messages, stand.said.tools], ensure_ascii=False)
    assert stand.back(hidden) == json.dumps([said.messages, said.tools], ensure_ascii=False)
    for text in ("say", "city", "a<x>", "done", "id1", "q '1'"):
        assert text not in hidden
    for text in ("assistant", "arguments", "string", "object"):
        assert text in hidden


def test_origins_are_those_of_the_texts(free: Iterator[str]) -> None:
    stand = StandIns.every(Said.of(TURNS, TOOLS), free)
    user, calling, result, answer = stand.said.messages
    assert {*stand.origins(user["content"])} == {TYPED, TEMPLATE}  # spaces and line ends are nobody's
    assert {*stand.origins(answer["content"])} == {ANSWER}
    assert {*stand.origins(calling["tool_calls"][0]["function"]["name"])} == {ANSWER}
    assert {*stand.origins(result["name"])} == {TYPED}


def test_what_json_escapes_has_no_stand_in_where_templates_quote(free: Iterator[str]) -> None:
    quoted = Said.of([Message("user", '"\\\0'), Message("tool", '"\\\0a')], [])
    user, result = StandIns.every(quoted, free).said.messages
    assert not set('"\\\0') & set(user["content"])
    assert result["content"][:3] == '"\\\0' != user["content"]


def test_control_tokens_alone_can_have_them(free: Iterator[str]) -> None:
    control, soft = Control("<x>", 1, special=True), Control("done", 2, special=False)
    stand = StandIns.controls(Said.of([*TURNS, Message("user", "a done")], TOOLS), free, [control, soft])
    text = json.dumps([stand.said.messages, stand.said.tools], ensure_ascii=False)
    assert "<x>" not in text
    assert "x>" in text
    assert [stand.said.messages[at]["content"] for at in (0, 3)] == ["q '1'\n", "done"]  # an answer may write it
    assert stand.said.messages[4]["content"][2:] != "done"


def test_what_others_than_the_model_wrote_is_listed_with_its_place() -> None:
    found = [*Said.of(TURNS, TOOLS).typed()]
    assert ("messages[0]", "q '1'\n") in found
    assert ("messages[2]", "{}") in found
    assert ("tools[0]", 'say "it"') in found
    assert not {"done", "<x>"} & {text for _, text in found}
