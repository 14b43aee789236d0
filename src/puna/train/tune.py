"""Which micro-batch and which recomputation are fastest in the memory of this machine: measured, not guessed."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import TrainError
from puna.core.units import format_bytes, format_count


@dataclass(frozen=True)
class Setting:
    """A micro-batch and policy of recomputation that were tried."""

    micro_batch_tokens: int
    recompute: str
    tokens_per_second: float | None
    """Tokens/s of all devices; None where it did not fit."""
    peak_memory_bytes: int
    mfu: float
    problem: str = ""


def tune(recipe: Recipe, policies: list[str], steps: int) -> list[Setting]:
    """Measure each policy with micro-batches that double until one does not fit or brings less than 2 % more.

    Raises:
        TrainError: Nothing fits at all.
    """
    found: list[Setting] = []
    for policy in policies:
        best = 0.0
        for micro in micro_batches(recipe):
            setting = _try(recipe, policy, micro, steps)
            found.append(setting)
            say(describe(setting))
            if setting.tokens_per_second is None or setting.tokens_per_second < best * 1.02:
                break
            best = max(best, setting.tokens_per_second)
    if all(setting.tokens_per_second is None for setting in found):
        raise TrainError(f"nothing fits: {found[-1].problem}", hint="use a smaller model, or more devices")
    return found


def micro_batches(recipe: Recipe) -> Iterator[int]:
    """One sequence, two, four, as long as they divide the batch."""
    micro = recipe.model.context
    while micro <= recipe.train.batch_tokens and recipe.train.batch_tokens % micro == 0:
        yield micro
        micro *= 2


def fastest(settings: list[Setting]) -> Setting:
    """The one with the most tokens per second; within 2 % of it the one that takes the least memory."""
    fitting = [setting for setting in settings if setting.tokens_per_second is not None]
    top = max(setting.tokens_per_second or 0.0 for setting in fitting)
    return min(
        (setting for setting in fitting if (setting.tokens_per_second or 0.0) >= 0.98 * top),
        key=lambda setting: setting.peak_memory_bytes,
    )


def describe(setting: Setting) -> str:
    """One line for people."""
    start = f"recompute {setting.recompute:<11} micro-batch {format_count(setting.micro_batch_tokens):>6} tokens: "
    if setting.tokens_per_second is None:
        return f"{start}does not fit ({setting.problem})"
    rate, memory = format_count(setting.tokens_per_second), format_bytes(setting.peak_memory_bytes)
    return f"{start}{rate} tokens/s, {setting.mfu:.0%} of the peak rate, {memory}"


def _try(recipe: Recipe, policy: str, micro: int, steps: int) -> Setting:
    train = recipe.train.model_copy(update={"recompute": policy, "micro_batch_tokens": micro})
    with tempfile.TemporaryDirectory(prefix="puna-tune-") as folder:
        config = Path(folder) / "config.toml"
        save_recipe(recipe.model_copy(update={"train": train}), config)
        command = [sys.executable, "-m", "puna.train.measure", str(config), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["killed by the system, which was out of memory"]
        if done.returncode > 0 and "memory" not in done.stderr.lower():
            raise TrainError(f"recompute {policy}, micro-batch {micro}: {words[0]}")
        return Setting(micro, policy, None, 0, 0.0, words[0][:120])
    result = json.loads(done.stdout.splitlines()[-1])
    return Setting(micro, policy, result["tokens_per_second"], result["peak_memory_bytes"], result["mfu"])
