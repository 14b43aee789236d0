"""Windows that slide over a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.infer.windows import windows


@given(length=st.integers(1, 60), size=st.integers(1, 20), data=st.data())
def test_every_token_is_scored_once_in_the_first_window_that_reaches_it(
    length: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    found = {}
    for context, scored in windows(range(length), size, stride):
        assert len(context) + len(scored) <= size + 1
        for place, token in enumerate(scored):
            assert token not in found
            found[token] = (*context, *scored[:place])
    for token in range(1, length):
        begin = next(begin for begin in range(0, length, stride) if token <= begin + size)
        assert found[token] == tuple(range(begin, token))
    assert len(found) == length - 1


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [
        (4, 4, [((0,), (1, 2, 3, 4)), ((4,), (5, 6))]),
        (4, 2, [((0,), (1, 2, 3, 4)), ((2, 3, 4), (5, 6))]),
        (4, 1, [((0,), (1, 2, 3, 4)), ((1, 2, 3, 4), (5,)), ((2, 3, 4, 5), (6,))]),
        (9, 3, [((0,), (1, 2, 3, 4, 5, 6))]),
    ],
)
def test_windows_by_hand(size: int, stride: int, expected: list) -> None:
    assert list(windows(range(7), size, stride)) == expected
