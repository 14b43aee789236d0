"""Calls are found in what a model writes, however it comes in pieces, and everything else stays text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.chat.tool_calls import CallPiece, CallReader, ToolForm, gathered, read_answer

TAGS = ToolForm("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", "name", "arguments")
LIST = ToolForm("[TOOL_CALLS] [", ", ", "]", "name", "arguments", marks={7: "[TOOL_CALLS]"})
BARE = ToolForm("", None, "", "name", "parameters")
NAMED = ToolForm("[TOOL_CALLS]", "[TOOL_CALLS]", "", between="[ARGS]", marks={7: "[TOOL_CALLS]", 8: "[ARGS]"})
FENCED = ToolForm("<b><c>", "\n```</c>\n<c>", "\n```</c></b>", between="\n```json\n")
FORMS = {"tags": TAGS, "list": LIST, "bare": BARE, "named": NAMED, "fenced": FENCED}
NAMES = ["f", "get_weather"]
ARGUMENTS = ["{}", '{"a": "x"}', '{"a": "\\"}{[", "b": {"c": [1, {"d": "</tool_call>"}]}}', '{"é": "日\\\\"}']


def written(form: ToolForm, calls: list[tuple[str, str]]) -> str:
    """Calls as a template writes them."""
    one = [f"{form.before(name)}{arguments}{form.after}" for name, arguments in calls]
    return form.opening + (form.separator or "").join(one) + form.closing


def read(form: ToolForm, text: str) -> tuple[str, list[tuple[str, str]]]:
    content, calls = read_answer(form, NAMES, text)
    return content, [(call.name, call.arguments) for call in calls]


def streamed(form: ToolForm, pieces: list[str], early: bool = True) -> list[str | CallPiece]:
    reader = CallReader(form, NAMES, early=early)
    return [found for piece in pieces for found in reader.push(piece)] + reader.finish()


@pytest.mark.parametrize("name", FORMS)
def test_calls_come_back_from_each_form(name: str) -> None:
    form = FORMS[name]
    for arguments in ARGUMENTS:
        assert read(form, written(form, [("f", arguments)])) == ("", [("f", arguments)])
    if form.separator is not None:
        calls = [("f", ARGUMENTS[2]), ("get_weather", ARGUMENTS[1]), ("f", "{}")]
        assert read(form, written(form, calls)) == ("", calls)


words = st.sampled_from(["", "a", " \n", "Let me see.\n\n", "<tool", "[TOOL_", "é{", '{"name": "f"}', "</tool_call>"])
calls = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(ARGUMENTS)), max_size=3)


@pytest.mark.parametrize("name", ["tags", "list", "named", "fenced"])
@settings(max_examples=60)
@given(before=words, found=calls, behind=words, data=st.data())
def test_a_stream_makes_what_the_whole_answer_makes(
    name: str, before: str, found: list[tuple[str, str]], behind: str, data: st.DataObject
) -> None:
    form = FORMS[name]
    text = before + (written(form, found) if found else "") + behind
    whole = read(form, text)
    assert whole[1][: len(found)] == found
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for early in (True, False):
        content, made = gathered(streamed(form, pieces, early))
        assert (content, [(call.name, call.arguments) for call in made]) == whole


@settings(max_examples=200)
@given(st.text(alphabet='<tool_cal>/ \n{}[]":,fname\\TOOLARGS', max_size=60), st.sampled_from(sorted(FORMS)))
def test_what_is_not_a_call_is_the_text_that_was_written(text: str, name: str) -> None:
    reader = CallReader(FORMS[name], ["no_such_name"], early=True)
    assert "".join(map(str, [piece for one in text for piece in reader.push(one)] + reader.finish())) == text


def test_names_come_first_and_arguments_as_they_are_written() -> None:
    reader = CallReader(TAGS, NAMES, early=True)
    assert reader.push('Yes.\n<tool_call>\n{"name": "f", "argum') == ["Yes."]
    (begin, first) = reader.push('ents": {"a": [1')
    assert isinstance(begin, CallPiece)
    assert (begin.name, begin.arguments, len(begin.id)) == ("f", "", 9)
    assert begin.id.isalnum()
    assert first == CallPiece(0, '{"a": [1')
    assert reader.push(", 2]}") == [CallPiece(0, ", 2]}")]
    second = reader.push('}\n</tool_call>\n<tool_call>{"name": "get_weather", "arguments": {')
    assert [(one.index, one.name, one.arguments) for one in second if isinstance(one, CallPiece)] == [
        (1, "get_weather", ""), (1, "", "{"),
    ]  # fmt: skip


def test_text_around_calls_is_kept_without_the_spaces_between() -> None:
    call = written(TAGS, [("f", "{}")])
    assert read(TAGS, f"Let me see.\n\n{call}\n") == ("Let me see.", [("f", "{}")])
    assert read(TAGS, f"a \n{call}\n b \n{call} c ") == ("a \nb \nc", [("f", "{}"), ("f", "{}")])
    assert read(TAGS, " no call \n") == (" no call \n", [])


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "f", "arguments": {"a": 1',
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {a: 1}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": NaN}}\n</tool_call>',
        '<tool_call>\n{"name": "other", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>',
        '<tool_call>\n{"name": ["f"], "arguments": {}}\n</tool_call>',
        "<tool_call>\nf()\n</tool_call>",
        "<tool_call>",
        "<tool_call",
    ],
)
def test_a_broken_call_stays_text(text: str) -> None:
    assert read(TAGS, f"So: {text}") == (f"So: {text}", [])


def test_a_call_behind_a_broken_one_is_found() -> None:
    assert read(TAGS, '<tool_call>\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>') == (
        "<tool_call>", [("f", "{}")],
    )  # fmt: skip


def test_models_may_leave_out_empty_arguments_and_write_fields_in_another_order() -> None:
    assert read(TAGS, '<tool_call>{"name": "f"}</tool_call>') == ("", [("f", "{}")])
    for early in (True, False):
        turned = '<tool_call>{"arguments": {"a":1}, "id": "x", "name": "f"}</tool_call>'
        (call,) = gathered(streamed(TAGS, [turned], early))[1]
        assert json.loads(call.arguments) == {"a": 1}


def test_a_whole_call_is_kept_where_its_closing_is_missing() -> None:
    assert read(TAGS, '<tool_call>\n{"name": "f", "arguments": {}}') == ("", [("f", "{}")])


def test_arguments_that_break_off_in_a_stream_are_what_was_written() -> None:
    _, (call,) = gathered(streamed(TAGS, ['<tool_call>{"name": "f", "arguments": {"a', '": "x']))
    assert call.arguments == '{"a": "x'


def test_without_an_opening_only_a_whole_answer_is_a_call() -> None:
    call = '{"name": "f", "parameters": {"a": 1}}'
    assert read(BARE, f"\n{call}") == ("", [("f", '{"a": 1}')])
    for text in (f"See: {call}", '{"name": "other", "parameters": {}}', '{"answer": 42}', "{}", " \n", ""):
        assert read(BARE, text) == (text, [])


def test_other_json_is_given_as_it_comes() -> None:
    reader = CallReader(BARE, NAMES, early=True)
    assert reader.push('{"answer": [') == ['{"answer": [']


def test_control_tokens_of_a_form_stand_for_their_texts() -> None:
    reader = CallReader(NAMED, NAMES, early=True)
    pieces = [reader.push(text, token) for text, token in [("Hm", 1), ("", 7), ("f", 2), ("", 8), ("{}", 3), ("", 7)]]
    content, (call,) = gathered([one for piece in pieces for one in piece])
    assert (content, call.name, call.arguments) == ("Hm", "f", "{}")
