"""How a recipe becomes that of a longer run: its new length, and the learning rate from some step on.

- `constant` stays what it is.
- `wsd` (constant, then a cooldown) is planned for the new length: the cooldown comes later (Hägele et al. 2024,
  "Scaling laws and compute-optimal training beyond fixed training durations"). That holds up to the old cooldown.
- All else, and `wsd` from its cooldown on, gets a phase from there on: the rate rises to its former peak within 1 % of
  the phase's steps (of a warm-up that is under way: within what is left of it) and falls again over the whole of it
  (Ibrahim et al. 2024, "Simple and scalable strategies to continually pre-train large language models", who took 1 %;
  its length hardly matters: Gupta et al. 2023). `linear` falls in a line that would be at zero one step after the last
  (Bergsma et al. 2025, "Straight to zero").
"""

import math
import re
from fractions import Fraction

from puna.config.recipe import OptimConfig, Phase, Recipe, Schedule
from puna.core.errors import TrainError
from puna.core.units import parse_count
from puna.train.schedule import schedule_of

WARMUP_SHARE = 0.01
"""Share of a phase's steps in which the rate rises to its peak."""

_TIMES = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?x")


def parse_length(amount: str, tokens: int, batch_tokens: int) -> int:
    """The tokens in all that are meant by `1.5x`, `300M` (both the new length) or `+100M` (what comes on top).

    Args:
        amount: What the user wrote.
        tokens: The length that the run has.
        batch_tokens: Tokens of a step; a multiple of the length is rounded up to whole steps.

    Raises:
        TrainError: It is neither.
    """
    if _TIMES.fullmatch(amount):
        return math.ceil(Fraction(amount[:-1]) * tokens / batch_tokens) * batch_tokens
    try:
        return parse_count(amount.removeprefix("+")) + (tokens if amount.startswith("+") else 0)
    except ValueError:
        raise TrainError(
            f"--extend {amount}: expected the new length, such as 1.5x or 300M, or what comes on top, such as +100M"
        ) from None


def active_part(recipe: Recipe, step: int) -> OptimConfig | Phase:
    """The schedule by which the step before `step` has its learning rate."""
    tokens = step * recipe.train.batch_tokens
    return next((phase for phase in reversed(recipe.optim.phases) if phase.from_tokens < tokens), recipe.optim)


def planned_longer(recipe: Recipe, tokens: int) -> Recipe:
    """The recipe as if it had been planned for this number of tokens."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"tokens": tokens})})


def shared_rates(recipe: Recipe, other: Recipe, steps: int) -> int:
    """How many steps, `steps` at most, have the same learning rates from the first one on, to the last bit."""
    ours, theirs = schedule_of(recipe), schedule_of(other)
    return next((step for step in range(steps) if ours(step) != theirs(step)), steps)


def with_phase(recipe: Recipe, step: int, tokens: int, schedule: Schedule | None) -> Recipe:
    """The recipe of a longer run with a phase from `step` on, in the place of phases that were to begin later.

    Args:
        recipe: What the run was until then.
        step: Steps done.
        tokens: The new length.
        schedule: Of the phase; None takes that of the present part.
    """
    batch, part = recipe.train.batch_tokens, active_part(recipe, step)
    start, steps = step * batch, tokens // batch - step
    rises = schedule_of(recipe)(step - 1) != part.lr and steps > 1
    # A warm-up that is under way rises no faster than it was planned to.
    left = part.warmup_steps - (step - (part.from_tokens // batch if isinstance(part, Phase) else 0))
    warmup = min(max(1, round(WARMUP_SHARE * steps), left), steps - 1) if rises else 0
    kind = schedule or part.schedule
    final = 1 / (steps - warmup) if kind == "linear" else part.final_lr_ratio
    phase = Phase(
        from_tokens=start, schedule=kind, lr=part.lr, warmup_steps=warmup, cooldown_ratio=part.cooldown_ratio,
        final_lr_ratio=final,
    )  # fmt: skip
    # What came before keeps its rates, so its schedule keeps the end that it had been planned for.
    later = [one.from_tokens for one in recipe.optim.phases if one.from_tokens >= start]
    end = part.until_tokens or min(later, default=recipe.total_tokens)
    ended = part if end == start else part.model_copy(update={"until_tokens": end})
    kept = [one if one is not part else ended for one in recipe.optim.phases if one.from_tokens < start]
    optim = ended if isinstance(ended, OptimConfig) else recipe.optim
    train = recipe.train.model_copy(update={"tokens": tokens})
    optim = optim.model_copy(update={"phases": [*kept, phase]})
    return recipe.model_copy(update={"train": train, "optim": optim})


def describe_rates(recipe: Recipe, step: int) -> str:
    """What the learning rate does from a step on, in words."""
    phases = recipe.optim.phases
    if not phases or phases[-1].from_tokens != step * recipe.train.batch_tokens:
        kind = active_part(recipe, step).schedule
        return "the learning rate stays" + (" until the new cooldown" if kind == "wsd" else " constant")
    phase, steps = phases[-1], recipe.total_steps - step
    warmup = phase.warmup_steps
    rise = f"rises to {phase.lr:g} within {warmup} step{'s' * (warmup != 1)} and " if warmup else ""
    ways = {
        "cosine": f"falls as half a cosine to {phase.final_lr_ratio:.0%} of it",
        "linear": "falls in a line to zero",
        "constant": "stays",
        "wsd": f"stays, and falls over the last {phase.cooldown_ratio:.0%} of them",
    }
    return f"over these {steps} steps the learning rate {rise}{ways[phase.schedule]}"
