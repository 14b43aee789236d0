import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.benchmarks.canonical import line, measure, read, write
from puna.core.errors import EvaluateError

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, max_size=3))
def test_a_row_is_one_line_and_comes_back_with_all_its_bits(row: dict[str, object]) -> None:
    written = line(row)
    assert written.count(b"\n") == 1
    assert repr(json.loads(written)) == repr(
        {key: json.loads(json.dumps(row[key], sort_keys=True)) for key in sorted(row)}
    )


def test_the_order_of_keys_does_not_matter() -> None:
    assert line({"b": 1, "a": "ä"}) == line({"a": "ä", "b": 1}) == '{"a":"ä","b":1}\n'.encode()


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        line({"a": float("nan")})


def test_rows_are_written_measured_and_read(tmp_path: Path) -> None:
    path = tmp_path / "set" / "test.jsonl"
    rows = [{"a": 1}, {"a": 2.5}]
    found = write(rows, path)
    assert found == (2, hashlib.sha256(b'{"a":1}\n{"a":2.5}\n').hexdigest())
    assert measure(path) == found
    assert list(read(path)) == rows


def test_what_the_check_refuses_does_not_appear(tmp_path: Path) -> None:
    def check(n: int, sha256: str) -> None:
        raise EvaluateError(f"{n} rows")

    with pytest.raises(EvaluateError, match="1 rows"):
        write([{"a": 1}], tmp_path / "x.jsonl", check)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "sentence"), [(b"{\n", "is not JSON"), (b"{}\n[1]\n", r"line 2: is \[1\]")])
def test_a_damaged_line_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(EvaluateError, match=sentence):
        list(read(path))
