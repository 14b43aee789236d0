"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from puna.config.load import Loaded, load_recipe
from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir

RecipeName: TypeAlias = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a path to a .toml.")]
Overrides: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change, such as optim.lr=2e-4.")
]
Show: TypeAlias = Annotated[
    bool, typer.Option("--show", help="Print the resolved recipe with the origin of every value, and stop.")
]
DataPath: TypeAlias = Annotated[
    Path | None, typer.Option("--data-dir", help="The data build.  [default: data/NAME]", show_default=False)
]
RunPath: TypeAlias = Annotated[
    Path | None, typer.Option("--run-dir", help="The run.  [default: runs/NAME]", show_default=False)
]
RunOrModel: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo, or a model directory.")
]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def resolve(name: str, overrides: list[str] | None, show: bool) -> Recipe:
    """The recipe; with `show`, print it with its origins and leave."""
    loaded: Loaded = load_recipe(name, overrides)
    if show:
        from puna.config.explain import show as explain

        print(explain(loaded))
        raise typer.Exit
    return loaded.recipe


def data_dir(path: Path | None, recipe: Recipe) -> DataDir:
    """The data build's directory: the one given, or `data/` and the recipe's name."""
    return DataDir(path or Path("data") / recipe.name)


def run_dir(path: Path | None, recipe: Recipe) -> RunDir:
    """The run's directory: the one given, or `runs/` and the recipe's name."""
    return RunDir(path or Path("runs") / recipe.name)
