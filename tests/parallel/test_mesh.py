"""Who shares what with whom."""

import torch

from puna.config.recipe import ParallelConfig
from puna.parallel.mesh import Mesh, build_mesh
from puna.parallel.world import World


def test_every_process_has_its_own_place():
    """Neighbours share matrix products; batches are shared by those of a context and tensor group."""
    places = [Mesh(replicate=2, shard=2, context=2, tensor=2, rank=rank) for rank in range(16)]
    assert [place.batch_index for place in places] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [place.context_index for place in places[:4]] == [0, 0, 1, 1]
    assert {place.batches for place in places} == {4}
    assert places[0].describe() == "16 processes: 2 replicas x 2 shards x 2 context x 2 tensor"


def test_one_process_needs_no_mesh():
    mesh = build_mesh(ParallelConfig(), World(0, 1, torch.device("cpu"), None))
    assert mesh.describe() == "1 process"
    assert mesh.fsdp_mesh is mesh.tensor_mesh is mesh.context_mesh is None
