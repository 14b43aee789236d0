"""What to change when memory runs out."""

import contextlib
from collections.abc import Iterator

import torch

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.plan.changes import advice


@contextlib.contextmanager
def explain_out_of_memory(recipe: Recipe) -> Iterator[None]:
    """Turn an out-of-memory error of the device or the host into a sentence that says what to change.

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
            f"out of memory: {_first_line(error)}", hint=f"try, in this order: {'; '.join(advice(recipe))}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
