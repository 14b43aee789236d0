"""The parts that processes choose for themselves make a whole checkpoint, as the library's own plan over all would."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.default_planner import (
    DefaultSavePlanner,
    _validate_global_plan,
    create_default_global_save_plan,
)
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.tensor.debug import _clear_sharding_prop_cache as clear_cache
from torch.testing._internal.distributed.fake_pg import FakeStore

from puna.config.recipe import ModelConfig, OptimConfig, ParallelConfig, Recipe, TrainConfig
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.train.shard_plan import OwnFiles, OwnPlan

SMALL = ModelConfig(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=288, context=32)


@contextmanager
def _seen_from(rank: int, size: int) -> Iterator[World]:
    """A group of processes; only this one exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
    try:
        yield World(rank, size, torch.device("cpu"), None)
    finally:
        dist.destroy_process_group()
        # It remembers the mesh that a result lies on, as this process sees it.
        clear_cache()


def _state(world: World, layout: dict[str, int]) -> dict[str, torch.Tensor]:
    train = TrainConfig(tokens=4096, batch_tokens=256, micro_batch_tokens=32, precision="fp32", compile=False)
    optim = OptimConfig(warmup_steps=0)
    recipe = Recipe(name="plan", model=SMALL, train=train, parallel=ParallelConfig(**layout), optim=optim)
    model = build_model(recipe, build_mesh(recipe.parallel, world), torch.device("cpu"))
    state: dict[str, torch.Tensor] = dict(model.named_parameters())
    return state | {f"{name}.step": torch.zeros(()) for name in state}


def _plans(size: int, layout: dict[str, int]) -> tuple[list[SavePlan], list[SavePlan]]:
    """Every process's own plan, and the library's over all of them."""
    own, local = [], []
    for rank in range(size):
        with _seen_from(rank, size) as world:
            state = _state(world, layout)
            for planner, found in ((OwnPlan(rank, size), own), (DefaultSavePlanner(), local)):
                planner.set_up_planner(state, is_coordinator=True)
                found.append(planner.create_local_plan())
    planned, _ = DefaultSavePlanner().create_global_plan(local)
    return own, planned


@pytest.mark.parametrize(
    ("size", "layout"),
    [
        (1, {}), (2, {}), (3, {}), (8, {}), (4, {"replicate": 4}), (8, {"replicate": 2}), (4, {"tensor": 2}),
        (8, {"replicate": 2, "tensor": 2}), (8, {"context": 2, "tensor": 2}), (40, {"tensor": 1}),
    ],
)  # fmt: skip
def test_own_plans_hold_what_the_librarys_plan_holds_and_no_number_twice(size: int, layout: dict[str, int]):
    """40 processes are more than some tensors have rows."""
    own, planned = _plans(size, layout)

    def entries(plans: list[SavePlan]) -> set[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        chunks = [(item.index.fqn, item.tensor_data) for plan in plans for item in plan.items]
        found = [
            (name, tuple(data.chunk.offsets), tuple(data.chunk.sizes)) for name, data in chunks if data is not None
        ]
        kept = [one for one in found if 0 not in one[2]]
        assert len(kept) == len(set(kept))
        return set(kept)

    assert entries(own) == entries(planned)
    plans, metadata = create_default_global_save_plan(own)
    assert _validate_global_plan(plans, metadata) == []


def test_replicas_share_the_writing():
    own, _ = _plans(4, {"replicate": 4})
    elements = Counter(
        {
            rank: sum(item.tensor_data.chunk.sizes.numel() for item in plan.items if item.tensor_data is not None)
            for rank, plan in enumerate(own)
        }
    )
    assert max(elements.values()) < 0.5 * elements.total()


def test_tensor_that_not_all_processes_can_plan_is_refused():
    with _seen_from(0, 4) as world:
        state = _state(world, {})
        planner = OwnPlan(0, 8)
        planner.set_up_planner(state, is_coordinator=True)
        with pytest.raises(ValueError, match="lies on 4 of 8 processes"):
            planner.create_local_plan()


def test_files_bear_the_number_of_their_process(tmp_path):
    writer = OwnFiles(str(tmp_path), {"a": 1}, rank=6)
    (plan,) = writer.prepare_global_plan([SavePlan([])])
    assert plan.storage_data == {"fqn_to_index_mapping": {"a": 1}, "shard_index": 7}
