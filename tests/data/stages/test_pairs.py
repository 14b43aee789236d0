"""Pairs of documents on their way between tasks."""

import numpy as np
import pytest

from puna.data.dedup.components import UP
from puna.data.dedup.edges import PAIR
from puna.data.stages.pairs import PAIRS, UPWARD, pairs_between, read_pairs, write_both_ways, write_pairs
from puna.data.tasks.rows import partition_of, read_rows

TOP = 2**64 - 1
FOUND = [(9, 2), (TOP, 0), (3, 1), (1 << 63, 3), (5, 2)]


def pairs(rows: list[tuple[int, int]]) -> np.ndarray:
    return np.array(rows, dtype=PAIR)


def test_what_a_task_has_found_is_read_back_in_the_order_of_the_documents_that_go(wrote):
    task = wrote("found", lambda task: write_pairs(task, pairs(FOUND)))
    assert read_pairs(task).tolist() == sorted(FOUND)
    assert task.results() == {"found": 5}


def test_a_task_that_has_found_nothing_says_so(wrote):
    task = wrote("nothing", lambda task: write_pairs(task, pairs([])))
    assert read_pairs(task).tolist() == []
    assert task.results() == {"found": 0}
    assert pairs_between(read_pairs(task), 0, TOP).tolist() == []


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [
        (0, TOP, [3, 5, 9, 1 << 63, TOP]),
        (3, 9, [3, 5, 9]),
        (4, 8, [5]),
        (6, 8, []),
        (1 << 63, TOP, [1 << 63, TOP]),
        (TOP, TOP, [TOP]),
        (0, 2, []),
    ],
)
def test_both_ends_of_a_range_belong_to_it(low: int, high: int, numbers: list[int]):
    assert pairs_between(pairs(sorted(FOUND)), low, high)["number"].tolist() == numbers


@pytest.mark.parametrize("partitions", [1, 3])
def test_each_pair_lies_with_its_higher_document_and_turned_with_its_lower_one(wrote, partitions: int):
    rows = pairs([(number, number // 2) for number in range(1, 200)])
    task = wrote(f"both-{partitions}", lambda task: write_both_ways(task, rows, partitions))
    assert task.results() == {"pairs": 199}
    down = [read_rows([task], PAIRS, partition, PAIR) for partition in range(partitions)]
    up = [read_rows([task], UPWARD, partition, UP) for partition in range(partitions)]
    for partition in range(partitions):
        assert set(partition_of(down[partition]["number"].copy(), partitions)) == {partition}
        assert set(partition_of(up[partition]["kept"].copy(), partitions)) == {partition}
    assert sorted(np.concatenate(down).tolist()) == rows.tolist()
    assert sorted((number, kept) for kept, number in np.concatenate(up).tolist()) == rows.tolist()
