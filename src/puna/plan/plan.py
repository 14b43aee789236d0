"""What a run will need, computed before it runs: parameters, FLOPs, time, memory, disk, energy, carbon; no torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from puna.config.recipe import Recipe
from puna.plan.count import backward_work, parameters
from puna.plan.energy import energy_and_carbon
from puna.plan.kernels import Rates, Work, block_forward, recomputed_blocks
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
    seconds: float | None
    """Of the whole run; None where its length follows from examples that are not there."""
    step: StepTime | None
    """Where the time of an optimizer step goes; None where the utilisation was given, or is one for all layouts."""
    reference_seconds: float | None = None
    """How long the reference model takes for all pairs before the first step; None where there is none, or where the
    time of a step or the run's length is not known."""


@dataclass(frozen=True)
class Disk:
    """Bytes that a run takes on the disk."""

    model: int
    checkpoint: int
    kept: int
    """Checkpoints kept at the end of the run; while one is written there is one more."""
    shards: int
    """Token ids of the whole run, each read once; of a run of tuning those of an epoch of its examples."""

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
    def tokens(self) -> int | None:
        """Tokens of the whole run: whole batches; None where they follow from examples that are not there."""
        return run_tokens(self.recipe)

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`; empty where the device's memory is unknown."""
        return verdict(self.memory.peak.bytes, self.target.memory_bytes)

    @property
    def energy(self) -> tuple[float, float] | None:
        """The kWh and kg CO2eq; None where the device's power or the run's length is unknown."""
        if self.target.watts is None or self.speed.seconds is None:
            return None
        return energy_and_carbon(self.speed.seconds * self.share.devices, self.target.watts, self.recipe.energy)

    def as_dict(self) -> dict[str, Any]:
        """All figures, as JSON has them; bytes, seconds, FLOPs, kWh and kg."""
        counts, per_token, tokens = parameters(self.recipe.model), self.share.flops_per_token, self.tokens
        share, target, peak = self.share, self.target, self.memory.peak
        energy = self.energy
        return {
            "recipe": self.recipe.name,
            "device": asdict(target),
            "devices": share.devices,
            "layout": {name: getattr(share, name) for name in ("replicate", "shard", "context", "tensor")},
            "parameters": vars(counts) | {"total": counts.total},
            "learned": share.learning.size,
            "tokens": tokens,
            "steps": None if tokens is None else self.recipe.total_steps,
            "flops": {
                "per_token": per_token,
                "run": None if tokens is None else {name: flops * tokens for name, flops in per_token.items()},
            },
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


def plan(recipe: Recipe, target: Target, devices: int, mfu: float | None = None, *, tokens_learn: bool = False) -> Plan:
    """What the recipe needs on a number of these devices.

    Args:
        recipe: What to train.
        target: One device.
        devices: How many there are.
        mfu: Model FLOPs (convention `causal`) over the peak rate; None estimates it (`puna.plan.step_time`), or
            takes the target's utilisation, less recomputation, where only its peak is known.
        tokens_learn: As for `puna.plan.learning.learning_of`.

    Raises:
        TrainError: The layout has another number of devices, or they cannot share the batch; or the recipe's method
            cannot work.
    """
    share = share_of(recipe, devices, target.kind, tokens_learn=tokens_learn)
    return Plan(recipe, target, share, plan_memory(share), speed_of(share, target, mfu), _disk(share))


def run_tokens(recipe: Recipe) -> int | None:
    """Tokens of a run; None where they follow from examples (`finetune.epochs`), and the recipe gives no number."""
    tuning = recipe.finetune
    if tuning is not None and tuning.epochs is not None and "tokens" not in recipe.train.model_fields_set:
        return None
    return recipe.total_tokens


def verdict(needed: int, there: int | None) -> str:
    """Whether a device with this much memory can hold what is needed: `fits`, `tight` or `does not fit`."""
    if there is None:
        return ""
    return "does not fit" if needed > there else "tight" if needed > TIGHT * there else "fits"


def speed_of(share: Share, target: Target, mfu: float | None = None) -> Speed:
    """How fast the recipe trains in its layout; arguments as for `plan`."""
    recipe, step = share.recipe, None
    flops, source, tokens, reference = share.flops_per_token[CONVENTION], "given", run_tokens(recipe), None
    if mfu is None and target.rates is not None and target.links is not None:
        step, source = step_time(share, target.rates, target.links), ESTIMATED
        mfu = recipe.train.batch_tokens * flops / (step.seconds * target.peak_flops * share.devices)
        reference = _reference_seconds(share, target.rates, tokens)
    elif mfu is None:
        extra = _computed_again(share)
        mfu, source = target.utilisation / (1 + extra), target.utilisation_source
        if extra:
            source += f", less {extra:.0%} of FLOPs that are computed again"
        if recipe.train.float8:
            source += "; what float8 gains on this device is not known"
    rate = mfu * target.peak_flops * share.devices / flops
    return Speed(mfu, source, rate, None if tokens is None else tokens / rate, step, reference)


def _reference_seconds(share: Share, rates: Rates, tokens: int | None) -> float | None:
    """How long the forward passes of an epoch take, of which there is one before a run that learns from pairs."""
    tuning, recipe = share.recipe.finetune, share.recipe
    if tuning is None or tuning.preference is None or tuning.epochs is None or tokens is None:
        return None
    blocks = block_forward(share) * recipe.model.n_layers
    one = blocks + Work(products=share.tokens * share.work[-1].forward)
    once = recipe.train.micro_batch_tokens * share.replicate * share.shard
    return tokens / tuning.epochs / once * one.seconds(rates)


def _step(step: StepTime | None) -> dict[str, Any] | None:
    if step is None:
        return None
    return {
        "seconds": step.seconds,
        "exposed_seconds": step.exposed_seconds,
        "parts": [vars(part) for part in step.parts],
        "traffic": [vars(kind) for kind in step.traffic],
    }


def _computed_again(share: Share) -> float:
    """FLOPs of recomputation over those of the model: a forward pass of the blocks that are computed again."""
    config = share.recipe.model
    forward = backward_work(config, share.learning)[:-1]
    scores = 2.0 * config.n_layers * config.n_heads * config.head_dim * config.context
    again = sum(block.forward for block in forward) + scores
    return recomputed_blocks(share) * again / share.flops_per_token[CONVENTION]


def _disk(share: Share) -> Disk:
    recipe, learning = share.recipe, share.learning
    alone = recipe.model_copy(update={"parallel": type(recipe.parallel)()})
    one = share_of(alone, 1, CPU, tokens_learn=learning.lora is not None and learning.embedding)
    model = one.weight_bytes * one.held
    if learning.lora is not None:
        # The adapter; beside floats also what comes of both, in float32.
        merged = 0 if one.packed_bytes else 4 * parameters(recipe.model).total
        model = merged + 4 * learning.size
    tokens, tuning = run_tokens(recipe), recipe.finetune
    each = 2 if tuning is None and recipe.model.vocab_size <= 2**16 else 4
    if tuning is not None and tuning.epochs is not None:
        each /= max(1.0, tuning.epochs)
    return Disk(
        model=model, checkpoint=one.state,
        kept=recipe.checkpoint.keep if tokens is None else _kept(recipe), shards=round((tokens or 0) * each),
    )  # fmt: skip


def _kept(recipe: Recipe) -> int:
    """Checkpoints at the end: the newest, and the multiples of keep_every that are older."""
    every, config, steps = recipe.checkpoint.every_steps, recipe.checkpoint, recipe.total_steps
    saves = steps // every + bool(steps % every)
    newest = min(config.keep, saves)
    if not config.keep_every:
        return newest
    oldest_of_newest = steps if newest == 1 else every * (saves - newest + 1)
    return newest + (oldest_of_newest - 1) // math.lcm(every, config.keep_every)
