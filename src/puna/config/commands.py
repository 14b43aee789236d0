"""Commands about a recipe, for hints: they work as they are typed."""

import itertools
import shlex
from pathlib import Path

from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir

_OF_RUNS = ("--model", "--data", "--data-dir", "--run-dir")
"""Options of commands that train, which `puna data build` lacks, or which are named behind them."""


def data_build_command(recipe: Recipe, out: DataDir, *options: str) -> str:
    """The command that builds a recipe's data in a directory, as a user can type it.

    Args:
        recipe: A recipe.
        out: The directory; it is named where it is not `data/` and the recipe's name.
        options: Others of the command.
    """
    place = [] if out.root == Path("data") / recipe.name else ["--data-dir", str(out.root)]
    words = shlex.split(recipe.typed)
    own = [word for at, word in enumerate(words) if word not in _OF_RUNS and words[max(0, at - 1)] not in _OF_RUNS]
    return f"puna data build {shlex.join(own)}{_quoted((*place, *options))}"


def train_command(recipe: Recipe, *options: str) -> str:
    """The command that trains a recipe, or tunes a model by it, as the user has named it; options come behind that."""
    return f"puna {_command(recipe)} {recipe.typed}{_quoted(options)}"


def own_run_command(recipe: Recipe, run: RunDir, *options: str) -> str:
    """The command that trains a run by its own recipe, on the data that the user has named."""
    return f"puna {_command(recipe)}{_quoted((str(run), *recipe.typed_option('--data-dir'), *options))}"


def new_run_from(recipe: Recipe, run: RunDir, place: Path) -> tuple[str, ...]:
    """The options of a command for a new run beside a run, that begins with the weights of a place."""
    free = next(path for number in itertools.count(2) if not (path := Path(f"{run}-{number}")).exists())
    return "--init-from" if recipe.finetune is None else "--model", str(place), "--run-dir", str(free)


def _command(recipe: Recipe) -> str:
    return "train" if recipe.finetune is None else "finetune"


def _quoted(words: tuple[str, ...]) -> str:
    return "".join(f" {shlex.quote(word)}" for word in words)
