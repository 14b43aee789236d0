"""What evaluates a model on benchmarks while it is trained or tuned."""

import os
from typing import TYPE_CHECKING

from puna.core.console import muted

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.train.job import Evaluator


def evaluator_of(recipe: "Recipe") -> "Evaluator | None":
    """What evaluates the model while it is trained; None where the recipe names no benchmark."""
    if not recipe.evaluation.tasks:
        return None
    from puna.benchmarks.files import open_split
    from puna.evaluate.training import prepare

    # Every process reads; the main one tells.
    with muted(os.environ.get("RANK", "0") != "0"):
        return prepare(recipe.evaluation, open_split)
