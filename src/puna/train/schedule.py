"""The learning rate of every step: linear warm-up, then a cosine to a share of the peak (LLaMA, section 2.3)."""

import math

from puna.config.recipe import OptimConfig


def learning_rate(step: int, optim: OptimConfig, total_steps: int) -> float:
    """The learning rate of `step`, counted from 0.

    Warm-up rises to the peak at step `warmup_steps - 1` and never is zero, so no step is wasted; the cosine then
    falls and reaches `final_lr_ratio` of the peak at the last step, `total_steps - 1`.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    decay_steps = total_steps - 1 - optim.warmup_steps
    progress = (step - optim.warmup_steps) / decay_steps if decay_steps > 0 else 1.0
    floor = optim.lr * optim.final_lr_ratio
    return floor + (optim.lr - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
