"""Prompts from the command line, standard input and files."""

import json
import sys
from pathlib import Path

import pytest

from puna.cli.prompts import Prompt, lines_of, read_prompts
from puna.core.errors import GenerateError


def test_lines_of_a_file_are_as_editors_count_them() -> None:
    assert lines_of("\ufeffone\r\n\r\ntwo\x0cstill two\u2028and still\nlast") == [
        "one", "", "two\x0cstill two\u2028and still", "last",
    ]  # fmt: skip
    assert lines_of("") == []
    assert lines_of("a\n") == ["a"]


def test_words_come_before_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('one\n{"prompt": "text"}\n')
    assert read_prompts(["zero"], tmp_path / "a.txt") == [Prompt("zero"), Prompt("one"), Prompt('{"prompt": "text"}')]


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON"])
def test_json_lines_have_a_prompt_and_fields_of_their_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"prompt": "a\\nb", "id": 1}\r\n\n  {"prompt": ""}  ')
    assert read_prompts([], tmp_path / name) == [Prompt("a\nb", {"id": 1}), Prompt("")]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"text": "a"}', "line 2: has no field 'prompt'; its fields are 'text'"),
        ("{}", "line 2: has no field 'prompt'; its fields are none"),
        ('{"prompt": 1}', "line 2: 'prompt' is 1, expected a text"),
        ('{"prompt": "a", "tokens": 1}', "line 2: has a field 'tokens', which its answer has too"),
        ('{"prompt": "a"', "line 2: is not JSON"),
        ('"a"', "line 2: is 'a', expected an object with named fields"),
        ("[" * 5000, "line 2: is nested 5,000 levels deep"),
        (b"\xff", "line 2: is not UTF-8 text"),
    ],
)
def test_line_without_a_prompt_is_named(tmp_path: Path, line: str | bytes, sentence: str) -> None:
    content = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "a.jsonl").write_bytes(json.dumps({"prompt": "fine"}).encode() + b"\n" + content)
    with pytest.raises(GenerateError, match=sentence):
        read_prompts([], tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_file_that_cannot_be_read_or_has_none_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(GenerateError, match="cannot be read: No such file"):
        read_prompts([], tmp_path / name)
    (tmp_path / name).write_text("")
    with pytest.raises(GenerateError, match="there is no prompt"):
        read_prompts([], tmp_path / name)


def test_standard_input_that_is_closed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(GenerateError, match="`-` reads standard input, which is closed"):
        read_prompts(["-"], None)
