"""The speed and the memory of a recipe's steps on this machine, on tokens at random: no data is needed.

`python -m puna.train.measure CONFIG.toml STEPS` prints one JSON object; `puna tune` runs it once per setting, in a
process of its own, because what one setting has taken, or died of, must not touch the next.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.model.count import flops_per_token
from puna.parallel.apply import build_model, needs_group
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective
from puna.parallel.world import joined
from puna.train.device import find_device
from puna.train.gradient import clip_gradient
from puna.train.optimizer import build_optimizer

WARM_UP = 2
"""Steps that are not counted: compilation, and the optimizer's first state."""


def measure(recipe: Recipe, steps: int) -> dict[str, Any] | None:
    """Tokens/s of all processes and the peak memory of the one that takes most, in optimizer steps of one pass each.

    None on all processes but the main one.
    """
    with joined(group_needed=needs_group(recipe)) as world:
        mesh = build_mesh(recipe.parallel, world)
        device = find_device(recipe.train.precision, recipe.energy, world.device)
        model = build_model(recipe, mesh, world.device)
        optimizer = build_optimizer(model, recipe.optim, recipe.train.precision, recipe.seed)
        objective = Objective(model, mesh, recipe.train.loss_chunk_tokens, recipe.train.z_loss)
        rows = recipe.train.micro_batch_tokens // recipe.model.context
        shape = (rows, recipe.model.context + 1)
        tokens_BT = torch.randint(recipe.model.vocab_size, shape, device=world.device)
        seconds = []
        for _ in range(WARM_UP + steps):
            device.synchronize()
            started = time.perf_counter()
            total, _ = objective.train(tokens_BT[:, :-1], tokens_BT[:, 1:])
            (total / recipe.train.micro_batch_tokens).backward()
            clip_gradient(model, recipe.optim.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            device.synchronize()
            seconds.append(time.perf_counter() - started)
        rate = recipe.train.micro_batch_tokens * mesh.batches / statistics.median(seconds[WARM_UP:])
        flops = flops_per_token(recipe.model, recipe.model.context)["causal"]
        memory = world.largest(device.peak_memory_bytes())
        if not world.main:
            return None
        return {
            "tokens_per_second": rate,
            "peak_memory_bytes": memory,
            "mfu": flops * rate / (device.peak_flops * world.size),
            "first_step_seconds": seconds[0],
            "device": device.name,
        }


if __name__ == "__main__":
    torch.manual_seed(0)
    result = measure(load_recipe(str(Path(sys.argv[1]))).recipe, int(sys.argv[2]))
    if result is not None:
        print(json.dumps(result))
