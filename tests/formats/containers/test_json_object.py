import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import FormatError
from puna.formats.containers.json_object import json_object, read_json_object


def test_object_is_given_as_it_stands() -> None:
    assert json_object('{"a": [1, {"é": null}]}'.encode(), "x") == {"a": [1, {"é": None}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "x: is not JSON: it is empty"),
        (b'{"a": 1', "x: is not JSON: Expecting"),
        (b"[]", "x: is JSON, but not an object"),
        (b'{"\xff": 1}', "x: is not UTF-8 text"),
        (b'{"a": {"b": 1, "b": 2}}', "x: names 'b' twice"),
        (b'{"a": ' + b"[" * 100_000, "x: is nested 100,001 levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "x: has a number of 5,000 digits"),
    ],
)
def test_anything_else_is_one_sentence(content: bytes, said: str) -> None:
    with pytest.raises(FormatError) as caught:
        json_object(content, "x")
    assert caught.value.message.startswith(said)
    assert "\n" not in caught.value.message


def test_a_name_that_comes_twice_is_found_among_many_at_once() -> None:
    content = "{" + ",".join(f'"{number}": 0' for number in range(100_000)) + ', "99999": 1}'
    # Comparing each name with all others would take minutes.
    with pytest.raises(FormatError, match="x: names '99999' twice"):
        json_object(content.encode(), "x")


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_but_a_format_error(content: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert isinstance(json_object(content, "x"), dict)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"config.json: cannot be read: No such file"):
        read_json_object(tmp_path / "config.json")
    with pytest.raises(FormatError, match="is a directory, not a regular file"):
        read_json_object(tmp_path)
