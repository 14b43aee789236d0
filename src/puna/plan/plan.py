"""What a run will need, computed before it runs: parameters, FLOPs, time, memory, disk, energy, carbon; no torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from puna.config.recipe import Recipe
from puna.plan.count import flops_per_token, parameters
from puna.plan.energy import energy_and_carbon
from puna.plan.layout import CPU, Share, share_of
from puna.plan.memory import Memory, plan_memory
from puna.plan.step_time import StepTime, step_time
from puna.plan.target import Target

CONVENTION = "causal"
"""The convention of `puna.plan.count.flops_per_token` for utilisation."""

TIGHT = 0.9
"""Above this share of a device's memory, the driver's context, gaps between tensors and messages may not fit too."""

ESTIMATED = "estimated from model, layout and hardware"
"""The source of a utilisation that was neither given nor measured."""


@dataclass(frozen=True)
class Speed:
    """How fast the run is expected to go."""

    mfu: float
    """Model FLOPs (convention `causal`) over the peak rate; FLOPs of recomputation are not counted."""
    mfu_source: str
    tokens_per_second: float
    """Tokens/s of all devices together."""
    seconds: float
    step: StepTime | None
    """Where the time of an optimizer step goes; None where the utilisation was given, or is one for all layouts."""


@dataclass(frozen=True)
class Disk:
    """Bytes that a run takes on the disk."""

    model: int
    checkpoint: int
    kept: int
    """Checkpoints kept at the end of the run; while one is written there is one more."""
    shards: int
    """Token ids of the whole run, each read once."""

    @property
    def total(self) -> int:
        """Bytes at the largest moment, while the last checkpoint is written."""
        return self.model + (self.kept + 1) * self.checkpoint + self.shards


@dataclass(frozen=True)
class Plan:
    """The needs of a recipe on a number of devices."""

    recipe: Recipe
    target: Target
    share: Share
    memory: Memory
    speed: Speed
    disk: Disk

    @property
    def tokens(self) -> int:
        """Tokens of the whole run: whole batches."""
        return self.recipe.total_tokens

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`; empty where the device's memory is unknown."""
        return verdict(self.memory.peak.bytes, self.target.memory_bytes)

    @property
    def energy(self) -> tuple[float, float] | None:
        """The kWh and kg CO2eq; None where the device's power is unknown."""
        if self.target.watts is None:
            return None
        return energy_and_carbon(self.speed.seconds * self.share.devices, self.target.watts, self.recipe.energy)

    def as_dict(self) -> dict[str, Any]:
        """All figures, as JSON has them; bytes, seconds, FLOPs, kWh and kg."""
        counts, per_token = parameters(self.recipe.model), flops_per_token(self.recipe.model, self.recipe.model.context)
        share, target, peak = self.share, self.target, self.memory.peak
        energy = self.energy
        return {
            "recipe": self.recipe.name,
            "device": asdict(target),
            "devices": share.devices,
            "layout": {name: getattr(share, name) for name in ("replicate", "shard", "context", "tensor")},
            "parameters": vars(counts) | {"total": counts.total},
            "tokens": self.tokens,
            "steps": self.recipe.total_steps,
            "flops": {"per_token": per_token, "run": {name: flops * self.tokens for name, flops in per_token.items()}},
            "speed": asdict(self.speed) | {"convention": CONVENTION, "step": _step(self.speed.step)},
            "memory": {
                "bytes": peak.bytes,
                "moment": peak.name,
                "terms": [vars(term) for term in peak.terms],
                "moments": {moment.name: moment.bytes for moment in self.memory.moments},
                "host_bytes": self.memory.staged_bytes,
                "device_bytes": target.memory_bytes,
                "verdict": self.verdict,
            },
            "disk": vars(self.disk) | {"total": self.disk.total},
            "energy": energy and {"kwh": energy[0], "kgco2eq": energy[1]} | self.recipe.energy.model_dump(),
        }


def plan(recipe: Recipe, target: Target, devices: int, mfu: float | None = None) -> Plan:
    """What the recipe needs on a number of these devices.

    Args:
        recipe: What to train.
        target: One device.
        devices: How many there are.
        mfu: Model FLOPs (convention `causal`) over the peak rate; None estimates it (`puna.plan.step_time`), or
            takes the target's utilisation, less recomputation, where only its peak is known.

    Raises:
        TrainError: The layout has another number of devices, or they cannot share the batch.
    """
    share = share_of(recipe, devices, target.kind)
    return Plan(recipe, target, share, plan_memory(share), speed_of(share, target, mfu), _disk(recipe))


def verdict(needed: int, there: int | None) -> str:
    """Whether a device with this much memory can hold what is needed: `fits`, `tight` or `does not fit`."""
    if there is None:
        return ""
    return "does not fit" if needed > there else "tight" if needed > TIGHT * there else "fits"


def speed_of(share: Share, target: Target, mfu: float | None = None) -> Speed:
    """How fast the recipe trains in its layout; arguments as for `plan`."""
    recipe, step = share.recipe, None
    flops, source = flops_per_token(recipe.model, recipe.model.context)[CONVENTION], "given"
    if mfu is None and target.rates is not None and target.links is not None:
        step, source = step_time(share, target.rates, target.links), ESTIMATED
        mfu = recipe.train.batch_tokens * flops / (step.seconds * target.peak_flops * share.devices)
    elif mfu is None:
        extra = _computed_again(recipe)
        mfu, source = target.utilisation / (1 + extra), target.utilisation_source
        if extra:
            source += f", less {extra:.0%} of FLOPs that are computed again"
        if recipe.train.float8:
            source += "; what float8 gains on this device is not known"
    rate = mfu * target.peak_flops * share.devices / flops
    return Speed(mfu, source, rate, recipe.total_tokens / rate, step)


def _step(step: StepTime | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {
        "seconds": step.seconds,
        "exposed_seconds": step.exposed_seconds,
        "parts": [vars(part) for part in step.parts],
        "traffic": [vars(kind) for kind in step.traffic],
    }


def _computed_again(recipe: Recipe) -> float:
    """FLOPs of recomputation over those of the model: a forward pass, a third, of the blocks that are recomputed."""
    policy, layers = recipe.train.recompute, recipe.model.n_layers
    if policy.startswith("every-"):
        part = math.ceil(layers / int(policy.removeprefix("every-"))) / layers
    elif policy.startswith("budget="):
        part = 1 - float(policy.removeprefix("budget="))
    else:
        part = 1.0 if policy == "full" else 0.0
    whole = flops_per_token(recipe.model, recipe.model.context)[CONVENTION]
    output = 6.0 * recipe.model.vocab_size * recipe.model.dim
    return part * (whole - output) / whole / 3


def _disk(recipe: Recipe) -> Disk:
    one = share_of(recipe.model_copy(update={"parallel": type(recipe.parallel)()}), 1, CPU)
    weights = one.weight_bytes * one.held
    return Disk(
        model=weights,
        checkpoint=weights + one.optimizer_state,
        kept=_kept(recipe),
        shards=recipe.total_tokens * (2 if recipe.model.vocab_size <= 2**16 else 4),
    )


def _kept(recipe: Recipe) -> int:
    """Checkpoints at the end: the newest, and the multiples of keep_every that are older."""
    every, config, steps = recipe.checkpoint.every_steps, recipe.checkpoint, recipe.total_steps
    saves = steps // every + bool(steps % every)
    newest = min(config.keep, saves)
    if not config.keep_every:
        return newest
    oldest_of_newest = steps if newest == 1 else every * (saves - newest + 1)
    return newest + (oldest_of_newest - 1) // math.lcm(every, config.keep_every)
