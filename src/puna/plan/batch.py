"""Checks the numbers of `[parallel]` against the number of devices."""

from puna.config.recipe import ParallelConfig, Recipe
from puna.core.errors import TrainError


def resolved_shard(config: ParallelConfig, devices: int) -> int:
    """How many devices weights are sharded over, out of `devices` in all.

    Raises:
        TrainError: The numbers of the layout do not multiply to the number of devices.
    """
    fixed = config.replicate * config.context * config.tensor
    shard = config.shard or max(1, devices // fixed)
    if fixed * shard != devices:
        product = f"{config.replicate} x {shard} x {config.context} x {config.tensor} = {fixed * shard}"
        raise TrainError(
            f"parallel: replicate x shard x context x tensor = {product}, but the number of processes is {devices}",
            hint="change [parallel], or start as many: torchrun --nproc-per-node, `puna plan` --devices",
        )
    return shard


def check_batch(recipe: Recipe, devices: int) -> None:
    """Refuse a batch that the devices cannot share equally.

    Raises:
        TrainError: It names the numbers.
    """
    batches = recipe.parallel.replicate * resolved_shard(recipe.parallel, devices)
    once = recipe.train.micro_batch_tokens * batches
    if recipe.train.batch_tokens % once:
        fewer = "use fewer devices for batches (parallel.tensor, parallel.context)"
        fits = largest_micro_batch(recipe, batches)
        raise TrainError(
            f"train.batch_tokens = {recipe.train.batch_tokens} is not a multiple of train.micro_batch_tokens = "
            f"{recipe.train.micro_batch_tokens} on each of {batches} devices, {once} in all",
            hint=f"train.micro_batch_tokens={fits}, or {fewer}" if fits else fewer,
        )


def largest_micro_batch(recipe: Recipe, batches: int) -> int | None:
    """The largest micro-batch, up to the recipe's, with which the devices can share a batch; None if none does."""
    context, train = recipe.model.context, recipe.train
    rows, rest = divmod(train.batch_tokens, context * batches)
    if rest or not rows:
        return None
    most = train.micro_batch_tokens // context
    return context * max(part for part in range(1, min(most, rows) + 1) if rows % part == 0)
