"""What a run will take before anything runs: parameters, FLOPs, time, memory, disk, energy, carbon; no torch."""

import math
from dataclasses import dataclass
from typing import Any

from puna.config.energy import energy_and_carbon
from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.model.count import flops_per_token, parameters
from puna.model.plan_layout import CPU, Share, share_of
from puna.model.plan_memory import Memory, plan_memory
from puna.model.plan_target import Target

CONVENTION = "causal"
"""Of `puna.model.count.flops_per_token`, in which utilisation is given."""

TIGHT = 0.9
"""Share of a device's memory above which the driver's context, gaps between tensors and messages may not fit too."""

_MOST_DOUBLINGS = 14
"""Of the number of devices, when looking for one at which a run fits."""


@dataclass(frozen=True)
class Speed:
    """How fast the run is expected to go."""

    mfu: float
    """Model FLOPs (convention `causal`) over the peak rate; what is computed twice counts once."""
    mfu_source: str
    tokens_per_second: float
    """Of all devices together."""
    seconds: float


@dataclass(frozen=True)
class Disk:
    """Bytes on the disk."""

    model: int
    checkpoint: int
    kept: int
    """Checkpoints that are there at the end; while one is written there is one more."""
    shards: int
    """Token ids of the whole run, each read once."""

    @property
    def total(self) -> int:
        """All of it at its largest, while the last checkpoint is written."""
        return self.model + (self.kept + 1) * self.checkpoint + self.shards


@dataclass(frozen=True)
class Plan:
    """A recipe on so many devices."""

    recipe: Recipe
    target: Target
    share: Share
    memory: Memory
    speed: Speed
    disk: Disk

    @property
    def tokens(self) -> int:
        """Tokens of the whole run: whole batches."""
        return self.recipe.total_steps * self.recipe.train.batch_tokens

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`; empty where the device's memory is unknown."""
        return _verdict(self.memory.peak.bytes, self.target.memory_bytes)

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
            "device": vars(target),
            "devices": share.devices,
            "layout": {name: getattr(share, name) for name in ("replicate", "shard", "context", "tensor")},
            "parameters": vars(counts) | {"total": counts.total},
            "tokens": self.tokens,
            "steps": self.recipe.total_steps,
            "flops": {"per_token": per_token, "run": {name: flops * self.tokens for name, flops in per_token.items()}},
            "speed": vars(self.speed) | {"convention": CONVENTION},
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
    """What the recipe takes on so many of these devices.

    Args:
        recipe: What to train.
        target: One device.
        devices: How many there are.
        mfu: Model FLOPs (convention `causal`) over the peak rate; None takes the target's utilisation and leaves out
            what recomputation takes of it.

    Raises:
        TrainError: The layout has another number of devices, or they cannot share the batch.
    """
    share = share_of(recipe, devices, target.kind)
    return Plan(recipe, target, share, plan_memory(share), _speed(recipe, target, devices, mfu), _disk(recipe))


def changes(found: Plan) -> list[tuple[str, int]]:
    """Overrides with which a run fits that does not, and the memory that it takes then; cheapest in speed first."""
    if found.target.memory_bytes is None or found.verdict == "fits":
        return []
    recipe, here = found.recipe, found.share.devices
    policy = recipe.train.recompute
    stronger = [name for name in ("llama", "full") if name != policy and (name == "full" or policy == "none")]
    tries = [[(change, here) for change in _smaller_passes(recipe, policy)]]
    for name in stronger if policy != "full" else []:
        tries.append([({"recompute": name}, here)])
        tries.append([(change, here) for change in _smaller_passes(recipe, name)])
    if found.target.kind != CPU:
        more = (here << power for power in range(1, _MOST_DOUBLINGS))
        tries.append([(change, count) for count in more for change in [{}, *_smaller_passes(recipe, policy)]])
    ways = [_first_that_fits(found, candidates) for candidates in tries]
    return list(dict.fromkeys(way for way in ways if way))


def _first_that_fits(found: Plan, candidates: list[tuple[dict[str, Any], int]]) -> tuple[str, int] | None:
    """The first of these changes to `train` and numbers of devices with which the run fits, in words."""
    layout = found.recipe.parallel
    for change, devices in candidates:
        values = found.recipe.model_dump()
        values["train"] |= change
        words = [f"train.{key}={value}" for key, value in change.items() if value != getattr(found.recipe.train, key)]
        if devices != found.share.devices:
            values["parallel"]["shard"] = 0
            words += [f"--devices {devices}", *(["parallel.shard=0"] if layout.shard else [])]
        try:
            memory = plan_memory(share_of(Recipe.model_validate(values), devices, found.target.kind))
        except TrainError:
            continue
        if _verdict(memory.peak.bytes, found.target.memory_bytes) == "fits":
            return " ".join(words), memory.peak.bytes
    return None


def _smaller_passes(recipe: Recipe, policy: str) -> list[dict[str, Any]]:
    """Micro-batches below the recipe's, largest first, under the policy."""
    rows = recipe.train.micro_batch_tokens // recipe.model.context
    return [
        {"recompute": policy, "micro_batch_tokens": smaller * recipe.model.context}
        for smaller in range(rows - 1, 0, -1)
        if rows % smaller == 0
    ]


def _verdict(needed: int, there: int | None) -> str:
    if there is None:
        return ""
    return "does not fit" if needed > there else "tight" if needed > TIGHT * there else "fits"


def _speed(recipe: Recipe, target: Target, devices: int, mfu: float | None) -> Speed:
    flops = flops_per_token(recipe.model, recipe.model.context)[CONVENTION]
    source = "given"
    if mfu is None:
        extra = _computed_again(recipe)
        mfu, source = target.utilisation / (1 + extra), target.utilisation_source
        if extra:
            source += f", less {extra:.0%} of FLOPs that are computed again"
    rate = mfu * target.peak_flops * devices / flops
    return Speed(mfu, source, rate, recipe.total_steps * recipe.train.batch_tokens / rate)


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
        shards=recipe.total_steps * recipe.train.batch_tokens * (2 if recipe.model.vocab_size <= 2**16 else 4),
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
