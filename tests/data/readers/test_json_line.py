import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.readers.json_line import json_lines, parse_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_python_writes_is_read(value: object) -> None:
    assert parse_line(json.dumps(value).encode()) == value


def test_nan_and_half_an_emoji_are_values() -> None:
    row = parse_line(b'{"text": "a \\ud83d b", "score": NaN, "most": -Infinity}')
    assert row["text"] == "a \ud83d b"
    assert math.isnan(row["score"])
    assert row["most"] == -math.inf


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"a": NaN', b'{"a": nan}', b'"\xff"', b'"\\ud83d', b"[" * 100_000 + b"NaN" + b"]" * 100_000]
)
def test_what_is_not_json_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"column|UTF-8|depth"):
        parse_line(line)


def test_lines_come_without_blanks_and_a_long_one_costs_no_other_one() -> None:
    content = b"\xef\xbb\xbf {}\r\n\n" + b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 5_000_000
    assert list(json_lines(io.BytesIO(content), 10)) == [b"{}", b"", None, b"y" * 10, None]
