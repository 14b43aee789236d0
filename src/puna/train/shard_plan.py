"""Which process writes which part of a checkpoint: a rule that each process applies without asking the others.

The library's own plan goes through the main process, which gathers all lists, removes duplicates, and sends each
process its own list: at 65B on 2,048 processes 5.9 million entries, a gigabyte each way and eight minutes of one thread
(bench/cluster.py). But a process knows from its place in the mesh what it holds, and who else holds it.
"""

import dataclasses

from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.planner import SavePlan, WriteItem
from torch.distributed.tensor import DTensor


class OwnPlan(DefaultSavePlanner):
    """The part that process `rank` of `size` writes; all processes plan tensors of the same names in the same order.

    A part that several processes hold is written by the one with the least to write so far.
    """

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self._rank, self._size = rank, size

    def create_local_plan(self) -> SavePlan:
        """Plan the tensors that this process writes."""
        plan = super().create_local_plan()
        mine, loads = set(), {}
        for name, tensor in self.state_dict.items():
            holders, index = self._holders(tensor)
            load = loads.setdefault(holders, [0] * holders)
            writer = load.index(min(load))
            load[writer] += tensor.numel()
            if writer == index:
                mine.add(name)
        items = [item for item in plan.items if item.index.fqn in mine and not _is_empty(item)]
        return dataclasses.replace(plan, items=items)

    def _holders(self, tensor: Tensor) -> tuple[int, int]:
        """How many processes hold the same part of the tensor, and which of them this one is."""
        if not isinstance(tensor, DTensor):
            return self._size, self._rank
        mesh = tensor.device_mesh
        if mesh.size() != self._size:
            raise ValueError(f"a tensor lies on {mesh.size()} of {self._size} processes")
        coordinate = mesh.get_coordinate() or []
        holders, index = 1, 0
        for place, length, placement in zip(coordinate, mesh.shape, tensor.placements, strict=True):
            if placement.is_replicate():
                holders, index = holders * length, index * length + place
        return holders, index


def _is_empty(item: WriteItem) -> bool:
    """Whether the part has no elements: of a tensor with fewer rows than processes, some processes hold nothing."""
    data = item.tensor_data
    return data is not None and data.size.numel() > 0 and data.chunk.sizes.numel() == 0


class OwnFiles(HuggingFaceStorageWriter):
    """Writes the safetensors of process `rank`: `shard-<rank + 1>-model-...`."""

    def __init__(self, path: str, files: dict[str, int], rank: int) -> None:
        super().__init__(path, files, save_distributed=True)
        self._rank = rank

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plan of this process, with its number in the names of its files."""
        (plan,) = super().prepare_global_plan(plans)
        return [dataclasses.replace(plan, storage_data=plan.storage_data | {"shard_index": self._rank + 1})]
