"""Who shares what with whom, and layouts that cannot be."""

import pytest
import torch

from puna.config.recipe import ParallelConfig, Recipe
from puna.core.errors import TrainError
from puna.parallel.mesh import Mesh, build_mesh, check_batch, resolved_shard
from puna.parallel.world import World


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
    with pytest.raises(TrainError, match=rf"but there are {processes} processes"):
        resolved_shard(config, processes)


def test_every_process_has_its_own_place():
    """Neighbours share matrix products; batches are shared by those of a context and tensor group."""
    places = [Mesh(2, 2, 2, 2, rank, None, None, None) for rank in range(16)]
    assert [place.batch_index for place in places] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [place.context_index for place in places[:4]] == [0, 0, 1, 1]
    assert {place.batches for place in places} == {4}
    assert places[0].describe() == "16 processes: 2 replicas x 2 shards x 2 context x 2 tensor"


def test_one_process_needs_no_mesh():
    mesh = build_mesh(ParallelConfig(), World(0, 1, torch.device("cpu"), None))
    assert mesh.describe() == "1 process"
    assert mesh.fsdp_mesh is mesh.tensor_mesh is mesh.context_mesh is None


def test_batch_that_devices_cannot_share_equally_is_refused(tiny: Recipe):
    check_batch(tiny, 2)
    with pytest.raises(TrainError, match=r"not a multiple of train.micro_batch_tokens = 128 on each of 4 devices"):
        check_batch(tiny, 4)
