"""TOML in and out: other files are refused in one sentence; a value is one line that reads back the same."""

import datetime
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.toml import inline, inline_string, read_toml
from puna.core.errors import ConfigError

VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes(allow_imaginary=False).filter(lambda time: not time.fold),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_inline_value_is_one_line_and_reads_back_the_same(value: Any) -> None:
    text = inline(value)
    assert len(text.splitlines()) == 1
    assert repr(tomllib.loads(f"v = {text}")["v"]) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", "b"], '["a", "b"]'), ([], "[]"), (True, "true"), (0.1, "0.1"), (-math.inf, "-inf"),
        ({"a": 1}, '{"a" = 1}'),
        ('say "hi"\n', r'"say \"hi\"\n"'), ("\x7f\u2028\U000e0001", r'"\u007f\u2028\U000e0001"'),
        (datetime.date(2026, 1, 31), "2026-01-31"), (2**2000, hex(2**2000)),
    ],
)  # fmt: skip
def test_inline_values_look_like_toml(value: Any, text: str) -> None:
    assert inline(value) == text


def test_what_is_not_unicode_is_shown_by_its_code() -> None:
    assert inline_string("a\udcff") == r'"a\udcff"'


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_toml(Path(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"= 1", "is not valid TOML: Invalid statement (at line 1, column 1)"),
        (b"a = 1\na = 2", "is not valid TOML: Cannot overwrite a value (at end of document)"),
        (b"a = 1\n\xff", "is not UTF-8 text: invalid start byte at byte 6"),
        (b"a = " + b"[" * 100_000, "is nested too deeply for a recipe"),
    ],
)
def test_file_that_is_not_toml_is_refused_with_the_place(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: {reason}"


def test_endless_integer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = " + "9" * 5000)
    assert re.fullmatch(rf"'{path}': cannot be read \(Exceeds the limit .*\)", refusal(path))


def test_missing_file_directory_and_impossible_paths_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.toml") == f"{tmp_path}/a.toml: no such recipe file"
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read (Is a directory)"
    assert refusal("x" * 300 + ".toml") == "x" * 300 + ".toml: cannot be read (File name too long)"
    assert refusal("a\0.toml") == r"'a\x00.toml': cannot be read (embedded null byte)"
