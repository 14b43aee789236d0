import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.data.numbers import LAST_RECORD, MOST_FILES, document_number, position_of

_places = st.tuples(
    st.booleans(), st.integers(0, 127), st.integers(0, MOST_FILES - 1), st.integers(0, LAST_RECORD)
)  # fmt: skip


@given(first=_places, second=_places)
def test_numbers_are_ordered_by_split_source_file_and_record(first: tuple, second: tuple):
    numbers = [
        document_number(heldout=heldout, source=source, file=file, record=record)
        for heldout, source, file, record in (first, second)
    ]
    assert tuple(position_of(numbers[0])) == first
    keys = [(not heldout, source, file, record) for heldout, source, file, record in (first, second)]
    assert (numbers[0] < numbers[1]) == (keys[0] < keys[1])
    assert all(0 <= number < 2**64 for number in numbers)


@pytest.mark.parametrize(("field", "value"), [("source", 128), ("file", MOST_FILES), ("record", LAST_RECORD + 1)])
def test_what_has_no_number_is_named(field: str, value: int):
    places = {"source": 0, "file": 0, "record": 0} | {field: value}
    with pytest.raises(DataError, match=f"{field} {value:,}: a build numbers at most"):
        document_number(heldout=False, **places)
