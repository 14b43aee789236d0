"""One of four processes that share a vocabulary, by two and by four.

    python vocabulary_parts.py RANK DIRECTORY

Reads DIRECTORY/inputs.safetensors; writes DIRECTORY/RANK.safetensors: for each group size and case the sum, each
token's loss, and this process's gradients. test_cross_entropy.py compares them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.ops.cross_entropy import linear_cross_entropy, token_losses
from puna.parallel.world import end_process

PROCESSES = 4
CASES = {"plain": 0.0, "z": 0.03, "bf16": 0.03}
"""The weight of the z-loss in each; the last one has activations in bfloat16."""
CHUNK = 7


def run(case: str, inputs: dict[str, Tensor], group: dist.ProcessGroup) -> dict[str, Tensor]:
    """This process's part."""
    size, index = dist.get_world_size(group), dist.get_rank(group)
    x_ND = inputs["x"].requires_grad_()
    weight_VD = inputs["weight"].chunk(size)[index].clone().requires_grad_()
    in_dtype_ND = x_ND.bfloat16() if case == "bf16" else x_ND
    total, losses_N = linear_cross_entropy(
        in_dtype_ND, weight_VD, inputs["targets"], CHUNK, z_loss=CASES[case], group=group
    )
    measured_N = token_losses(in_dtype_ND, weight_VD, inputs["targets"], CHUNK, group=group)
    (total / 2).backward()
    return {
        "total": total.detach(), "losses": losses_N, "measured": measured_N,
        "grad_x": x_ND.grad, "grad_weight": weight_VD.grad,
    }  # fmt: skip


def main(rank: int, directory: Path) -> None:
    """Run every case in groups of two and of four."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), PROCESSES)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    outcome = {}
    for size, group in ((2, pairs[rank // 2]), (4, dist.group.WORLD)):
        for case in CASES:
            inputs = load_file(directory / "inputs.safetensors")
            for name, tensor in run(case, inputs, group).items():
                outcome[f"{size}.{case}.{name}"] = tensor.contiguous()
    save_file(outcome, directory / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
    end_process(0)
