"""The learning rate of every step: linear warm-up, then the schedule of the recipe.

`cosine` is LLaMA's (section 2.3), `wsd` is constant with a linear cooldown (Hu et al. 2024, MiniCPM, section 4), both
down to a share of the peak; `linear` falls from the end of the warm-up on, `constant` stays.
"""

import math

from puna.config.recipe import OptimConfig


def learning_rate(step: int, optim: OptimConfig, total_steps: int) -> float:
    """The learning rate of `step`, counted from 0; never zero, so that no step is wasted.

    Warm-up rises to the peak at step `warmup_steps - 1`. Every schedule but `constant` reaches `final_lr_ratio` of the
    peak at the last step, `total_steps - 1`.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return optim.lr
    progress = _progress(step, optim, total_steps)
    share = 0.5 * (1 + math.cos(math.pi * progress)) if optim.schedule == "cosine" else 1 - progress
    if share == 1:
        return optim.lr  # The sum below may be off by rounding.
    floor = optim.lr * optim.final_lr_ratio
    return floor + (optim.lr - floor) * share


def _progress(step: int, optim: OptimConfig, total_steps: int) -> float:
    """How far the rate has fallen at a step after the warm-up: 0 at the peak, 1 at the last step."""
    first, last = optim.warmup_steps, total_steps - 1
    if optim.schedule == "wsd":
        # The last step with the peak rate; a cooldown longer than what follows the warm-up takes all of that.
        first = max(first, last - round(optim.cooldown_ratio * total_steps))
    if first >= last:
        return 1.0 if step >= last else 0.0
    return min(max((step - first) / (last - first), 0.0), 1.0)
