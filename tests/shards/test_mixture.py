import hashlib
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.shards.mixture import BLOCK, Mixture

shares = st.lists(st.floats(0.01, 100), min_size=1, max_size=7)


def _mixture(values: list[float], seed: int = 0, later: Sequence[tuple[int, dict[str, float]]] = ()) -> Mixture:
    return Mixture({f"source{number}": value for number, value in enumerate(values)}, seed, later)


def _labels(mixture: Mixture, sequences: int) -> np.ndarray:
    """The source of each of the first sequences, looked up one by one."""
    stage_block = lru_cache(maxsize=None)(lambda stage, block: mixture.stages[stage].block(block))
    found = (mixture.find(sequence) for sequence in range(sequences))
    return np.array([stage_block(stage, block)[0][place] for stage, block, place in found])


@given(values=shares)
def test_quotas_are_the_shares_by_largest_remainder(values: list[float]):
    total = sum(map(Fraction, values))
    exact = [Fraction(value) / total * BLOCK for value in values]
    quotas = _mixture(values).stages[0].quotas
    assert quotas.sum() == BLOCK
    assert all(abs(quota - share) < 1 + 1e-6 for quota, share in zip(quotas.tolist(), exact, strict=True))
    remainders = {up: [e - int(e) for e, q in zip(exact, quotas, strict=True) if (q > int(e)) == up] for up in (0, 1)}
    if remainders[0] and remainders[1]:
        assert min(remainders[1]) >= max(remainders[0]) - Fraction(1, 10**6)


def test_every_block_holds_each_source_as_often_as_its_quota():
    mixture = _mixture([0.67, 0.15, 0.045, 0.045, 0.045, 0.025, 0.02], seed=5)
    for block in (0, 1, 12345):
        labels, _ = mixture.stages[0].block(block)
        assert np.array_equal(np.bincount(labels), mixture.stages[0].quotas)


def test_a_source_is_read_in_its_own_order_without_a_gap():
    mixture = _mixture([3.0, 1.0, 0.001])
    blocks = [mixture.stages[0].block(block) for block in range(3)]
    labels, numbers = (np.concatenate(part) for part in zip(*blocks, strict=True))
    for source in range(3):
        mine = numbers[labels == source]
        assert np.array_equal(mine, np.arange(3 * mixture.stages[0].quotas[source]))


def test_shares_hold_at_every_moment_as_closely_as_in_a_draw_without_replacement():
    mixture = _mixture([0.85, 0.1, 0.05], seed=2)
    labels = np.concatenate([mixture.stages[0].block(block)[0] for block in range(2)])
    seen = np.arange(1, len(labels) + 1)
    for source, quota in enumerate(mixture.stages[0].quotas):
        share = quota / BLOCK
        deviation = np.abs(np.cumsum(labels == source) - seen * share)
        # Six standard deviations of a binomial draw, which is wider than one without replacement.
        assert (deviation <= 6 * np.sqrt(seen * share * (1 - share)) + 1).all()


def test_blocks_and_seeds_have_orders_of_their_own():
    orders = {_mixture([1.0, 1.0], seed).stages[0].block(block)[0].tobytes() for seed in range(3) for block in range(3)}
    assert len(orders) == 9


def test_a_block_is_the_same_whoever_asks_for_it_and_when():
    mixture = _mixture([2.0, 1.0], seed=9)
    mixture.stages[0].block(0)
    assert np.array_equal(mixture.stages[0].block(7), _mixture([2.0, 1.0], seed=9).stages[0].block(7))


def test_a_share_below_one_sequence_in_a_block_is_refused_by_name():
    with pytest.raises(DataError, match=r"mixture\.rare is 1e-09 of 1: less than one sequence"):
        Mixture({"common": 1.0, "rare": 1e-9}, 0)
    with pytest.raises(DataError, match=r"stages\[1\]\.mixture\.rare is 1e-09 of 1: less than one sequence"):
        Mixture({"common": 1.0, "rare": 1.0}, 0, [(5, {"rare": 1.0}), (9, {"common": 1.0, "rare": 1e-9})])
    with pytest.raises(DataError) as caught:
        Mixture({"common": 1.0, "rare": 1e-9}, 0)
    assert caught.value.hint == "raise it, or leave the source out"


def test_the_order_of_the_first_stage_is_the_one_that_it_always_was():
    """A golden value: runs that were begun must go on with the same sequences."""
    block = Mixture({"a": 0.67, "b": 0.3, "c": 0.03}, 5).stages[0].block(3)
    digest = hashlib.sha256(np.concatenate(block).tobytes()).hexdigest()
    assert digest == "2de9c33175ade0d019310f381b6ec6207b23718ad718b9ef19e5ad93e43d96bc"


LATER = [(BLOCK + 3000, {"source1": 1.0, "source2": 3.0}), (BLOCK + 3500, {"source0": 1.0, "source1": 1.0})]


@pytest.fixture(scope="module")
def staged() -> Mixture:
    """The first stage ends within its second block, the second within its first."""
    return _mixture([2.0, 1.0, 1.0], 3, LATER)


def test_the_order_of_later_stages_is_the_one_that_it_always_was(staged: Mixture):
    """Golden values, as for the first stage."""
    blocks = [np.concatenate(stage.block(1)) for stage in staged.stages[1:]]
    assert [hashlib.sha256(block.tobytes()).hexdigest() for block in blocks] == [
        "4944cdcc67b0a1ef852350776ae4e5460063a4b1b84b682abfb2f574d4199a67",
        "ed91d996349047ff3666d158af4ae3b38eb7dd237db623bf68f4abd11dad3175",
    ]


def test_a_stage_has_its_own_shares_from_its_first_sequence_on_and_who_is_not_named_rests(staged: Mixture):
    labels = _labels(staged, BLOCK + 3500)
    first, second = labels[: BLOCK + 3000], labels[BLOCK + 3000 :]
    assert np.array_equal(first, _labels(_mixture([2.0, 1.0, 1.0], 3), BLOCK + 3000))
    assert np.bincount(second, minlength=3)[0] == 0
    assert 0.7 < (second == 2).mean() < 0.8
    third = staged.stages[2].block(0)[0]
    assert np.bincount(third, minlength=3).tolist() == [BLOCK // 2, BLOCK // 2, 0]
    assert staged.find(BLOCK + 3500 + 2 * BLOCK + 7) == (2, 2, 7)


def test_a_source_goes_on_in_its_own_order_over_all_stages(staged: Mixture):
    numbers: dict[int, list[int]] = {0: [], 1: [], 2: []}
    blocks = {(stage, block): staged.stages[stage].block(block) for stage, block in ((0, 0), (0, 1), (1, 0), (2, 0))}
    for sequence in range(BLOCK + 3500 + 2000):
        stage, block, place = staged.find(sequence)
        labels, own = blocks[stage, block]
        numbers[int(labels[place])].append(int(own[place]))
    for seen in numbers.values():
        assert seen == list(range(len(seen)))


def test_counts_are_those_of_counting_one_by_one(staged: Mixture):
    labels = _labels(staged, 2 * BLOCK + 4000)
    edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 3000, BLOCK + 3001, BLOCK + 3500, BLOCK + 3900, len(labels)]
    for sequences in edges:
        assert staged.counts(sequences).tolist() == np.bincount(labels[:sequences], minlength=3).tolist()


def test_stages_of_equal_shares_do_not_repeat_each_others_order():
    shares = {"source0": 1.0, "source1": 1.0}
    mixture = _mixture([1.0, 1.0], 0, [(100, shares), (200, shares)])
    assert len({stage.block(0)[0].tobytes() for stage in mixture.stages}) == 3


def test_a_sequence_is_found_by_its_number_in_its_source():
    stages = [(0, 1000), (1000, BLOCK + 7), (1007 + BLOCK, 300)]
    later = [(1000, {"a": 1.0, "c": 1.0}), (1007 + BLOCK, {"b": 1.0})]
    mixture = Mixture({"a": 5.0, "b": 1.0, "c": 0.0001}, 3, later)
    seen = [0, 0, 0]
    for (first, count), stage in zip(stages, mixture.stages, strict=True):
        blocks = [stage.block(number)[0] for number in range(-(-count // BLOCK))]
        for sequence, source in enumerate(np.concatenate(blocks)[:count].tolist(), first):
            if sequence % 97 == 0 or sequence - first in (0, 1, count - 1):
                assert mixture.sequence_of(source, seen[source]) == sequence
            seen[source] += 1
    # The last stage has only b.
    assert mixture.sequence_of(0, seen[0]) is None
    assert mixture.sequence_of(1, seen[1]) == 1307 + BLOCK
