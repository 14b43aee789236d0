"""Packs: every example once, none too long, as full as the obvious best fit makes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.finetune.packing import pack, shuffled

CAPACITIES = st.integers(1, 70)


def obvious(lengths: list[int], capacity: int) -> list[int]:
    """The room left in the bins of best fit decreasing as it is defined: all bins are looked at for each item."""
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        fitting = [place for place, left in enumerate(room) if left >= lengths[item]]
        if not fitting:
            room.append(capacity)
            fitting = [len(room) - 1]
        place = min(fitting, key=lambda place: room[place])
        room[place] -= lengths[item]
    return sorted(room)


@given(st.data(), CAPACITIES)
def test_nothing_is_lost_nothing_is_twice_and_no_pack_is_too_long(data: st.DataObject, capacity: int):
    lengths = np.array(data.draw(st.lists(st.integers(1, capacity), max_size=120)), dtype=np.int64)
    for together in (True, False):
        packs = pack(lengths, capacity, together=together)
        assert sorted(packs.items.tolist()) == list(range(len(lengths)))
        sums = [int(lengths[packs[number]].sum()) for number in range(len(packs))]
        assert all(0 < total <= capacity for total in sums)
    assert len(packs) == len(lengths)


@given(st.data(), CAPACITIES)
def test_packs_are_those_of_best_fit_decreasing(data: st.DataObject, capacity: int):
    lengths = data.draw(st.lists(st.integers(1, capacity), max_size=120))
    packs = pack(np.array(lengths, dtype=np.int64), capacity)
    rooms = [capacity - sum(lengths[item] for item in packs[number]) for number in range(len(packs))]
    assert sorted(rooms) == obvious(lengths, capacity)


@given(st.data(), CAPACITIES, st.integers(0, 5))
def test_shuffling_changes_only_the_order_of_packs(data: st.DataObject, capacity: int, tweak: int):
    lengths = np.array(data.draw(st.lists(st.integers(1, capacity), min_size=1, max_size=60)), dtype=np.int64)
    packs = pack(lengths, capacity)
    other = shuffled(packs, ["key"], tweak)
    assert sorted(packs[n].tolist() for n in range(len(packs))) == sorted(other[n].tolist() for n in range(len(other)))


def test_packs_of_conversations_are_nearly_full():
    lengths = np.minimum(np.random.default_rng(0).lognormal(5.3, 0.9, 50_000).astype(np.int64) + 2, 2048)
    packs = pack(lengths, 2048)
    assert lengths.sum() / (len(packs) * 2048) > 0.998


@pytest.mark.parametrize("lengths", [[], [5], [5, 5, 5]])
def test_few_examples_are_packed(lengths: list[int]):
    packs = pack(np.array(lengths, dtype=np.int64), 5)
    assert [packs[number].tolist() for number in range(len(packs))] == [[item] for item in range(len(lengths))]
