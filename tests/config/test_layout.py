"""Layouts that fit the devices, and those that cannot be."""

import pytest

from puna.config.layout import check_batch, resolved_shard
from puna.config.recipe import ParallelConfig, Recipe
from puna.core.errors import TrainError


@pytest.mark.parametrize(
    ("numbers", "processes", "shard"),
    [((1, 0, 1, 1), 8, 8), ((2, 0, 1, 2), 8, 2), ((1, 4, 2, 1), 8, 4), ((1, 0, 1, 1), 1, 1), ((2, 0, 2, 2), 8, 1)],
)
def test_shards_take_what_the_others_leave(numbers: tuple[int, ...], processes: int, shard: int):
    replicate, given, context, tensor = numbers
    config = ParallelConfig(replicate=replicate, shard=given, context=context, tensor=tensor)
    assert resolved_shard(config, processes) == shard


@pytest.mark.parametrize(
    ("config", "processes"),
    [(ParallelConfig(tensor=3), 4), (ParallelConfig(shard=2), 4), (ParallelConfig(replicate=2), 1)],
)
def test_layout_of_another_number_of_processes_is_refused(config: ParallelConfig, processes: int):
    with pytest.raises(TrainError, match=rf"but the number of processes is {processes}"):
        resolved_shard(config, processes)


def test_batch_that_devices_cannot_share_equally_is_refused(tiny: Recipe):
    check_batch(tiny, 2)
    with pytest.raises(TrainError, match=r"not a multiple of train.micro_batch_tokens = 128 on each of 4 devices"):
        check_batch(tiny, 4)
