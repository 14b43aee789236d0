"""Elements of a list, in pieces of every size, compared with Python's own parser of the whole list."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.input.compression import BrokenStreamError
from puna.data.readers import json_list
from puna.data.readers.json_list import list_elements

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.just('"\\[,]{'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def elements(content: bytes, limit: int = 10**6) -> list[bytes | None]:
    return list(list_elements(io.BytesIO(content), limit))


@given(VALUES.filter(lambda value: isinstance(value, list)), st.sampled_from([None, 1, 2]), st.integers(1, 9))
def test_every_element_comes_as_it_stands_in_the_list(value: list[Any], indent: int | None, piece: int):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_list, "_PIECE", piece)
        found = elements(b" \n" + json.dumps(value, indent=indent, ensure_ascii=piece % 2 == 0).encode() + b"\n ")
    assert [json.loads(element or b"?") for element in found] == value


def test_an_element_that_is_too_long_costs_no_other_one():
    assert elements(b'["a", "' + b"x" * 10**6 + b'", "c"]', limit=100) == [b'"a"', None, b'"c"']
    assert elements(b'["a", [' + b"1," * 10**6 + b'1], "c"]', limit=100) == [b'"a"', None, b'"c"']


def test_what_is_not_json_within_an_element_costs_that_element():
    assert elements(b"[{a: 1}, , 2 2, \xff,]") == [b"{a: 1}", b"", b"2 2", b"\xff", b""]
    assert elements(b"[ ]") == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[1, 2", "the list is cut off before its end"),
        (b'[1, "2]', "the list is cut off before its end"),
        (b'[1, "2\\', "the list is cut off before its end"),
        (b"[1] 2", "other bytes after its end"),
        (b"[1}, 2]", "a brace is closed that was not opened"),
        (b"1", "does not begin with a bracket"),
        (b"", "does not begin with a bracket"),
    ],
)
def test_what_is_not_one_list_is_an_error_after_its_elements(content: bytes, complaint: str):
    with pytest.raises(BrokenStreamError, match=complaint):
        elements(content)
