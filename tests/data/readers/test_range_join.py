import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.readers.range_join import RangeJoin

KEYS = [(group, kind, score) for group in (0, 1, 5, 70_000, 70_001, 2**30) for kind in (1, 2) for score in (-1, 10, 9)]
ROWS = [
    (group, (kind, -score, n), f"{group}/{n}".encode())
    for n, (group, kind, score) in enumerate(random.Random(0).choices(KEYS, k=300))
]


def filled(rows, directory: Path, room: int) -> RangeJoin:
    directory.mkdir(parents=True, exist_ok=True)
    join = RangeJoin(directory, room)
    for group, order, row in rows:
        join.add(group, order, row)
    return join


def joined(rows, directory: Path, room: int):
    return list(filled(rows, directory, room).groups())


def expected(rows):
    return [
        (g, sorted((order, row) for group, order, row in rows if group == g)) for g in sorted({row[0] for row in rows})
    ]


@pytest.mark.parametrize("room", [10**9, 8_000, 3_500])
def test_groups_are_the_same_in_memory_and_on_the_disk(tmp_path, room):
    join = filled(ROWS, tmp_path, room)
    assert bool(list(tmp_path.rglob("*.rows"))) == (room < 10**9)
    assert list(join.groups()) == expected(ROWS)


def test_the_order_in_which_rows_come_does_not_matter(tmp_path):
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert joined(shuffled, tmp_path, 4_000) == joined(ROWS, tmp_path / "other", 10**9)


def test_a_group_that_does_not_fit_is_told_by_its_size_and_costs_no_other(tmp_path):
    rows = [(7, (1, 0, n), b"x" * 100) for n in range(50)] + [(8, (1, 0, 0), b"y")]
    groups = joined(rows, tmp_path, 1000)
    assert groups == [(7, 50 * 136), (8, [((1, 0, 0), b"y")])]


def test_the_temporary_files_are_removed_as_they_are_read(tmp_path):
    groups = filled(ROWS, tmp_path, 3_000).groups()
    next(groups)
    before = len(list(tmp_path.rglob("*.rows")))
    list(groups)
    assert before > 1
    assert not list(tmp_path.rglob("*.rows"))


row = st.tuples(
    st.integers(0, 2**31 - 1) | st.integers(0, 99),
    st.tuples(*[st.integers(-(2**31), 2**31)] * 3),
    st.binary(max_size=9),
)


@settings(max_examples=30)
@given(rows=st.lists(row, max_size=40), room=st.integers(200, 5000))
def test_any_rows_are_joined_as_sorting_them_would(tmp_path_factory, rows, room):
    groups = joined(rows, tmp_path_factory.mktemp("join"), room)
    for (group, members), (number, wanted) in zip(groups, expected(rows), strict=True):
        assert group == number
        assert members == wanted or (isinstance(members, int) and members > room)
