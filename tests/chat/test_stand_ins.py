"""A template sees of a conversation what transformers shows it, and each stand-in tells who wrote its character."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    stand = StandIns(free)
    told = stand.hide(said)
    hidden = json.dumps([told.messages, told.tools], ensure_ascii=False)
    assert stand.back(hidden) == json.dumps([said.messages, said.tools], ensure_ascii=False)
    for text in ("say", "city", "a<x>", "done", "id1", "q '1'"):
        assert text not in hidden
    for text in ("assistant", "arguments", "string", "object"):
        assert text in hidden


def test_origins_are_those_of_the_texts(free: Iterator[str]) -> None:
    stand = StandIns(free)
    user, calling, result, answer = stand.hide(Said.of(TURNS, TOOLS)).messages
    assert {*stand.origins(user["content"])} == {TYPED, TEMPLATE}  # spaces and line ends are nobody's
    assert {*stand.origins(answer["content"])} == {ANSWER}
    assert {*stand.origins(calling["tool_calls"][0]["function"]["name"])} == {ANSWER}
    assert {*stand.origins(result["name"])} == {TYPED}


def test_what_json_escapes_has_no_stand_in_where_templates_quote(free: Iterator[str]) -> None:
    quoted = Said.of([Message("user", '"\\\0'), Message("tool", '"\\\0a')], [])
    user, result = StandIns(free).hide(quoted).messages
    assert not set('"\\\0') & set(user["content"])
    assert result["content"][:3] == '"\\\0' != user["content"]


def test_control_tokens_alone_can_have_them(free: Iterator[str]) -> None:
    control, soft = Control("<x>", 1, special=True), Control("done", 2, special=False)
    said = Said.of([*TURNS, Message("user", "a done")], TOOLS)
    told = StandIns(free).hide_controls(said, [control, soft])
    text = json.dumps([told.messages, told.tools], ensure_ascii=False)
    assert "<x>" not in text
    assert "x>" in text
    assert [told.messages[at]["content"] for at in (0, 3)] == ["q '1'\n", "done"]  # an answer may write it
    assert told.messages[4]["content"][2:] != "done"


def test_every_text_is_listed_with_its_place_and_who_wrote_it() -> None:
    found = [*Said.of(TURNS, TOOLS).texts()]
    assert ("messages[0]", "q '1'\n", TYPED) in found
    assert ("messages[2]", "{}", TYPED) in found
    assert ("tools[0]", 'say "it"', TYPED) in found
    assert ("messages[3]", "done", ANSWER) in found
    assert {origin for _, text, origin in found if text == "<x>"} == {ANSWER}


@given(text=st.text("aé日🙂 \n\U00100001", min_size=1, max_size=40))
def test_a_long_text_has_the_stand_ins_and_origins_of_a_short_one(text: str) -> None:
    found = []
    for most in (1 << 16, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("puna.chat.stand_ins._LONG", most)
            stand = StandIns(map(chr, range(0xF0000, 0xF1000)))
            (message,) = stand.hide(Said.of([Message("user", text)], [])).messages
            assert stand.back(message["content"]) == text
            found.append(({*map(len, message["content"])}, stand.origins(message["content"] + "\ud800 x")))
            assert stand.back("\ud800x") == "\ud800x"
    assert found[0] == found[1]
