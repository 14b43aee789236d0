"""Layouts that fit the devices, and those that cannot be."""

import pytest

from puna.config.load import load_recipe
from puna.config.recipe import ParallelConfig, Recipe
from puna.core.errors import TrainError
from puna.plan.batch import check_batch, largest_micro_batch, resolved_shard


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


def test_refusal_names_the_micro_batch_that_fits():
    """The paper's own machine: 4M tokens on 2,048 devices are one sequence of 2,048 for each."""
    recipe = load_recipe("llama-65b").recipe
    with pytest.raises(TrainError) as refused:
        check_batch(recipe, 2048)
    assert str(refused.value.hint).startswith("train.micro_batch_tokens=2048, or use fewer devices")
    check_batch(load_recipe("llama-65b", ["train.micro_batch_tokens=2048"]).recipe, 2048)


def test_refusal_names_no_micro_batch_where_none_fits():
    recipe = load_recipe("llama-65b").recipe
    for devices in (3, 4096):
        with pytest.raises(TrainError) as refused:
            check_batch(recipe, devices)
        assert str(refused.value.hint).startswith("use fewer devices")


@pytest.mark.parametrize(("batches", "micro"), [(1, 16384), (128, 16384), (256, 16384), (512, 8192), (3, None)])
def test_largest_micro_batch_is_the_largest_of_all_that_could_be(batches: int, micro: int | None):
    recipe = load_recipe("llama-65b").recipe
    could = [size for size in range(2048, 16384 + 1, 2048) if 4_194_304 % (size * batches) == 0]
    assert largest_micro_batch(recipe, batches) == micro == max(could, default=None)
