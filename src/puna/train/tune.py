"""Which micro-batch and which recomputation are fastest in the memory of this machine: measured, not guessed.

A measurement that is noisy, or that would end the search, is made again: other programs make a setting slower and never
faster, so of two measurements the faster one counts.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import TrainError
from puna.core.records import cores
from puna.core.units import format_bytes, format_count, format_duration

_GAIN = 1.02
"""Larger micro-batches are tried while each brings the tokens per second times this number."""
_NOISY = 0.1
"""A measurement is made again where the median pass takes this share longer than the fastest one, or where other
programs take this share of the cores."""


@dataclass(frozen=True)
class Setting:
    """A micro-batch and policy of recomputation that were tried."""

    micro_batch_tokens: int
    recompute: str
    tokens_per_second: float | None
    """Tokens/s of all devices; None where it did not fit."""
    peak_memory_bytes: int
    flops: float
    """FLOP/s of the device."""
    peak_flops: float
    """FLOP/s that it reaches at best, as known to the process that measured."""
    problem: str = ""
    spread: float = 0.0
    """By how much the median pass took longer than the fastest one."""
    other_cores: float = 0.0
    """Cores' worth of time that other programs took meanwhile."""

    @property
    def is_noisy(self) -> bool:
        """Whether it should be measured again."""
        return self.spread > _NOISY or self.other_cores > _NOISY * cores()


def tune(recipe: Recipe, policies: list[str], steps: int) -> list[Setting]:
    """Measure each policy with micro-batches that double until one does not fit or brings less than 2 % more.

    Raises:
        TrainError: Nothing fits at all, or there is no such policy.
    """
    for policy in policies:
        _check_policy(recipe, policy)
    sizes = list(micro_batches(recipe))
    search = _Search(recipe, steps, len(policies) * len(sizes))
    for policy in policies:
        best = 0.0
        for place, micro in enumerate(sizes):
            rate = search.measure(policy, micro, enough=_GAIN * best)
            if rate is None or rate < _GAIN * best:
                search.most -= len(sizes) - place - 1
                break
            best = max(best, rate)
    if all(setting.tokens_per_second is None for setting in search.found):
        raise TrainError(f"nothing fits: {search.found[-1].problem}", hint="use a smaller model, or more devices")
    search.warn_of_others()
    return search.found


def _check_policy(recipe: Recipe, policy: str) -> None:
    try:
        type(recipe.train).model_validate(recipe.train.model_dump() | {"recompute": policy})
    except ValidationError:
        raise TrainError(
            f"--policies {policy!r}: is not a policy of recomputation",
            hint="there are none, llama, full, every-N such as every-2, and budget=SHARE such as budget=0.5",
        ) from None


class _Search:
    """The settings measured so far, and how many there are at most.

    Args:
        recipe: What is trained.
        steps: Counted steps of a measurement.
        most: Settings at most.
    """

    def __init__(self, recipe: Recipe, steps: int, most: int) -> None:
        self._recipe, self._steps = recipe, steps
        self.most = most
        self.found: list[Setting] = []
        self._began = time.monotonic()
        say(f"tune: at most {most} settings, each in a process of its own")

    def measure(self, policy: str, micro: int, *, enough: float) -> float | None:
        """Tokens/s of a setting, None where it does not fit; measured again where it is noisy or below `enough`."""
        setting = _try(self._recipe, policy, micro, self._steps)
        if (rate := setting.tokens_per_second) is not None and (setting.is_noisy or rate < enough):
            again = _try(self._recipe, policy, micro, self._steps)
            setting = max(setting, again, key=lambda one: one.tokens_per_second or 0.0)
        self.found.append(setting)
        done = len(self.found)
        left = (time.monotonic() - self._began) / done * (self.most - done)
        time_left = f", about {format_duration(left)} left" if done < self.most else ""
        peak = max(max(one.peak_flops, one.flops) for one in self.found)
        say(f"{done} of at most {self.most}{time_left}: {describe(setting, peak)}")
        return setting.tokens_per_second

    def warn_of_others(self) -> None:
        """Warn where other programs took part of the machine, so that another setting may be the fastest."""
        if (most := max(setting.other_cores for setting in self.found)) > _NOISY * cores():
            warn(
                f"other programs took up to {most:.1f} of {cores()} cores meanwhile; when they rest, another setting "
                "may be the fastest"
            )


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


def describe(setting: Setting, peak_flops: float) -> str:
    """One line for people.

    Args:
        setting: What was tried.
        peak_flops: The largest rate that is known of the device, which counts as 100 %.
    """
    start = f"recompute {setting.recompute}, micro-batch {format_count(setting.micro_batch_tokens)} tokens: "
    if setting.tokens_per_second is None:
        return f"{start}does not fit ({setting.problem})"
    rate, memory = format_count(setting.tokens_per_second), format_bytes(setting.peak_memory_bytes)
    beside = f"; other programs took {setting.other_cores:.1f} cores" if setting.other_cores > _NOISY * cores() else ""
    return f"{start}{rate} tokens/s, {setting.flops / peak_flops:.0%} of the peak rate, {memory}{beside}"


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
        return Setting(micro, policy, None, 0, 0.0, 0.0, words[0][:120])
    result = json.loads(done.stdout.splitlines()[-1])
    return Setting(
        micro, policy, result["tokens_per_second"], result["peak_memory_bytes"], result["flops_per_second"],
        result["peak_flops"], spread=result["pass_spread"], other_cores=result["other_cores"],
    )  # fmt: skip
