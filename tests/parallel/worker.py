"""One process of a group: trains one step of a small model in each layout that it is given, and writes what came out.

    python worker.py CASES.json OUT

Run by conftest.py with torchrun's environment; rank 0 writes OUT/<case>.safetensors: the loss, each token's loss sum,
the gradient of every parameter, the norm that clipping saw, and every weight after an optimizer step, whole; and of
Adafactor its state, whose vectors are sharded in ways of their own. A case
with `filled_from` takes no step: its model is filled from that directory, and its weights are written.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from puna.config.finetune import FinetuneConfig
from puna.config.recipe import ModelConfig, OptimConfig, ParallelConfig, Recipe, TrainConfig
from puna.finetune.noise import Noisy, apply_noise
from puna.finetune.preferences import PairTable, PreferenceObjective
from puna.model.init import Normal, draw
from puna.model.llama import Llama
from puna.model.parts import own_parts
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World, end_process, joined
from puna.train.gradient import clip_divisor, gradient_norm
from puna.train.initial import load_initial
from puna.train.optimizer import build_optimizer, named_state, set_learning_rate
from puna.train.session import Learns

BOS = 1
ANSWERS = (5, 12, 16, 27)
"""Where the second answer of a sequence of pairs begins, the third, the fourth, and the padding."""


def recipe_of(case: dict) -> Recipe:
    """The small recipe of a case."""
    model = {"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 48, "vocab_size": 288, "context": 32}
    train = {"tokens": 4096, "precision": "fp32", "compile": False, "loss_chunk_tokens": 24}
    model |= case.get("model", {})
    train |= {"batch_tokens": 8 * model["context"], "micro_batch_tokens": 2 * model["context"]} | case.get("train", {})
    finetune = case.get("finetune", {}) | ({"preference": {"loss": case["pairs"]}} if "pairs" in case else {})
    return Recipe(
        name="case",
        seed=5,
        model=ModelConfig(**model),
        train=TrainConfig(**train),
        parallel=ParallelConfig(**case.get("parallel", {})),
        optim=OptimConfig(warmup_steps=0, **case.get("optim", {})),
        finetune=FinetuneConfig.model_validate(finetune) if finetune else None,
    )


def tokens_of(recipe: Recipe) -> torch.Tensor:
    """The batch, with documents that begin here and there."""
    rows, context = recipe.train.batch_tokens // recipe.model.context, recipe.model.context
    generator = torch.Generator().manual_seed(7)
    tokens_BT = torch.randint(3, recipe.model.vocab_size, (rows, context + 1), generator=generator)
    return torch.where(torch.rand(tokens_BT.shape, generator=generator) < 0.1, BOS, tokens_BT)


def learner_of(recipe: Recipe, objective: Objective) -> tuple[Learns, int]:
    """What computes the losses of the steps, and how many of them a batch has."""
    if recipe.finetune is None or recipe.finetune.preference is None:
        return objective, recipe.train.batch_tokens
    pairs = 2 * recipe.train.batch_tokens // recipe.model.context
    reference_E2 = torch.randn(pairs, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8)) * 3 - 40
    table = PairTable(reference_E2=reference_E2, sources_E=torch.zeros(pairs, dtype=torch.int64), sources=1)
    return PreferenceObjective(tokens=objective, config=recipe.finetune.preference, table=table), pairs


def passed_of(recipe: Recipe, tokens_BT: torch.Tensor, first: int, rows: int) -> Passed:
    """Some sequences of the batch; with pairs there are two in each, of which every third token is a prompt's."""
    part_BT = tokens_BT[first : first + rows]
    inputs_BT, targets_BT = part_BT[:, :-1], part_BT[:, 1:]
    if recipe.finetune is None or recipe.finetune.preference is None:
        return Passed(inputs_BT=inputs_BT, targets_BT=targets_BT, first=first)
    at_T = torch.arange(inputs_BT.shape[1])
    documents_BT = (at_T >= torch.tensor(ANSWERS)[:, None]).sum(0).expand_as(inputs_BT).contiguous()
    learned_BT = (documents_BT < len(ANSWERS)) & (at_T % 3 > 0)
    pairs_BK = torch.arange(2 * first, 2 * (first + rows)).view(rows, 2)
    return Passed(
        inputs_BT=inputs_BT, targets_BT=targets_BT.where(learned_BT, -1), documents_BT=documents_BT, pairs_BK=pairs_BK,
        first=first,
    )  # fmt: skip


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of all devices."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().float().cpu().contiguous().clone()


def give_updates_values(model: Llama) -> None:
    """Make B of every update more than nothing, so that the gradient of A is, too."""
    for part in own_parts(model):
        if part.name.endswith("update.b"):
            draw(part.tensor.detach(), 3, part.name, part.shape, part.offset, Normal(0.1))


def step(recipe: Recipe, world: World) -> dict[str, torch.Tensor]:
    """One optimizer step in the recipe's layout."""
    mesh = build_mesh(recipe.parallel, world)
    model = build_model(recipe, mesh, world.device)
    give_updates_values(model)
    objective = Objective.of(recipe, model, mesh, BOS)
    noise = None if recipe.finetune is None else apply_noise(model, mesh, recipe.finetune, recipe.seed)
    tokens_BT, (learner, losses_of_batch) = tokens_of(recipe), learner_of(recipe, objective)
    learner = learner if noise is None else Noisy(learner, noise)
    micro = recipe.train.micro_batch_tokens // recipe.model.context
    sums = torch.zeros(2, dtype=torch.float64)
    with learner.passes():
        for start in range(0, len(tokens_BT), micro * mesh.batches):
            total, losses = learner.train(passed_of(recipe, tokens_BT, start + mesh.batch_index * micro, micro))
            (total / losses_of_batch).backward()
            sums += torch.stack((losses.double().sum(), torch.tensor(float(losses.numel()))))
    sums = world.sum(sums) / mesh.tensor
    names = [name for name, _ in model.named_parameters()]
    result = {"losses": sums[:1], "tokens": sums[1:]}
    for name, parameter in zip(names, model.parameters(), strict=True):
        assert parameter.requires_grad == (parameter.grad is not None), name
        if parameter.grad is not None:
            result[f"grad.{name}"] = whole(parameter.grad)
    norm = gradient_norm(model)
    result["norm"] = norm[None]
    optimizer = build_optimizer(model, recipe.optim, recipe.train.precision)
    set_learning_rate(optimizer, 1e-2)
    optimizer.step(clip_divisor(norm, 0.05))
    if recipe.optim.name == "adafactor":
        result |= {f"state.{name}": whole(value) for name, value in named_state(model, optimizer).items()}
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
