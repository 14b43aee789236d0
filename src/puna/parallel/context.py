"""Context parallelism: devices share each sequence (Llama 3, section 3.3.2).

A sequence is cut into 2 n parts for n devices; device i has the parts i and 2 n - 1 - i, so that all compute equally
many scores below the diagonal. Everything but attention works on single tokens and needs no change. For attention each
device gathers the keys and values of all, which are few with grouped queries, and takes those up to the end of each
of its two parts; in the backward pass their gradients are summed where they came from.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Shard

from puna.model.llama import CausalCore, Llama
from puna.ops.attention import Mask, causal_attention, document_mask


def own_positions(tokens: int, index: int, devices: int, device: torch.device | None = None) -> Tensor:
    """The positions of a sequence of `tokens` that device `index` of `devices` has, in the order of its tensors.

    They are made on `device`, where they are used, so that no copy has to be waited for.
    """
    parts = torch.arange(tokens, device=device).chunk(2 * devices)
    return torch.cat((parts[index], parts[2 * devices - 1 - index]))


def part_masks(documents_BT: Tensor, index: int, devices: int) -> tuple[Mask, Mask]:
    """The masks of a device's two parts from the documents of the whole sequence."""
    length = documents_BT.shape[1] // (2 * devices)
    first, second = (
        document_mask(documents_BT[:, part * length : (part + 1) * length], documents_BT[:, : (part + 1) * length])
        for part in (index, 2 * devices - 1 - index)
    )
    return first, second


class ContextCore(CausalCore):
    """Attention of this device's two parts of each sequence to all keys before them."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self._mesh, self._index, self._devices = mesh, mesh.get_local_rank(), mesh.size()

    def forward(self, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Any = None) -> Tensor:
        """What `CausalCore` computes over the whole sequence, for this device's positions.

        Keys and values come in for these positions; `mask` is a pair, one for each part, of `part_masks`.
        """
        k_BKSH, v_BKSH = self._gather(torch.stack((k_BKSH, v_BKSH))).unbind()
        length = q_BNTH.shape[2] // 2
        outputs = []
        for half, part in enumerate((self._index, 2 * self._devices - 1 - self._index)):
            end = (part + 1) * length
            queries = q_BNTH[:, :, half * length : (half + 1) * length]
            outputs.append(
                causal_attention(queries, k_BKSH[:, :, :end], v_BKSH[:, :, :end], None if mask is None else mask[half])
            )
        return torch.cat(outputs, dim=2)

    def _gather(self, pairs_2BKTH: Tensor) -> Tensor:
        """Keys and values of all positions in their order, (2, B, K, S, H)."""
        shards = DTensor.from_local(pairs_2BKTH[None], self._mesh, [Shard(0)], run_check=False)
        by_device = shards.full_tensor(grad_placements=[Partial()])
        first, second = by_device.chunk(2, dim=4)
        return torch.cat([*first.unbind(), *reversed(second.unbind())], dim=3)


def apply_context_parallel(model: Llama, mesh: DeviceMesh) -> None:
    """Let every block's attention reach over all devices of the mesh, in place."""
    for block in model.blocks():
        block.attention.core = ContextCore(mesh)
