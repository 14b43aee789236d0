"""The shelf's documents, what looks into a build, and a recipe that passes through all stages."""

from pathlib import Path

import pytest
from builds import changed, hashes, lines

from puna.config.recipe import Recipe

__all__ = ["changed", "hashes", "lines"]


@pytest.fixture
def distinct(recipe: Recipe, shelf: Path, changed) -> Recipe:
    """Documents in three tasks; some are near duplicates, and the lines of two dumps are counted."""
    for number, path in enumerate(sorted(path for path in shelf.rglob("*") if path.is_file())):
        path.write_text(" ".join(f"{chr(97 + number // 2)}-{word}" for word in range(100 + number % 2)))
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"vocab_size": 280})})
    return changed(
        recipe, dedup__near__sources=["poems", "code"], task_bytes=10_000, partitions=2,
        sources__poems__clean=["lines"], rules__lines={"dump": "^(kept|read)/", "min_chars": 10},
    )  # fmt: skip
