"""Examples that the model is measured on: which they are, and that all devices take equally many passes over them."""

from types import SimpleNamespace
from typing import Any

import pytest
from pair_runs import PairRun, pair_recipe

from puna.finetune.measured import own_batches, packs_of, spread


def test_a_part_of_the_held_out_pairs_is_spread_over_each_source(pairs: PairRun):
    tokens = int(pairs.heldout.lengths.sum())
    assert spread(pairs.heldout, None).tolist() == spread(pairs.heldout, tokens).tolist() == list(range(9))
    assert spread(pairs.heldout, 1).tolist() == [0, 5], "one pair of each source at least"
    assert len(spread(pairs.heldout, tokens // 4)) < 9


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_each_example_is_in_one_pass_of_one_device_and_all_take_equally_many(pairs: PairRun, devices: int):
    context = pair_recipe().model.context
    packs = packs_of(pairs.heldout, spread(pairs.heldout, None), context)
    assert sorted(int(number) for pack in packs for number in pack) == list(range(9))
    counts, seen = [], []
    for index in range(devices):
        session: Any = SimpleNamespace(
            mesh=SimpleNamespace(batches=devices, batch_index=index),
            recipe=SimpleNamespace(
                model=SimpleNamespace(context=context), train=SimpleNamespace(micro_batch_tokens=context)
            ),
        )
        batches = list(own_batches(session, pairs.heldout, packs, padding=0))
        counts.append(len(batches))
        for batch in batches:
            assert batch.pairs_BK is not None
            seen += [int(number) for number in batch.pairs_BK.ravel() if number >= 0]
    assert len(set(counts)) == 1
    assert sorted(seen) == list(range(9))
