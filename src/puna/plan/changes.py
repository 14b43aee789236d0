"""Changes that make a run fit into its devices' memory, before it runs or when memory ran out; no torch."""

from dataclasses import dataclass
from typing import Any

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.plan.layout import CPU, Share, share_of
from puna.plan.memory import plan_memory
from puna.plan.plan import Plan, speed_of, verdict

OTHER_ARITHMETIC = "other arithmetic: weights and moments are bfloat16, rounded at random"
"""The cost of saving memory by `bf16-stochastic`: other arithmetic, not speed."""

_SMALL_CHUNK = 256
"""Tokens of the loss at one time when memory is short."""

_MOST_DOUBLINGS = 14
"""Limit on how often the number of devices is doubled to find one at which the run fits."""


@dataclass(frozen=True)
class Remedy:
    """One way to make a run fit."""

    words: str
    """Overrides and options of the command line."""
    bytes: int
    """Memory of a device after the change, in bytes."""
    mfu: float | None
    """The utilisation after the change; None where it isn't estimated."""
    remark: str = ""


def changes(found: Plan) -> list[Remedy]:
    """Ways to make a run fit into memory.

    First those with the same devices: fastest first where the plan estimates speed, else in the order of their usual
    cost. Last those with more devices.
    """
    if found.target.memory_bytes is None or found.verdict == "fits":
        return []
    recipe, here = found.recipe, found.share.devices
    tries = remedies(recipe)
    ways = [_first_that_fits(found, [(change, here) for change in candidates]) for candidates in tries]
    ways.sort(key=lambda way: -(way.mfu or 0.0) if way else 0.0)
    if found.target.kind != CPU:
        more = (here << power for power in range(1, _MOST_DOUBLINGS))
        smaller = _smaller_passes(recipe, recipe.train.recompute)
        doubled = [(change, count) for count in more for change in [{}, *smaller]]
        ways.append(_first_that_fits(found, doubled))
    return list({way.words: way for way in ways if way}.values())


def remedies(recipe: Recipe) -> list[list[dict[str, Any]]]:
    """Changes to `train` that need less memory on the same devices.

    The cheapest in speed come first; each is a list, with the smallest change first.
    """
    policy = recipe.train.recompute
    # The default chunk depends on the device; 0 stands for a larger one than this on all devices.
    chunk = [{"loss_chunk_tokens": _SMALL_CHUNK}]
    found = [
        _smaller_passes(recipe, policy),
        chunk if not 0 < recipe.train.loss_chunk_tokens <= _SMALL_CHUNK else [],
    ]
    if policy == "none":
        found += [[{"recompute": "llama"}], _smaller_passes(recipe, "llama")]
    found.append(_in_bfloat16(recipe, policy))
    if policy != "full":
        found += [[{"recompute": "full"}], _smaller_passes(recipe, "full")]
    return [candidates for candidates in found if candidates]


def advice(recipe: Recipe) -> list[str]:
    """The remedies in words, for a run without a plan, and what remains to try after them."""
    first = {_words(recipe, candidates[0]): candidates[0] for candidates in remedies(recipe)}
    remarks = {"micro_batch_tokens": " (same batch, more passes)", "precision": f" ({OTHER_ARITHMETIC})"}
    found = [
        words + "".join(remark for key, remark in remarks.items() if key in change)
        for words, change in first.items()
        if " " not in words
    ]
    found.append("more devices, with parallel.shard (or parallel.context for long sequences)")
    return [*found, "`puna plan` shows where the memory goes"]


def _words(recipe: Recipe, change: dict[str, Any]) -> str:
    return " ".join(f"train.{key}={value}" for key, value in change.items() if value != getattr(recipe.train, key))


def _first_that_fits(found: Plan, candidates: list[tuple[dict[str, Any], int]]) -> Remedy | None:
    """The first of these changes to `train` and numbers of devices that make the run fit."""
    layout = found.recipe.parallel
    for change, devices in candidates:
        values = found.recipe.model_dump()
        values["train"] |= change
        words = [_words(found.recipe, change)] if change else []
        if devices != found.share.devices:
            values["parallel"]["shard"] = 0
            words += [f"--devices {devices}", *(["parallel.shard=0"] if layout.shard else [])]
        try:
            changed, learning = Recipe.model_validate(values), found.share.learning
            tokens_learn = learning.lora is not None and learning.embedding
            share = share_of(changed, devices, found.target.kind, tokens_learn=tokens_learn)
        except TrainError:
            continue
        memory = plan_memory(share)
        if verdict(memory.peak.bytes, found.target.memory_bytes) == "fits":
            speed = speed_of(share, found.target)
            remark = _other_arithmetic(share) if "precision" in change else ""
            return Remedy(" ".join(words), memory.peak.bytes, speed.mfu if speed.step else None, remark)
    return None


def _other_arithmetic(share: Share) -> str:
    sums = f"; gradients of {share.passes} passes are added up in bfloat16" if share.passes > 1 else ""
    return OTHER_ARITHMETIC + sums


def _in_bfloat16(recipe: Recipe, policy: str) -> list[dict[str, Any]]:
    """All of the training in bfloat16, which costs no speed, with passes as large as fit; AdamW alone can do it."""
    if recipe.train.precision != "bf16" or recipe.optim.name != "adamw":
        return []
    whole = {"precision": "bf16-stochastic"}
    return [whole, *(whole | change for change in _smaller_passes(recipe, policy))]


def _smaller_passes(recipe: Recipe, policy: str) -> list[dict[str, Any]]:
    """Micro-batches below the recipe's, largest first, under the policy."""
    rows = recipe.train.micro_batch_tokens // recipe.model.context
    return [
        {"recompute": policy, "micro_batch_tokens": smaller * recipe.model.context}
        for smaller in range(rows - 1, 0, -1)
        if rows % smaller == 0
    ]
