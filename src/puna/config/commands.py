"""Commands about a recipe, for hints: they work as they are typed."""

import shlex
from pathlib import Path

from puna.config.recipe import Recipe
from puna.core.layout import DataDir


def data_build_command(recipe: Recipe, out: DataDir, *options: str) -> str:
    """The command that builds a recipe's data in a directory, as a user can type it.

    Args:
        recipe: A recipe.
        out: The directory; it is named where it is not `data/` and the recipe's name.
        options: Others of the command.
    """
    place = [] if out.root == Path("data") / recipe.name else ["--data-dir", str(out.root)]
    return f"puna data build {recipe.typed}{''.join(f' {shlex.quote(word)}' for word in (*place, *options))}"
