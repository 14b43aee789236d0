"""Speed and memory of a recipe's steps on this machine, with random tokens instead of data.

`python -m puna.train.measure CONFIG.toml STEPS` prints one JSON object; `puna tune` runs it once per setting, in a
process of its own, so that the memory or the crash of one setting does not affect the next.
"""

import contextlib
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.other_load import OtherLoad
from puna.ops.attention import gpu_kernels
from puna.ops.transfer import sent
from puna.parallel.apply import set_last_pass
from puna.parallel.objective import Passed
from puna.parallel.world import joined
from puna.train.device import Device
from puna.train.gradient import clip_divisor, gradient_norm
from puna.train.synthetic import on_random_tokens, synthetic_session

WARM_UP = 2
"""Steps that are not counted: compilation, and the optimizer's first state."""
_SECONDS, _MOST_STEPS = 1.0, 30
"""Counted steps go on for this long, but are not more than this many."""


def measure(recipe: Recipe, steps: int) -> dict[str, Any] | None:
    """Tokens/s of all processes in the recipe's batches, and the peak memory of the process that takes most.

    Passes, and the update after the last pass of a batch, are timed apart: a batch has many passes and one update. Two
    steps to warm up, then `steps` steps of two passes, or more where these are short. None on all processes but the
    main one.
    """
    with joined() as world, gpu_kernels(shapes_repeat=True):
        session = synthetic_session(recipe, world)
        device, mesh, objective = session.device, session.mesh, session.objective
        batch = next(on_random_tokens(session))
        inputs_BT, targets_BT = sent(batch.inputs_BT, world.device), sent(batch.targets_BT, world.device)
        of_passes: list[float] = []
        of_updates: list[float] = []
        others, step, last = OtherLoad(), 0, WARM_UP + steps
        while step < last:
            if step == WARM_UP:
                seconds = 2 * of_passes[-1] + of_updates[-1]
                # Short steps are many, so that what disturbs one of them does not count; all processes take as many.
                last = WARM_UP + world.largest(max(steps, min(_MOST_STEPS, math.ceil(_SECONDS / seconds))))
                others = OtherLoad()
            step += 1
            with _timed(device, of_updates):
                with objective.passes():
                    for number in range(2):
                        set_last_pass(session.model, mesh, last=number == 1)
                        with _timed(device, of_passes):
                            total, _ = objective.train(Passed(inputs_BT=inputs_BT, targets_BT=targets_BT))
                            (total / recipe.train.batch_tokens).backward()
                norm = gradient_norm(session.model)
                session.optimizer.step(clip_divisor(norm, recipe.optim.clip_norm))
                session.optimizer.zero_grad(set_to_none=True)
            of_updates[-1] -= sum(of_passes[-2:])
        other_cores = others.cores()
        counted = of_passes[2 * WARM_UP :]
        one_pass = statistics.median(counted)
        update = statistics.median(of_updates[WARM_UP:])
        tokens = recipe.train.micro_batch_tokens * mesh.batches
        passes = max(1, recipe.train.batch_tokens // tokens)
        rate = passes * tokens / (passes * one_pass + update)
        flops = session.flops_per_token["causal"]
        memory = world.largest(device.peak_memory_bytes())
        device = device.at_rate(flops * rate / world.size)
        if not world.main:
            return None
        return {
            "tokens_per_second": rate,
            "peak_memory_bytes": memory,
            "mfu": flops * rate / (device.peak_flops * world.size),
            "flops_per_second": flops * rate / world.size,
            "peak_flops": device.peak_flops,
            "pass_seconds": one_pass,
            "pass_spread": one_pass / min(counted) - 1,
            "other_cores": other_cores,
            "update_seconds": update,
            "first_pass_seconds": of_passes[0],
            "device": device.name,
        }


@contextlib.contextmanager
def _timed(device: Device, seconds: list[float]) -> Iterator[None]:
    """Add the time that the device takes for the work of the block."""
    device.synchronize()
    started = time.perf_counter()
    yield
    device.synchronize()
    seconds.append(time.perf_counter() - started)


if __name__ == "__main__":
    torch.manual_seed(0)
    result = measure(load_recipe(str(Path(sys.argv[1]))).recipe, int(sys.argv[2]))
    if result is not None:
        print(json.dumps(result))
