"""What to change when memory runs out."""

import contextlib
from collections.abc import Iterator

import torch

from puna.config.recipe import Recipe
from puna.core.errors import TrainError


@contextlib.contextmanager
def explain_out_of_memory(recipe: Recipe) -> Iterator[None]:
    """Turn the device's or the host's refusal of memory into a sentence that says what to change.

    Raises:
        TrainError: In place of torch's error.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        refused = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not refused:
            raise
        raise TrainError(
            f"out of memory: {_first_line(error)}", hint=f"try, in this order: {'; '.join(remedies(recipe))}"
        ) from error


def remedies(recipe: Recipe) -> list[str]:
    """Overrides that need less memory, cheapest in speed first."""
    train, found = recipe.train, []
    if train.micro_batch_tokens > recipe.model.context:
        half = max(recipe.model.context, train.micro_batch_tokens // 2 // recipe.model.context * recipe.model.context)
        found.append(f"train.micro_batch_tokens={half} (same batch, more passes)")
    if train.recompute in ("none", "llama") or train.recompute.startswith("budget"):
        found.append(f"train.recompute={'llama' if train.recompute == 'none' else 'full'}")
    if train.loss_chunk_tokens == 0 or train.loss_chunk_tokens > 256:
        found.append("train.loss_chunk_tokens=256")
    if train.precision == "bf16":
        found.append("train.precision=bf16-stochastic (weights and optimizer state in half the memory)")
    found.append("more devices, with parallel.shard (or parallel.context for long sequences)")
    return [*found, "`puna plan` shows where the memory goes"]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
