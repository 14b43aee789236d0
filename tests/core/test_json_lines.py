"""JSON lines: every object, in order, or the line that is none."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.core.json_lines import is_json_lines, read_objects, text_field

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(objects=st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=5), ascii=st.booleans())
def test_every_object_comes_back(tmp_path_factory: pytest.TempPathFactory, objects: list, ascii: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    lines = (json.dumps(one, ensure_ascii=ascii).encode(errors="surrogatepass") for one in objects)
    path.write_bytes(b"\n\n".join(lines))
    assert [found for _, found in read_objects(path, DataError)] == objects


def test_names_of_files_of_json_lines() -> None:
    assert is_json_lines(Path("a.jsonl"))
    assert is_json_lines(Path("a.b.NDJSON"))
    assert not is_json_lines(Path("a.json"))
    assert not is_json_lines(Path("jsonl"))


def test_a_field_that_is_missing_names_those_that_are_there() -> None:
    with pytest.raises(DataError, match="here: has no field 'text'; its fields are 'body', 'url'"):
        text_field({"body": "a", "url": "b"}, "text", "here", DataError)


def test_lines_before_a_damaged_one_are_given(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a" 3}\n')
    found = []
    with pytest.raises(DataError, match=r"a\.jsonl: line 3: is not JSON"):
        found.extend(one for _, one in read_objects(tmp_path / "a.jsonl", DataError))
    assert found == [{"a": 1}, {"a": 2}]
