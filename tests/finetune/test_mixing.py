"""The order of examples: shares, caps and epochs, against counting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.finetune.mixing import Mixing, SourceOrder


def no_tasks(count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.int64)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60), st.one_of(st.none(), st.integers(1, 20)), st.integers(0, 3)
)
def test_an_epoch_has_each_example_once_at_most_and_of_each_task_as_many_as_its_cap(
    tasks: list[int], cap: int | None, epoch: int
):
    order = SourceOrder(np.array(tasks), cap, ["seed"])
    sizes = Counter(tasks)
    expected = {task: min(size, cap or size) for task, size in sizes.items()}
    assert order.in_epoch == sum(expected.values())
    drawn = order(np.arange(order.in_epoch) + epoch * order.in_epoch).tolist()
    assert len(set(drawn)) == len(drawn)
    assert Counter(tasks[example] for example in drawn) == expected


def test_all_examples_of_a_capped_task_have_their_turn():
    order = SourceOrder(no_tasks(10), 3, ["seed"])
    drawn = order(np.arange(4 * order.in_epoch)).tolist()
    assert set(drawn) == set(range(10))
    assert sorted(Counter(drawn).values()) == [1] * 8 + [2] * 2


def test_epochs_have_orders_of_their_own():
    order = SourceOrder(no_tasks(50), None, ["seed"])
    first, second = order(np.arange(50)).tolist(), order(np.arange(50, 100)).tolist()
    assert first != second
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != SourceOrder(no_tasks(50), None, ["another seed"])(np.arange(50)).tolist()


def test_a_round_has_the_shares_of_the_mixture_at_every_place():
    """The paper's proportions A of Flan 2022: 52, 15, 3 and 30 %."""
    shares = {"muffin": 52.0, "t0": 15.0, "cot": 3.0, "niv2": 30.0}
    mixing = Mixing(shares, {name: no_tasks(250) for name in shares}, {}, seed=1)
    assert mixing.round == 1000
    labels = mixing.examples(0, 3000) // 250
    for end in (100, 500, 1000, 2000, 2500):
        counts = np.bincount(labels[:end], minlength=4)
        assert np.abs(counts - np.array([52, 15, 3, 30]) / 100 * end).max() <= 1.5
    assert np.bincount(labels[:1000]).tolist() == [520, 150, 30, 300]


def test_shares_in_proportion_to_sizes_read_every_example_once_a_round():
    sizes = {"a": 7, "b": 300, "c": 41}
    mixing = Mixing(
        {name: float(size) for name, size in sizes.items()}, {n: no_tasks(s) for n, s in sizes.items()}, {}, 3
    )
    for rounds in range(3):
        assert sorted(mixing.examples(rounds * mixing.round, mixing.round).tolist()) == list(range(348))


def test_any_part_of_the_order_is_found_by_itself():
    mixing = Mixing({"a": 1.0, "b": 2.0}, {"a": no_tasks(13), "b": np.arange(40) % 3}, {"b": 9}, seed=5)
    whole = mixing.examples(0, 400)
    assert np.array_equal(np.concatenate([mixing.examples(at, 25) for at in range(0, 400, 25)]), whole)
    assert mixing.in_epoch == {"a": 13, "b": 27}


def test_a_source_without_examples_or_with_too_small_a_share_is_refused():
    with pytest.raises(DataError, match=r"source 'b' has no examples to train on"):
        Mixing({"a": 1.0, "b": 1.0}, {"a": no_tasks(3), "b": no_tasks(0)}, {}, 0)
    with pytest.raises(DataError, match=r"mixture\.b is 0\.001 of 1\.001: less than one of the 20 examples"):
        Mixing({"a": 1.0, "b": 0.001}, {"a": no_tasks(10), "b": no_tasks(10)}, {}, 0)
