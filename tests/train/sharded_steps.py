"""One of two processes that take optimizer steps on sharded parameters, and on the same parameters whole.

    python sharded_steps.py RANK DIRECTORY

Rank 0 writes DIRECTORY/tensors.safetensors and DIRECTORY/lines.json; conftest.py reads them.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from puna.config.recipe import ModelConfig, OptimConfig
from puna.model.llama import Llama
from puna.parallel.world import end_process
from puna.train.optimizer import build_optimizer, describe_groups, ensure_state, named_state

# The feed-forward width is odd, so devices have shards of different sizes.
SMALL = ModelConfig(dim=16, n_layers=2, n_heads=2, n_kv_heads=1, ffn_dim=23, vocab_size=260, context=8)
MUON = OptimConfig(name="muon", lr=1e-2)
STEPS = 3


def whole(tensor: Tensor) -> Tensor:
    """The tensor of all devices, in memory of its own."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().clone().contiguous()


def trained(sharded: bool, config: OptimConfig) -> tuple[dict[str, Tensor], list[str]]:
    """Weights and optimizer state after a few real steps, all devices on the same batch."""
    torch.manual_seed(0)
    model = Llama(SMALL)
    if sharded:
        mesh = init_device_mesh("cpu", (2,))
        for block in model.layers:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimizer = build_optimizer(model, config)
    if sharded:
        ensure_state(model, optimizer)
    for step in range(STEPS):
        tokens_BT = torch.randint(260, (2, 9), generator=torch.Generator().manual_seed(step))
        nn.functional.cross_entropy(model(tokens_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    tensors = dict(model.named_parameters()) | named_state(model, optimizer)
    return {name: whole(tensor) for name, tensor in tensors.items()}, describe_groups(model, optimizer)


class Matrices(nn.Module):
    """A few weights named as those of blocks are, laid out as told."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.ParameterDict({name: nn.Parameter(weight) for name, weight in weights.items()})


def stepped(
    layout: tuple | None, shapes: dict[str, tuple[int, ...]], config: OptimConfig, precision: str
) -> dict[str, Tensor]:
    """The weights after steps with the same gradients in this layout, None being whole; `ones` is equal everywhere."""
    dtype = torch.bfloat16 if precision == "bf16-stochastic" else torch.float32
    generator = torch.Generator().manual_seed(1)

    def laid_out(name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = torch.ones(shape) if name == "ones" else torch.randn(shape, generator=generator)
        tensor = tensor.to(dtype)
        return tensor if layout is None else distribute_tensor(tensor, *layout, src_data_rank=None)

    model = Matrices({name: laid_out(name, shape) for name, shape in shapes.items()})
    optimizer = build_optimizer(model, config, precision)
    for _ in range(STEPS):
        for name, shape in shapes.items():
            model.layers[name].grad = laid_out(name, shape)
        optimizer.step()
    return {name: model.layers[name].detach() for name in shapes}


def main() -> None:
    """Walk through the layouts."""
    rank, directory = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/meeting", rank=rank, world_size=2)
    results: dict[str, Tensor] = {}
    lines: dict[str, list[str]] = {}
    for name, sharded in (("fsdp", True), ("alone", False)):
        tensors, lines[name] = trained(sharded, MUON)
        results |= {f"{name}/{key}": tensor for key, tensor in tensors.items()}

    one, two = init_device_mesh("cpu", (2,)), init_device_mesh("cpu", (2, 1))
    layouts = {
        "whole": None,
        "rows": (one, [Shard(0)]),
        "columns": (one, [Shard(1)]),
        "copies": (one, [Replicate()]),
        "hybrid": (two, [Replicate(), Shard(0)]),
    }
    shapes = {"wide": (6, 40), "tall": (40, 6), "square": (9, 9), "row": (1, 8), "ones": (6, 8)}
    for name, layout in layouts.items():
        for precision, config in (("fp32", MUON), ("bf16-stochastic", OptimConfig(lr=1e-2))):
            weights = stepped(layout, shapes, config, precision)
            results |= {f"{name}/{precision}/{key}": whole(weight) for key, weight in weights.items()}
            if precision == "bf16-stochastic" and layout is not None:
                local = weights["ones"].to_local().contiguous()
                both = [torch.empty_like(local) for _ in range(2)]
                dist.all_gather(both, local)
                results |= {f"{name}/device{index}": part for index, part in enumerate(both)}
    if rank == 0:
        save_file(results, directory / "tensors.safetensors")
        (directory / "lines.json").write_text(json.dumps(lines))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    end_process(0)
