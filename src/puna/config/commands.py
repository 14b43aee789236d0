"""Commands about a recipe, for hints: they work as they are typed."""

import itertools
import shlex
from pathlib import Path

from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir

_OF_RUNS = ("--model", "--data", "--data-dir", "--run-dir")
"""Options of commands that train, which `puna data build` lacks, or which are named behind them."""
_WITH_VALUE = ("--model", "--init-from", "--run-dir")
"""Options of which a command has one at most, whose values hints change."""


def data_build_command(recipe: Recipe, out: DataDir, *options: str) -> str:
    """The command that builds a recipe's data in a directory, as a user can type it.

    Args:
        recipe: A recipe.
        out: The directory; it is named where it is not `data/` and the recipe's name.
        options: Others of the command.
    """
    place = [] if out.root == Path("data") / recipe.name else ["--data-dir", str(out.root)]
    return f"puna data build {_typed_without(recipe, _OF_RUNS)}{_quoted((*place, *options))}"


def train_command(recipe: Recipe, *options: str) -> str:
    """The command that trains a recipe, or tunes a model by it, as the user has named it.

    Options come behind that, and instead of those that the user has given with other values.
    """
    other = tuple(option for option in _WITH_VALUE if option in options)
    return f"puna {_command(recipe)} {_typed_without(recipe, other)}{_quoted(options)}"


def own_run_command(recipe: Recipe, run: RunDir, *options: str) -> str:
    """The command that trains a run by its own recipe, on the data that the user has named."""
    return f"puna {_command(recipe)}{_quoted((str(run), *recipe.typed_option('--data-dir'), *options))}"


def new_run_from(recipe: Recipe, run: RunDir, place: Path) -> tuple[str, ...]:
    """The options of a command for a new run beside a run, that begins with the weights of a place."""
    free = next(path for number in itertools.count(2) if not (path := Path(f"{run}-{number}")).exists())
    return "--init-from" if recipe.finetune is None else "--model", str(place), "--run-dir", str(free)


def _command(recipe: Recipe) -> str:
    return "train" if recipe.finetune is None else "finetune"


def _typed_without(recipe: Recipe, options: tuple[str, ...]) -> str:
    """The words by which the user has named a recipe, without some options and their values."""
    words = shlex.split(recipe.typed)
    own = [word for at, word in enumerate(words) if word not in options and words[max(0, at - 1)] not in options]
    return shlex.join(own)


def _quoted(words: tuple[str, ...]) -> str:
    return "".join(f" {shlex.quote(word)}" for word in words)
