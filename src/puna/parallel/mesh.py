"""The mesh of devices: how many share what, and the place of this process in it.

Neighbours share most: the processes of a tensor-parallel group follow each other, then those of a context group, then
those among which weights are sharded, then the replicas. So the groups that send most lie inside one machine.
"""

from dataclasses import dataclass, replace

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from puna.config.recipe import ParallelConfig
from puna.parallel.world import World
from puna.plan.batch import resolved_shard


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """The layout of one run, seen from this process."""

    replicate: int
    shard: int
    context: int
    tensor: int
    rank: int
    fsdp_mesh: DeviceMesh | None = None
    """Mesh over which weights are sharded, replicas first where there are several; None without process groups."""
    tensor_mesh: DeviceMesh | None = None
    """The devices that share each matrix product; None where each has its own."""
    context_mesh: DeviceMesh | None = None
    """The devices that share each sequence; None where each has its own."""

    @property
    def batches(self) -> int:
        """How many devices, or groups of devices, read batches of their own."""
        return self.replicate * self.shard

    @property
    def batch_index(self) -> int:
        """The number of the group that this process belongs to, from 0."""
        return self.rank // (self.context * self.tensor)

    @property
    def context_index(self) -> int:
        """Which part of each sequence is this process's."""
        return self.rank // self.tensor % self.context

    def describe(self) -> str:
        """For people: `4 processes: 2 shards x 2 tensor`."""
        parts = [
            f"{count} {name}"
            for name, count in (
                ("replicas", self.replicate), ("shards", self.shard), ("context", self.context), ("tensor", self.tensor)
            )
            if count > 1
        ]  # fmt: skip
        total = self.batches * self.context * self.tensor
        return f"{total} processes: {' x '.join(parts)}" if parts else "1 process"


def build_mesh(config: ParallelConfig, world: World) -> Mesh:
    """The mesh of the recipe's layout over all processes of the run.

    Raises:
        TrainError: The layout has another number of devices.
    """
    shard = resolved_shard(config, world.size)
    alone = Mesh(replicate=config.replicate, shard=shard, context=config.context, tensor=config.tensor, rank=world.rank)
    if not dist.is_initialized():
        return alone
    # Two views of the same processes: devices that share a sequence also share its weights' shards.
    kind = world.device.type
    weights = _grouped(kind, {"replicate": config.replicate, "shard": shard * config.context, "tensor": config.tensor})
    sequences = None
    if config.context > 1:
        sequences = _grouped(
            kind, {"batch": config.replicate * shard, "context": config.context, "tensor": config.tensor}
        )
    return replace(
        alone,
        fsdp_mesh=weights["replicate", "shard"] if config.replicate > 1 else weights["shard"],
        tensor_mesh=weights["tensor"] if config.tensor > 1 else None,
        context_mesh=None if sequences is None else sequences["context"],
    )


def _grouped(kind: str, sizes: dict[str, int]) -> DeviceMesh:
    """The processes along axes of these sizes; an axis of size one gets no group, which saves each process a group."""
    axes = {name: size for name, size in sizes.items() if size > 1 or name == "shard"}
    return init_device_mesh(kind, tuple(axes.values()), mesh_dim_names=tuple(axes))
