"""Arguments that several commands share."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir

if TYPE_CHECKING:
    from puna.config.recipe import Recipe

RecipeName: TypeAlias = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe, or a path to a .toml.")]
Overrides: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change, such as optim.lr=2e-4.")
]
Show: TypeAlias = Annotated[
    bool, typer.Option("--show", help="Print the resolved recipe with the origin of every value, and stop.")
]
DataPath: TypeAlias = Annotated[
    Path | None, typer.Option("--data-dir", help="The data build.  \\[default: data/NAME]", show_default=False)
]
DataSource: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data-dir", help="The data build, also as s3://BUCKET/PATH.  \\[default: data/NAME]", show_default=False
    ),
]
RunPath: TypeAlias = Annotated[
    Path | None, typer.Option("--run-dir", help="The run.  \\[default: runs/NAME]", show_default=False)
]
RunOrModel: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo, or a model directory.")
]


class Dtype(StrEnum):
    """The dtypes that weights can be rounded to."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help="The format.  \\[default: recognised]", show_default=False),
]
TokenizerPath: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="The tokenizer's file or directory.  \\[default: beside the model]"),
]
Heads: TypeAlias = Annotated[
    int | None, typer.Option("--heads", min=1, help="Query heads, where no file says it (EasyLM).")
]
KeyHeads: TypeAlias = Annotated[int | None, typer.Option("--kv-heads", min=1, help="Key heads, where no file says it.")]
Context: TypeAlias = Annotated[int | None, typer.Option("--context", min=2, help="Positions, likewise.")]
NormEps: TypeAlias = Annotated[float | None, typer.Option("--norm-eps", help="RMSNorm's epsilon, likewise.")]
RopeTheta: TypeAlias = Annotated[float | None, typer.Option("--rope-theta", help="Rotary base, where no file says it.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def resolve(name: str, overrides: list[str] | None, show: bool) -> "Recipe":
    """The recipe; with `show`, print it with its origins and leave."""
    from puna.config.load import load_recipe

    loaded = load_recipe(name, overrides)
    if show:
        from puna.config.explain import show as explain

        print(explain(loaded))
        raise typer.Exit
    return loaded.recipe


def data_dir(path: Path | None, recipe: "Recipe") -> DataDir:
    """The data build's directory: the one given, or `data/` and the recipe's name.

    Raises:
        DataError: It is a URL; this command writes to it.
    """
    # As a path, the URL has lost one slash.
    if path is not None and re.match(r"[a-z][a-z0-9+.-]+:/", str(path)):
        raise DataError(
            f"--data-dir {str(path).replace(':/', '://', 1)}: data are built in a directory of this machine",
            hint="build them here and copy the directory; `puna train` and `puna data trace` read it from there",
        )
    return DataDir(path or Path("data") / recipe.name)


def data_source(place: str | None, recipe: "Recipe") -> DataDir:
    """The data build to read: a directory, or the local mirror of one in an object store."""
    if place is None or "://" not in place:
        return data_dir(None if place is None else Path(place), recipe)
    from puna.shards.remote import mirror

    return mirror(place)


def run_dir(path: Path | None, recipe: "Recipe") -> RunDir:
    """The run's directory: the one given, or `runs/` and the recipe's name."""
    return RunDir(path or Path("runs") / recipe.name)
