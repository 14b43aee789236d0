"""The learning rate of every step: linear warm-up, then the schedule of the recipe; and again in each phase.

`cosine` is LLaMA's (section 2.3), `wsd` is constant with a linear cooldown (Hu et al. 2024, MiniCPM, section 4), both
down to a share of the peak; `linear` falls from the end of the warm-up on, `constant` stays.

A run that was extended has phases (`optim.phases`): each begins at some step of the run with a warm-up from the rate
that the step before had, and has its own schedule over its own length. What came before a phase keeps its rates, so a
recipe with phases says the rate of every step of the run, also of those from before it was extended.
"""

import math
from collections.abc import Callable, Iterator

from puna.config.recipe import OptimConfig, Phase, Recipe


def learning_rate(step: int, optim: OptimConfig | Phase, total_steps: int, before: float = 0.0) -> float:
    """The learning rate of `step`, counted from 0; never zero, so that no step is wasted.

    Warm-up rises to the peak at step `warmup_steps - 1`. Every schedule but `constant` reaches `final_lr_ratio` of the
    peak at the last step, `total_steps - 1`.

    Args:
        step: Steps of the schedule that are done.
        optim: The schedule.
        total_steps: Its length.
        before: The rate that the warm-up begins with.
    """
    if step < optim.warmup_steps:
        return before + (optim.lr - before) * (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return optim.lr
    progress = _progress(step, optim, total_steps)
    share = 0.5 * (1 + math.cos(math.pi * progress)) if optim.schedule == "cosine" else 1 - progress
    if share == 1:
        return optim.lr  # The sum below may be off by rounding.
    floor = optim.lr * optim.final_lr_ratio
    return floor + (optim.lr - floor) * share


def schedule_of(recipe: Recipe) -> Callable[[int], float]:
    """The learning rate of the run's next step, from the number of steps done."""
    spans = list(_spans(recipe))

    def rate(step: int) -> float:
        first, optim, steps, before = next(span for span in reversed(spans) if span[0] <= step)
        return learning_rate(step - first, optim, steps, before)

    return rate


def _spans(recipe: Recipe) -> Iterator[tuple[int, OptimConfig | Phase, int, float]]:
    """First step, schedule, planned number of steps and the rate before, of the run's beginning and of each phase."""
    batch, optim = recipe.train.batch_tokens, recipe.optim
    parts: list[tuple[int, OptimConfig | Phase, int | None]] = [(0, optim, optim.until_tokens)]
    parts += [(phase.from_tokens // batch, phase, phase.until_tokens) for phase in optim.phases]
    before = 0.0
    for number, (first, part, until) in enumerate(parts):
        following = parts[number + 1][0] if number + 1 < len(parts) else recipe.total_steps
        steps = (until // batch if until else following) - first
        yield first, part, steps, before
        before = learning_rate(following - 1 - first, part, steps, before)


def _progress(step: int, optim: OptimConfig | Phase, total_steps: int) -> float:
    """How far the rate has fallen at a step after the warm-up: 0 at the peak, 1 at the last step."""
    first, last = optim.warmup_steps, total_steps - 1
    if optim.schedule == "wsd":
        # The last step with the peak rate; a cooldown longer than what follows the warm-up takes all of that.
        first = max(first, last - round(optim.cooldown_ratio * total_steps))
    if first >= last:
        return 1.0 if step >= last else 0.0
    return min(max((step - first) / (last - first), 0.0), 1.0)
