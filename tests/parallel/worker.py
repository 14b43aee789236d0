"""One process of a group: trains one step of a small model in each layout that it is given, and writes what came out.

    python worker.py CASES.json OUT

Run by conftest.py with torchrun's environment; rank 0 writes OUT/<case>.safetensors: the loss, each token's loss sum,
the gradient of every parameter, the norm that clipping saw, and every weight after an optimizer step, whole. A case
with `filled_from` takes no step: its model is filled from that directory, and its weights are written.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from puna.config.recipe import ModelConfig, OptimConfig, ParallelConfig, Recipe, TrainConfig
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World, end_process, joined
from puna.train.gradient import clip_divisor, gradient_norm
from puna.train.initial import load_initial
from puna.train.optimizer import build_optimizer, set_learning_rate

BOS = 1


def recipe_of(case: dict) -> Recipe:
    """The small recipe of a case."""
    model = {"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 48, "vocab_size": 288, "context": 32}
    train = {"tokens": 4096, "precision": "fp32", "compile": False, "loss_chunk_tokens": 24}
    model |= case.get("model", {})
    train |= {"batch_tokens": 8 * model["context"], "micro_batch_tokens": 2 * model["context"]} | case.get("train", {})
    return Recipe(
        name="case",
        seed=5,
        model=ModelConfig(**model),
        train=TrainConfig(**train),
        parallel=ParallelConfig(**case.get("parallel", {})),
        optim=OptimConfig(warmup_steps=0, **case.get("optim", {})),
    )


def tokens_of(recipe: Recipe) -> torch.Tensor:
    """The batch, with documents that begin here and there."""
    rows, context = recipe.train.batch_tokens // recipe.model.context, recipe.model.context
    generator = torch.Generator().manual_seed(7)
    tokens_BT = torch.randint(3, recipe.model.vocab_size, (rows, context + 1), generator=generator)
    return torch.where(torch.rand(tokens_BT.shape, generator=generator) < 0.1, BOS, tokens_BT)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of all devices."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().float().cpu().contiguous().clone()


def step(recipe: Recipe, world: World) -> dict[str, torch.Tensor]:
    """One optimizer step in the recipe's layout."""
    mesh = build_mesh(recipe.parallel, world)
    model = build_model(recipe, mesh, world.device)
    objective = Objective.of(recipe, model, mesh, BOS)
    tokens_BT = tokens_of(recipe)
    micro = recipe.train.micro_batch_tokens // recipe.model.context
    sums = torch.zeros(2, dtype=torch.float64)
    with objective.passes():
        for start in range(0, len(tokens_BT), micro * mesh.batches):
            rows = tokens_BT[start + mesh.batch_index * micro :][:micro]
            total, losses = objective.train(Passed(inputs_BT=rows[:, :-1], targets_BT=rows[:, 1:]))
            (total / recipe.train.batch_tokens).backward()
            sums += torch.stack((losses.double().sum(), torch.tensor(float(losses.numel()))))
    sums = world.sum(sums) / mesh.tensor
    names = [name for name, _ in model.named_parameters()]
    result = {"losses": sums[:1], "tokens": sums[1:]}
    result |= {f"grad.{name}": whole(parameter.grad) for name, parameter in zip(names, model.parameters(), strict=True)}
    norm = gradient_norm(model)
    result["norm"] = norm[None]
    optimizer = build_optimizer(model, recipe.optim, recipe.train.precision)
    set_learning_rate(optimizer, 1e-2)
    optimizer.step(clip_divisor(norm, 0.05))
    result |= {f"weight.{name}": whole(parameter) for name, parameter in model.named_parameters()}
    return result


def filled(recipe: Recipe, world: World, directory: Path) -> dict[str, torch.Tensor]:
    """Every weight of the recipe's model in its layout, after it was filled from a model directory."""
    model = build_model(recipe, build_mesh(recipe.parallel, world), world.device)
    load_initial(str(directory), model, world)
    return {f"weight.{name}": whole(parameter) for name, parameter in model.named_parameters()}


def main() -> None:
    """Walk through the cases."""
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    torch.set_num_threads(1)
    recipes = {name: recipe_of(case) for name, case in cases.items()}
    with joined() as world:
        for name, recipe in recipes.items():
            directory = cases[name].get("filled_from")
            result = step(recipe, world) if directory is None else filled(recipe, world, Path(directory))
            torch.compiler.reset()
            if world.main:
                save_file(result, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
    end_process(0)
